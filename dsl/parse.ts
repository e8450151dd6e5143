/**
 * Reading patterns at trace time and binding their letters to the sizes of a tensor. The type rules in types/einops.ts are the same rules
 * over words; here they run on exact polynomials, and `...` becomes as many numbered letters as there are axes.
 *
 *   parsePattern('einsum', 'b n d, e d -> b n e')  ->  { ins: [[b n d], [e d]], out: [b n e] }
 */
import { type Dim, eqDim } from '../compiler/graph/dim.ts';
import type { Value } from '../compiler/graph/types.ts';
import { fail } from './context.ts';
import { bare } from './pointwise.ts';

/** One axis, or several composed into one: (h d). */
export type Group = string | readonly string[];

export const parseSide = (op: string, side: string): Group[] => {
  const groups: Group[] = [];
  let open: string[] | undefined;
  for (const tok of side.replaceAll('(', ' ( ').replaceAll(')', ' ) ').split(/\s+/).filter(Boolean)) {
    if (tok === '(') open = open ? fail('FV0003', `${op}: nested ( in '${side}'`) : [];
    else if (tok === ')') {
      groups.push(open ?? fail('FV0003', `${op}: unbalanced ) in '${side}'`));
      open = undefined;
    } else if (!/^([A-Za-z_]\w*|1|\.\.\.)$/.test(tok))
      fail('FV0003', `${op}: '${tok}' is not an axis name in '${side}'`, "Axes are names such as b or head, or 1, or '...'.");
    else if (open) open.push(tok);
    else groups.push(tok);
  }
  if (open) fail('FV0003', `${op}: unbalanced ( in '${side}'`);
  const flat = groups.flat().filter((g) => g !== '1');
  const twice = flat.find((g, i) => flat.indexOf(g) !== i);
  if (twice !== undefined) fail('FV0003', `${op}: axis ${twice} is repeated in '${side.trim()}'`);
  return groups;
};

export const parsePattern = (op: string, pattern: string): { readonly ins: Group[][]; readonly out: Group[] } => {
  const [left, right, more] = pattern.split('->');
  if (left === undefined || right === undefined || more !== undefined) return fail('FV0003', `${op}: '${pattern}' needs exactly one ->`);
  return { ins: left.split(',').map((s) => parseSide(op, s)), out: parseSide(op, right) };
};

/** One side of a pattern without groups. */
const plain = (op: string, groups: readonly Group[]): readonly string[] =>
  groups.every((g) => typeof g === 'string') ? groups : fail('FV0003', `${op}: groups in parentheses are for rearrange`);
/** Plain letters only, `...` spelled out as ...0, ...1 for a tensor of the given rank. */
export const letters = (op: string, groups: readonly Group[], rank: number, what: string): string[] => {
  const flat = plain(op, groups);
  const dots = flat.indexOf('...');
  if (dots < 0 ? flat.length !== rank : flat.length - 1 > rank)
    fail('FV0001', `${op}: ${what} has ${rank < flat.length ? 'fewer' : 'more'} axes than its pattern '${flat.join(' ')}'`);
  return flat.flatMap((g) => (g === '...' ? Array.from({ length: rank - flat.length + 1 }, (_, i) => `...${i}`) : [g]));
};
/** The letters of the output, all of which some operand must have, with `...` replaced by the axes that it stood for there. */
export const spread = (op: string, ins: readonly (readonly Group[])[], out: readonly Group[], env: ReadonlyMap<string, Dim>): string[] => {
  const flat = plain(op, out);
  const unknown = flat.find((n) => n !== '1' && !ins.some((g) => g.includes(n)));
  if (unknown !== undefined)
    fail(
      'FV0003',
      `${op}: ${op === 'einsum' ? 'output ' : ''}axis ${unknown} does not occur ${op === 'einsum' ? 'in any operand' : 'on the left-hand side'}`,
    );
  return flat.flatMap((g) => (g === '...' ? [...env.keys()].filter((k) => k.startsWith('...')) : [g]));
};

/** Adds letter -> size; FV0001 where a letter has another size already. */
export const bindLetters = (op: string, names: readonly string[], v: Value, env: Map<string, Dim>, what: string): void => {
  names.forEach((name, i) => {
    const d = v.type.shape[i] as Dim;
    const old = env.get(name);
    if (name === '1') {
      if (d !== 1) fail('FV0001', `${op}: the pattern says 1 where ${what} has ${d}`);
    } else if (old !== undefined && !eqDim(old, d))
      fail('FV0001', `${op}: axis ${name} is ${old} in an earlier operand but ${d} in ${what}`);
    else env.set(name, d);
  });
};
export const tensorName = (v: Value): string => `the tensor ${bare(v.type.shape)}`;
