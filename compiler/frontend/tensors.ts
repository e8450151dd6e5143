/** Which types are tensors of the language, and which names of a user's file are its functions. By declaration, so that an own `Tensor` is none. */
import type ts from 'typescript';
import { tsc } from './typescript.ts';

/** Files of the language, as sources or as declarations of the package. */
const language = /[\\/](dsl|compiler)[\\/](?:[\w-]+[\\/])*[\w-]+\.(?:d\.)?ts$/;
const faces = /[\\/](?:index|web|program)\.(?:d\.)?ts$/;

/** The root of Fovea, if `file` is `dsl/NAME.ts` of it. */
const rootOf = (file: string): string | undefined => /^(.*[\\/])dsl[\\/][\w-]+\.(?:d\.)?ts$/.exec(file)?.[1];

const declaredIn = (s: ts.Symbol | undefined): string => s?.declarations?.[0]?.getSourceFile().fileName ?? '';
const isOurs = (s: ts.Symbol | undefined, file: RegExp): boolean => file.test(declaredIn(s));

const tensorFile = /[\\/]dsl[\\/]tensor\.(?:d\.)?ts$/;

/** `[B N 384]` or `[B N]:bf16`; undefined for what is no tensor. */
export const tensorOf = (checker: ts.TypeChecker, t: ts.Type): string | undefined => {
  const symbol = t.getSymbol();
  if (symbol?.name !== 'Tensor' || !isOurs(symbol, tensorFile)) return undefined;
  const [shape, dtype] = checker
    .getTypeArguments(t as ts.TypeReference)
    .map((a) => (a.isStringLiteral() ? a.value : checker.typeToString(a)));
  return dtype === undefined || dtype === 'f32' ? `[${shape}]` : `[${shape}]:${dtype}`;
};

/** A tensor, or a union with one. */
export const mayBeTensor = (checker: ts.TypeChecker, t: ts.Type): boolean =>
  t.isUnion() ? t.types.some((u) => mayBeTensor(checker, u)) : tensorOf(checker, t) !== undefined;

/** A tensor whatever happens. */
export const isTensorAlone = (checker: ts.TypeChecker, t: ts.Type): boolean =>
  t.isUnion() ? t.types.every((u) => isTensorAlone(checker, u)) : tensorOf(checker, t) !== undefined;

export const symbolOf = (checker: ts.TypeChecker, n: ts.Node): ts.Symbol | undefined => {
  const s = checker.getSymbolAtLocation(n);
  return s && (s.flags & tsc.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(s) : s;
};

/** The name that an expression has in the language: `fn`, `module`; undefined for anything else. */
export const languageName = (checker: ts.TypeChecker, n: ts.Expression): string | undefined => {
  if (!tsc.isIdentifier(n) && !tsc.isPropertyAccessExpression(n)) return undefined;
  const s = symbolOf(checker, n);
  return s && isOurs(s, language) ? s.name : undefined;
};

/** Which files of a program are Fovea's own, as sources or as the package: the language and all below it. Models are a user's. */
export const isOfFovea = (program: ts.Program): ((file: string) => boolean) => {
  const roots = [...new Set(program.getSourceFiles().flatMap((f) => rootOf(f.fileName) ?? []))];
  return (file) =>
    roots.some(
      (r) =>
        file.startsWith(r) &&
        (faces.test(`/${file.slice(r.length)}`) || /^(dsl|compiler|backends|testing|cli)[\\/]/.test(file.slice(r.length))),
    );
};

/**
 * The files of a program that a user wrote: no declarations, no packages, and of Fovea itself, where its sources are in the program, only
 * what was asked for and models.
 */
export const userFiles = (program: ts.Program, asked: readonly string[]): readonly ts.SourceFile[] => {
  const ours = isOfFovea(program);
  return program
    .getSourceFiles()
    .filter((f) => asked.includes(f.fileName) || !(f.isDeclarationFile || /[\\/]node_modules[\\/]/.test(f.fileName) || ours(f.fileName)));
};
