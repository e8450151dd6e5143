/**
 * jvp rules of constants, structure, contraction, reduction and random bits. Most of these primitives are linear, so
 * that the rule is the primitive itself applied to the tangent.
 */
import type { Prim, Value } from '../graph/types.ts';
import { type AnySite, addTangents, type Dual, type JvpRule, materialise, type Site, zero } from './dual.ts';

/** Linear in operand 0; the others (indices) are held. */
const linear = ({ b, op, x, t }: AnySite): Dual => ({
  results: b.emit(op, x),
  tangents: b.emit(op, [t[0] as Value, ...x.slice(1)]),
});

/** The extremum moves with the mean of the tangents of the elements that attain it. */
const extremum = ({ b, op, x: [x], t: [t] }: Site<'reduceMax'> | Site<'reduceMin'>): Dual => {
  const [from, tangent] = [x as Value, t as Value];
  const y = b.one(op, [from]);
  const kept = from.type.shape.map((_, i) => i).filter((i) => !op.axes.includes(i));
  const attains = b.compare('eq', from, b.broadcast(y, from.type.shape, kept));
  const mask = b.select(attains, b.fill(1, from.type), b.fill(0, from.type));
  return { results: [y], tangents: [b.div(b.sum(b.mul(tangent, mask), op.axes), b.sum(mask, op.axes))] };
};

const sharded = (): never => {
  throw new Error('internal: a program for one rank is not differentiated');
};

export const structure = {
  const: zero,
  array: zero,
  iota: zero,
  broadcast: linear,
  reshape: linear,
  transpose: linear,
  slice: linear,
  pad: ({ b, op, x, t }) => ({ results: b.emit(op, x), tangents: [b.pad(t[0] as Value, op.low, op.high)] }),
  concat: ({ b, op, x, t }) => ({
    results: b.emit(op, x),
    tangents: [
      b.concat(
        x.map((v, i) => materialise(b, t[i] ?? null, v)),
        op.axis,
      ),
    ],
  }),
  reverse: linear,
  gather: linear,
  scatterAdd: ({ b, op, x: [x, i, u], t: [s, , t] }) => {
    const [into, at] = [x as Value, i as Value];
    // nothing arrives from the updates: what is left is the identity
    const tangent = t ? b.scatterAdd(materialise(b, s ?? null, into), at, t, op.axis) : (s ?? null);
    return { results: [b.scatterAdd(into, at, u as Value, op.axis)], tangents: [tangent] };
  },
  dot: ({ b, op, x: [x, y], t: [s, t] }) => {
    const [p, q] = [x as Value, y as Value];
    // transposed in reverse: the cotangent of x, with which the backward phase goes on, comes first, and then that of a weight
    const right = t ? b.one(op, [p, t]) : null;
    const left = s ? b.one(op, [s, q]) : null;
    return { results: [b.one(op, [p, q])], tangents: [addTangents(b, left, right)] };
  },
  reduceSum: linear,
  reduceMax: extremum,
  reduceMin: extremum,
  argmax: zero,
  cumsum: linear,
  randomBits: zero,
  reshard: linear,
  axisIndex: zero,
  collective: sharded,
  start: sharded,
  wait: sharded,
} satisfies { readonly [P in Prim]?: JvpRule<P> };
