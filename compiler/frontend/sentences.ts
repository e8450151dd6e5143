/**
 * tsc's diagnostics as the language means them. A shape error is a conditional type that is a sentence; tsc says that something "is not
 * assignable to parameter of type" that sentence, and here the sentence is all that is said. Trees that differ are told by path (trees.ts).
 *
 *   TS2345 Argument of type 'Tensor<"768 1536">' is not assignable to parameter of type '"matmul: inner dims differ: ..."'
 *   ->  FV0001 matmul: inner dims differ: [B N 384] @ [768 1536]: 384 vs 768
 */
import type ts from 'typescript';
import type { Finding, Spot } from './findings.ts';
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

/** Codes and sentences of tsc that stand for others of ours. */
const reworded = (text: string): readonly [code: string, message: string] | undefined => {
  const own = /is not assignable to (?:parameter of )?type '("(?:[^"\\]|\\.)*")'\.?$/.exec(text.split('\n')[0] as string)?.[1];
  // a sentence of ours has several words, and names the operation or the argument that it is about
  if (own !== undefined && /^"[\w. ]+: ./.test(own)) {
    const message = JSON.parse(own) as string;
    return [dtypes.test(message) ? 'FV0002' : 'FV0001', message];
  }
  const [, got, gotType = 'f32', wanted, wantedType = 'f32'] = assigned.exec(text) ?? [];
  if (got === undefined) return undefined;
  if (got !== wanted) return ['FV0001', `this has the shape [${got}], expected [${wanted}]`];
  return ['FV0002', `this is of type ${gotType}, expected ${wantedType}`];
};

/** The expected and the given type where a value of a type does not fit: an argument, a declared result. */
const mismatch = (checker: ts.TypeChecker, n: ts.Node): readonly [wanted: ts.Type, got: ts.Type] | undefined => {
  if (tsc.isIdentifier(n) && tsc.isVariableDeclaration(n.parent) && n.parent.initializer && n.parent.name === n)
    return [checker.getTypeAtLocation(n), checker.getTypeAtLocation(n.parent.initializer)];
  if (!tsc.isExpression(n)) return undefined;
  const call = n.parent;
  const at = tsc.isCallExpression(call) ? call.arguments.indexOf(n) : -1;
  const parameter = tsc.isCallExpression(call) && at >= 0 ? checker.getResolvedSignature(call)?.parameters[at] : undefined;
  const wanted = parameter ? checker.getTypeOfSymbolAtLocation(parameter, n) : checker.getContextualType(n);
  return wanted && [wanted, checker.getTypeAtLocation(n)];
};

/** Diagnostics that may be about two trees. */
const unfit: ReadonlySet<number> = new Set([2322, 2345, 2739, 2740, 2741, 2353, 2559]);

export const findingOf = (checker: ts.TypeChecker, d: ts.Diagnostic): Finding | undefined => {
  const { file, start = 0, length = 0 } = d;
  const severity = d.category === tsc.DiagnosticCategory.Error ? 'error' : 'warning';
  const text = tsc.flattenDiagnosticMessageText(d.messageText, '\n');
  if (!file) return { file: '', line: 1, col: 1, endLine: 1, endCol: 1, code: `TS${d.code}`, severity, message: text, related: [] };
  const related = (d.relatedInformation ?? []).flatMap((r) =>
    r.file && r.start !== undefined
      ? [{ ...spotOf(r.file, r.start, r.start + (r.length ?? 0)), message: tsc.flattenDiagnosticMessageText(r.messageText, '\n') }]
      : [],
  );
  const spot = spotOf(file, start, start + length);
  const known = reworded(text);
  if (known) return { ...spot, code: known[0], severity, message: known[1], related: [] };
  const types = unfit.has(d.code) ? mismatch(checker, nodeAt(file, start, start + length)) : undefined;
  const difference = types && treeDifference(checker, types[0], types[1], file);
  if (difference) return { ...spot, code: 'FV0006', severity, message: difference, related: [] };
  return { ...spot, code: `TS${d.code}`, severity, message: text, related };
};
