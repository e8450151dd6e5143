/**
 * Where two trees of tensors differ, by path: what a person wants to know of a parameter tree that does not fit, in place of two types
 * that fill a screen.
 *
 *   argument has another tree than [D] expects:  blocks.0.norm.weight: expected [384], got [768];  head.bias is missing
 */
import type ts from 'typescript';
import { tensorOf } from './tensors.ts';
import { tsc } from './typescript.ts';

type Leaves = Map<string, string>;

/** Deeper trees are cut: a type may refer to itself. */
const deepest = 12;

/** A text for each leaf by path; undefined where the type holds no tensor at all. */
const leavesOf = (checker: ts.TypeChecker, type: ts.Type, at: ts.Node): Leaves | undefined => {
  const out: Leaves = new Map();
  let tensors = 0;
  const walk = (t: ts.Type, path: string, depth: number): void => {
    const leaf = tensorOf(checker, t);
    if (leaf !== undefined) {
      tensors++;
      out.set(path, leaf);
      return;
    }
    const element = checker.isArrayLikeType(t) ? checker.getIndexTypeOfType(t, tsc.IndexKind.Number) : undefined;
    if (element && !checker.isTupleType(t) && depth < deepest) {
      walk(element, path === '' ? 'N' : `${path}.N`, depth + 1);
      return;
    }
    const properties = checker.isTupleType(t)
      ? checker.getPropertiesOfType(t).filter((p) => /^\d+$/.test(p.name))
      : checker.getPropertiesOfType(t);
    if ((t.flags & tsc.TypeFlags.Object) === 0 || t.getCallSignatures().length > 0 || depth >= deepest || properties.length === 0) {
      out.set(path, checker.typeToString(t));
      return;
    }
    for (const p of properties) walk(checker.getTypeOfSymbolAtLocation(p, at), path === '' ? p.name : `${path}.${p.name}`, depth + 1);
  };
  walk(type, '', 0);
  return tensors > 0 ? out : undefined;
};

/** Most differences that are listed. */
const most = 12;

const few = 4;

/** The leaves of a tree where something else is given. */
const summary = (leaves: Leaves): string => {
  const all = [...leaves].map(([path, text]) => `${path || 'one tensor'}: ${text}`);
  return `a tree of ${all.length} leaves (${[...all.slice(0, few), ...(all.length > few ? ['...'] : [])].join(', ')})`;
};

/**
 * The differences, one a line, by paths that begin with `from`; undefined where no tree of tensors is wanted, or they do not differ by path.
 */
export const treeDifference = (
  checker: ts.TypeChecker,
  wanted: ts.Type,
  got: ts.Type,
  at: ts.Node,
  from: readonly string[] = [],
): string | undefined => {
  const [w, g] = [leavesOf(checker, wanted, at), leavesOf(checker, got, at)];
  if (!w || (w.has('') && (!g || g.has('')))) return undefined;
  if (!g) return `${from.length > 0 ? `${from.join('.')}: ` : ''}expected ${summary(w)}, got ${checker.typeToString(got)}`;
  const full = (path: string): string => [...from, ...(path === '' ? [] : [path])].join('.') || 'one tensor';
  const lines = [
    ...[...w].flatMap(([path, text]) => {
      const own = g.get(path);
      if (own === undefined) return [`${full(path)}: ${text} is missing`];
      return own === text ? [] : [`${full(path)}: expected ${text}, got ${own}`];
    }),
    ...[...g].flatMap(([path, text]) => (w.has(path) ? [] : [`${full(path)}: ${text} is not expected`])),
  ];
  if (lines.length === 0) return undefined;
  const rest = lines.length - most;
  return [
    `the trees differ in ${lines.length} place${lines.length === 1 ? '' : 's'}`,
    ...lines.slice(0, most).map((l) => `    ${l}`),
    ...(rest > 0 ? [`    and ${rest} more`] : []),
  ].join('\n');
};
