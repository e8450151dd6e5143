/**
 * Terms of sums (maxima, minima), where placements are still known: a rank that holds one has not the tensor, but something of its shape. Which values
 * are terms is worked out again here, without the rules that placed them; what reads a term passes it on or brings the terms together:
 *
 *   %3 P = dot(%0 S0, %1 S0) over the rows      neg(%3) is P      add(%3, P) is P      exp(%3), add(%3, R), a result %3: refused
 *   %4 R = reshard(%3) from=P to=R              of maxima: from=max, and no other
 *
 * Throws FV0703 at the first node that is wrong. Terms are always of all ranks of the mesh (move.ts says which groups bring them together).
 */
import { FoveaError } from '../error.ts';
import { placement as show } from '../graph/print.ts';
import { isFloat, type Node, type OpOf, type Placement, type Prim, type Value } from '../graph/types.ts';
import { isPartial, isSplit, type Mesh, samePlacement, wholeRows } from './placement.ts';
import type { Placed } from './propagate.ts';

type Term = 'P' | 'max' | 'min';
type From = readonly Placement[];
const [always, ofSum] = [() => true, (_: Node, from: From) => from[0] === 'P'];
const allSums = (_: Node, from: From): boolean => from.every((p) => p === 'P');
/** One factor, and the others whole on every rank. */
const oneSum = (_: Node, from: From): boolean => from.filter((p) => p === 'P').length === 1 && from.every((p) => p === 'P' || p === 'R');
const dtypeOf = (n: Node): Value['type']['dtype'] => (n.inputs[0] as Value).type.dtype;

/** f(a) + f(b) = f(a + b): whether a node makes terms of terms. What is not here reads none. */
const carries: { readonly [P in Prim]?: (n: Node, from: From) => boolean } = {
  reshape: always,
  transpose: always,
  slice: always,
  broadcast: always,
  neg: ofSum,
  stopGradient: ofSum,
  reverse: ofSum,
  cumsum: ofSum,
  reduceSum: ofSum,
  reduceMax: (_, from) => from[0] === 'max',
  reduceMin: (_, from) => from[0] === 'min',
  add: allSums,
  sub: allSums,
  concat: allSums,
  mul: oneSum,
  dot: oneSum,
  div: (n, from) => from[0] === 'P' && from[1] === 'R' && isFloat(dtypeOf(n)),
  select: (_, from) => from[0] === 'R' && from[1] === 'P' && from[2] === 'P',
  gather: (_, from) => from[0] === 'P' && from[1] === 'R',
  pad: (n, from) => from[0] === 'P' && (n.op as OpOf<'pad'>).value === 0,
  // each rank's own rows, or terms of all rows
  scatterAdd: (_, [x, i, u]) => x === 'P' && ((i === 'R' && u === 'P') || (isSplit(i as Placement) && isSplit(u as Placement))),
  cast: (n, from) => {
    const to = (n.op as OpOf<'cast'>).dtype;
    return from[0] === 'P' && ((isFloat(dtypeOf(n)) && to === 'f32') || to === dtypeOf(n));
  },
};

const splitAmong = (p: Placement | undefined, axes: readonly number[]): boolean =>
  p !== undefined && (p === 'flat' || (isSplit(p) && axes.includes(p.split)));
const terms = { reduceSum: 'P', reduceMax: 'max', reduceMin: 'min' } as const;
/** The terms that a node makes of parts, if a rank sees only some of what it brings together. */
const made = ({ op, inputs }: Node, from: From, mesh: Mesh): Term | undefined => {
  if (op.prim === 'dot') return op.contract.some((axes, side) => splitAmong(from[side], axes)) ? 'P' : undefined;
  if (op.prim !== 'reduceSum' && op.prim !== 'reduceMax' && op.prim !== 'reduceMin') return undefined;
  const x = (inputs[0] as Value).type;
  // a piece of whole rows has all of what becomes a number
  if (from[0] === 'flat' && op.axes.length < x.shape.length && wholeRows(x, op.axes, mesh)) return undefined;
  return splitAmong(from[0], op.axes) ? terms[op.prim] : undefined;
};

export const verifyTerms = ({ graph: g, placement }: Placed, mesh: Mesh): void => {
  const at = (v: Value): Placement => placement.get(v) ?? 'R';
  for (const n of g.nodes) {
    const { op } = n;
    const fail = (why: string): never => {
      throw new FoveaError('FV0703', `${op.prim} of ${n.inputs.map((v) => show(at(v))).join(', ')}: ${why}`, {
        loc: n.meta.loc,
        scope: n.meta.scope,
      });
    };
    const from = n.inputs.map(at);
    const [x] = n.inputs;
    if (op.prim === 'reshard' && x) {
      if (!samePlacement(x.type, op.from, at(x))) fail(`moved as if it were ${show(op.from)}`);
      if (!samePlacement(x.type, op.to, at(n.outputs[0] as Value))) fail(`said to be ${show(op.to)} after it`);
      continue;
    }
    const term = from.find(isPartial) as Term | undefined;
    if (term && (from.some((p) => isPartial(p) && p !== term) || !carries[op.prim]?.(n, from)))
      fail('one term is read where all of the sum is meant');
    const gives = term ?? made(n, from, mesh);
    for (const o of n.outputs) {
      const p = at(o);
      if (gives ? p !== gives : isPartial(p)) fail(`gives ${gives ?? 'no terms'}, not ${show(p)}`);
    }
  }
  g.results.forEach((r, i) => {
    if (isPartial(at(r))) throw new FoveaError('FV0703', `result ${i} is ${show(at(r))} on the ranks: only one term of what is meant`);
  });
};
