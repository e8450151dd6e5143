/**
 * tsc's diagnostics as the language means them. A shape error is a conditional type that is a sentence; tsc says that something "is not
 * assignable to parameter of type" that sentence, and here the sentence is all that is said. Trees that differ are told by path (trees.ts).
 *
 *   TS2345 Argument of type 'Tensor<"768 1536">' is not assignable to parameter of type '"matmul: inner dims differ: ..."'
 *   ->  FV0001 matmul: inner dims differ: [B N 384] @ [768 1536]: 384 vs 768
 */
import type ts from 'typescript';
import type { Finding, Spot } from './findings.ts';
import { keyText } from './names.ts';
import { treeDifference } from './trees.ts';
import { tsc } from './typescript.ts';

export const spotOf = (file: ts.SourceFile, start: number, end: number): Spot => {
  const [a, b] = [file.getLineAndCharacterOfPosition(start), file.getLineAndCharacterOfPosition(end)];
  return { file: file.fileName, line: a.line + 1, col: a.character + 1, endLine: b.line + 1, endCol: b.character + 1 };
};
export const spotOfNode = (n: ts.Node): Spot => spotOf(n.getSourceFile(), n.getStart(), n.getEnd());

/** The innermost expression that covers exactly the place of a diagnostic, or begins there. */
const nodeAt = (file: ts.SourceFile, start: number, end: number): ts.Node => {
  let found: ts.Node = file;
  const visit = (n: ts.Node): void => {
    if (n.getStart(file) > start || n.end < end) return;
    found = n;
    tsc.forEachChild(n, visit);
  };
  tsc.forEachChild(file, visit);
  return found;
};

const dtypes = /dtypes? |\.cast\(/;
/** What TypeScript means by these words is that two shapes differ. */
const assigned = /^Type '(?:Tensor|F32)<"([^"]*)"(?:, "(\w+)")?>' is not assignable to type '\w+<"([^"]*)"(?:, "(\w+)")?>'/;

/** A sentence of ours as TypeScript prints its type: it has several words, and names the operation or the argument that it is about. */
const sentence = /"[\w. ]+: (?:[^"\\]|\\.)+"/g;
const told = (text: string): readonly [code: string, message: string] => {
  const message = JSON.parse(text) as string;
  return [dtypes.test(message) ? 'FV0002' : 'FV0001', message];
};

