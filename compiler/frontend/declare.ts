/**
 * The declarations of an exported program: what it takes and gives, with the shapes in the names that its author wrote. Made of syntax
 * trees, so that any key is a legal one.
 *
 *   export interface Step { (params: { up: { weight: Input<"H 2", "f32"> } }, x: Input<"B 2", "f32">): Promise<...>; ahead(argument: number, value: unknown): void; dispose(): void }
 */
import type ts from 'typescript';
import { tsc } from './typescript.ts';

/** A tree of tensors by their shapes in names. */
export type Shapes =
  | { readonly shape: string; readonly dtype: string }
  | { readonly tree: Readonly<Record<string, Shapes>> | readonly Shapes[] }
  | { readonly fixed: unknown };

const f = tsc.factory;
const text = (s: string): ts.TypeNode => f.createLiteralTypeNode(f.createStringLiteral(s));
const readonlyWord = () => [f.createToken(tsc.SyntaxKind.ReadonlyKeyword)];

const literal = (x: unknown): ts.TypeNode => {
  switch (typeof x) {
    case 'number':
      return f.createLiteralTypeNode(
        x < 0 ? f.createPrefixUnaryExpression(tsc.SyntaxKind.MinusToken, f.createNumericLiteral(-x)) : f.createNumericLiteral(x),
      );
    case 'boolean':
      return f.createLiteralTypeNode(x ? f.createTrue() : f.createFalse());
    case 'string':
      return text(x);
    default:
      return f.createKeywordTypeNode(tsc.SyntaxKind.UnknownKeyword);
  }
};

const typeOf = (s: Shapes, leaf: string): ts.TypeNode => {
  if ('fixed' in s) return literal(s.fixed);
  if ('shape' in s) return f.createTypeReferenceNode(leaf, [text(s.shape), text(s.dtype)]);
  const { tree } = s;
  if (Array.isArray(tree))
    return f.createTypeOperatorNode(tsc.SyntaxKind.ReadonlyKeyword, f.createTupleTypeNode(tree.map((t) => typeOf(t as Shapes, leaf))));
  return f.createTypeLiteralNode(
    Object.entries(tree as Readonly<Record<string, Shapes>>).map(([key, t]) =>
      f.createPropertySignature(
        readonlyWord(),
        /^[A-Za-z_$][\w$]*$/.test(key) ? key : f.createStringLiteral(key),
        undefined,
        typeOf(t, leaf),
      ),
    ),
  );
};

/** Names of the parameters of a function, where they are names. */
export const parameterNames = (source: string): readonly (string | undefined)[] => {
  const file = tsc.createSourceFile('f.ts', `(${source})`, tsc.ScriptTarget.Latest, true);
  let found: readonly (string | undefined)[] | undefined;
  const visit = (n: ts.Node): void => {
    if (!found && (tsc.isArrowFunction(n) || tsc.isFunctionExpression(n)))
      found = n.parameters.map((p) => (tsc.isIdentifier(p.name) ? p.name.text : undefined));
    else tsc.forEachChild(n, visit);
  };
  visit(file);
  return found ?? [];
};

const head = `/** Numbers of each type: f16 and bf16 are bits, bool is 0 and 1. */
export interface Arrays { f32: Float32Array; f16: Uint16Array; bf16: Uint16Array; i32: Int32Array; u32: Uint32Array; bool: Uint8Array }
/** Row-major. The shape is in names. */
export interface HostTensor<S extends string, T extends keyof Arrays> { readonly shape: readonly number[]; readonly dtype: T; readonly data: Arrays[T]; readonly $?: S }
/** Valid until the next call of the program. */
export interface DeviceTensor<S extends string, T extends keyof Arrays> { readonly shape: readonly number[]; readonly dtype: T; read(): Promise<HostTensor<S, T>>; readonly $?: S }
/** A tree with its tensors on the host. */
export type OnHost<T> = T extends { read(): Promise<infer H> } ? H : T extends { readonly data: unknown } ? T : T extends object ? { readonly [K in keyof T]: OnHost<T[K]> } : T;
export type Input<S extends string, T extends keyof Arrays> = HostTensor<S, T> | DeviceTensor<S, T> | (S extends '' ? number : never);
`;

export interface Declaration {
  readonly about: string;
  readonly args: readonly { readonly name: string; readonly shapes: Shapes }[];
  readonly result: Shapes;
  readonly options: string;
}

export const declarations = ({ about, args, result, options }: Declaration): string => {
  const parameters = args.map(({ name, shapes }) =>
    f.createParameterDeclaration(undefined, undefined, name, undefined, typeOf(shapes, 'Input')),
  );
  const promise = f.createTypeReferenceNode('Promise', [typeOf(result, 'DeviceTensor')]);
  const program = f.createInterfaceDeclaration([f.createToken(tsc.SyntaxKind.ExportKeyword)], 'Program', undefined, undefined, [
    f.createCallSignature(undefined, parameters, promise),
    f.createMethodSignature(
      undefined,
      'ahead',
      undefined,
      undefined,
      [
        f.createParameterDeclaration(undefined, undefined, 'argument', undefined, f.createKeywordTypeNode(tsc.SyntaxKind.NumberKeyword)),
        f.createParameterDeclaration(undefined, undefined, 'value', undefined, f.createKeywordTypeNode(tsc.SyntaxKind.UnknownKeyword)),
      ],
      f.createKeywordTypeNode(tsc.SyntaxKind.VoidKeyword),
    ),
    f.createMethodSignature(undefined, 'dispose', undefined, undefined, [], f.createKeywordTypeNode(tsc.SyntaxKind.VoidKeyword)),
  ]);
  const file = tsc.createSourceFile('index.d.ts', '', tsc.ScriptTarget.Latest);
  const printed = tsc.createPrinter().printNode(tsc.EmitHint.Unspecified, program, file);
  return [
    `/** ${about} */`,
    head,
    printed,
    `export declare const load: (options?: ${options}) => Promise<Program>;`,
    'export declare const toHost: <T>(tree: T) => Promise<OnHost<T>>;',
    '/** What is wrong, with a code and what to do. */',
    'export declare class FoveaError extends Error { readonly code: string; readonly hint: string | undefined; report(): string }',
    '',
  ].join('\n');
};