/** Codes and sentences of tsc that stand for others of ours. */
const reworded = (text: string): readonly [code: string, message: string] | undefined => {
  // what TypeScript says below its first line are the types that it went through
  const [first] = text.split('\n') as [string, ...string[]];
  const own = /is not assignable to (?:parameter of )?type '("(?:[^"\\]|\\.)*")'\.?$/.exec(first)?.[1];
  if (own !== undefined && /^"[\w. ]+: ./.test(own)) return told(own);
  const [, what, among] = /^Argument of type '(.*?)' is not assignable to parameter of type '(.*"[\w. ]+: [^"]+".*)'\.?$/.exec(first) ?? [];
  if (what !== undefined && among !== undefined) {
    // what is given is of several types, and one of them does not fit
    const [only, ...others] = new Set(among.match(sentence));
    if (only !== undefined && others.length === 0) return told(only);
    // of several sentences, one for each type that the other operand might have, none is about what was given
    const name = /"([\w. ]+): /.exec(among)?.[1];
    const number = /(?:^|\| )number(?:$| \|)/.test(among);
    return [
      'FV0006',
      `${name}: expected a tensor that fits${number ? ' or a number' : ''}, got ${brief(`'${what}'`).replace(/^'|'$/g, '')}`,
    ];
  }
  const [, got, gotType = 'f32', wanted, wantedType = 'f32'] = assigned.exec(text) ?? [];
  if (got === undefined) return undefined;
  if (got !== wanted) return ['FV0001', `this has the shape [${got}], expected [${wanted}]`];
  return ['FV0002', `this is of type ${gotType}, expected ${wantedType}`];
};

/** The path of a part of a literal, from the outermost one: `blocks.0.norm` of `bias` in `{ blocks: [{ norm: { bias: b } }] }`. */
const pathTo = (n: ts.Node): readonly string[] => {
  const up = n.parent;
  if (!up) return [];
  if (tsc.isPropertyAssignment(up) && up.initializer === n) return [...pathTo(up.parent), keyText(up.name)];
  if (tsc.isShorthandPropertyAssignment(n)) return [...pathTo(up), n.name.text];
  if (tsc.isArrayLiteralExpression(up)) return [...pathTo(up), `${up.elements.indexOf(n as ts.Expression)}`];
  return tsc.isParenthesizedExpression(up) || tsc.isAsExpression(up) || tsc.isSatisfiesExpression(up) ? pathTo(up) : [];
};

/** What is given where a diagnostic is, if anything is. */
const givenAt = (n: ts.Node): ts.Expression | undefined => {
  const up = n.parent;
  if (tsc.isReturnStatement(n)) return n.expression;
  // of a name in a literal either its value does not fit, or the literal should not have it
  if (up && tsc.isPropertyAssignment(up) && up.name === n) return up.initializer;
  if (up && tsc.isVariableDeclaration(up) && up.name === n) return up.initializer;
  return tsc.isExpression(n) ? n : undefined;
};

/** The expected type where a value does not fit: of an argument, a declared variable, a result. */
const wantedAt = (checker: ts.TypeChecker, e: ts.Expression): ts.Type | undefined => {
  const call = e.parent;
  const at = tsc.isCallExpression(call) ? call.arguments.indexOf(e) : -1;
  const parameter = tsc.isCallExpression(call) && at >= 0 ? checker.getResolvedSignature(call)?.parameters[at] : undefined;
  return parameter ? checker.getTypeOfSymbolAtLocation(parameter, e) : checker.getContextualType(e);
};

/** Diagnostics that may be about two trees; 2353 and 2561 are of a key too many. */
const unfit: ReadonlySet<number> = new Set([2322, 2345, 2739, 2740, 2741, 2353, 2559, 2561]);
const tooMany: ReadonlySet<number> = new Set([2353, 2561]);

/** What differs, by paths from the outermost literal. */
const differenceAt = (checker: ts.TypeChecker, d: ts.Diagnostic, n: ts.Node): string | undefined => {
  if (!unfit.has(d.code)) return undefined;
  const literal = tooMany.has(d.code) && tsc.isObjectLiteralElement(n.parent) ? n.parent.parent : undefined;
  const given = literal && tsc.isObjectLiteralExpression(literal) ? literal : givenAt(n);
  const wanted = given && wantedAt(checker, given);
  return wanted && treeDifference(checker, wanted, checker.getTypeAtLocation(given), given, pathTo(given));
};

/** Types of trees fill a screen: of those that are not told by path only how many tensors they hold. */
const brief = (text: string): string =>
  text
    .replace(/ which is declared here on type '.*'$/gm, ' which is declared here')
    .replace(/'\{ [^']*Tensor<[^']*'/g, (type) =>
      type.length < 100 ? type : `a tree of ${type.split('Tensor<').length - 1} tensors or more`,
    );

export const findingOf = (checker: ts.TypeChecker, d: ts.Diagnostic): Finding | undefined => {
  const { file, start = 0, length = 0 } = d;
  const severity = d.category === tsc.DiagnosticCategory.Error ? 'error' : 'warning';
  const text = tsc.flattenDiagnosticMessageText(d.messageText, '\n');
  if (!file) return { file: '', line: 1, col: 1, endLine: 1, endCol: 1, code: `TS${d.code}`, severity, message: text, related: [] };
  const related = (d.relatedInformation ?? []).flatMap((r) =>
    r.file && r.start !== undefined
      ? [{ ...spotOf(r.file, r.start, r.start + (r.length ?? 0)), message: brief(tsc.flattenDiagnosticMessageText(r.messageText, '\n')) }]
      : [],
  );
  const spot = spotOf(file, start, start + length);
  const node = nodeAt(file, start, start + length);
  const known = reworded(text);
  if (known) {
    const given = givenAt(node);
    const path = given ? pathTo(given) : [];
    return { ...spot, code: known[0], severity, message: `${path.length > 0 ? `${path.join('.')}: ` : ''}${known[1]}`, related: [] };
  }
  const difference = differenceAt(checker, d, node);
  if (difference) return { ...spot, code: 'FV0006', severity, message: difference, related: [] };
  return { ...spot, code: `TS${d.code}`, severity, message: brief(text), related };
};
