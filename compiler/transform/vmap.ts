/**
 * vmap: a graph of single examples becomes a graph of batches, by one rule a primitive. A value is batched (a new axis 0 of the size of
 * the batch) or the same for all examples; what does not depend on a batched argument stays as it is, computed once.
 *
 *   graph (%0: f32[4], %1: f32[4]) { %2 = mul(%0, %1); return %2 }      at (x: f32[B 4] batched, y: f32[4]) becomes
 *   %3 = broadcast(y) shape=[B 4]
 *   %4 = mul(x, %3)                                                     results [%4], batched [true]
 *
 * The law: example i of vmap(f)(xs) is f(x_i), for every graph. No rule changes the order of a sum, so in the interpreter it holds to the
 * last bit.
 */
import type { Builder } from '../graph/builder.ts';
import type { Dim } from '../graph/dim.ts';
import type { Graph, Op, Prim, Value } from '../graph/types.ts';
import { all, type Batched, type BatchRule, type BatchSite, repeated } from './batched.ts';
import { regions } from './vmap-regions.ts';
import { structure } from './vmap-structure.ts';

/** Element by element: operands are made equal in shape, the primitive stays. */
const pointwise = <P extends Prim>({ b, op, x, batched, size }: BatchSite<P>): Batched =>
  all(
    b.emit(
      op as Op,
      x.map((v, i) => repeated(b, v, batched[i] as boolean, size)),
    ),
  );

/** Without operands there is nothing that could be batched. */
const closed = (): never => {
  throw new Error('internal: a primitive without operands cannot be batched');
};

const sharded = (): never => {
  throw new Error('internal: a program for one rank is not batched');
};

export const batchRules: { readonly [P in Prim]: BatchRule<P> } = {
  const: closed,
  array: closed,
  iota: closed,
  axisIndex: closed,
  collective: sharded,
  start: sharded,
  wait: sharded,
  neg: pointwise,
  exp: pointwise,
  log: pointwise,
  sin: pointwise,
  cos: pointwise,
  tanh: pointwise,
  sqrt: pointwise,
  rsqrt: pointwise,
  erf: pointwise,
  abs: pointwise,
  sign: pointwise,
  floor: pointwise,
  not: pointwise,
  cast: pointwise,
  stopGradient: pointwise,
  add: pointwise,
  sub: pointwise,
  mul: pointwise,
  div: pointwise,
  pow: pointwise,
  max: pointwise,
  min: pointwise,
  rem: pointwise,
  and: pointwise,
  or: pointwise,
  xor: pointwise,
  shiftLeft: pointwise,
  shiftRight: pointwise,
  compare: pointwise,
  select: pointwise,
  ...structure,
  ...regions,
};

/** Inlines `g` into `b` at `args`, some of them batched, `size` examples in all. */
export const vmap = (b: Builder, g: Graph, args: readonly Value[], batched: readonly boolean[], size: Dim): Batched => {
  const env = new Map<Value, Value>(g.params.map((p, i) => [p, args[i] as Value]));
  const moving = new Set<Value>(g.params.filter((_, i) => batched[i]));
  for (const n of g.nodes) {
    const x = n.inputs.map((v) => env.get(v) as Value);
    const some = n.inputs.map((v) => moving.has(v));
    const { scope, phase, loc, remat } = n.meta;
    const out = b.at({ scope, phase, loc, remat }, (): Batched => {
      if (!some.includes(true)) {
        const values = b.emit(n.op, x);
        return { values, batched: values.map(() => false) };
      }
      // the row belongs to the primitive; TypeScript does not correlate the two lookups
      return (batchRules[n.op.prim] as BatchRule<Prim>)({ b, op: n.op, x, batched: some, size, vmap });
    });
    n.outputs.forEach((o, i) => {
      env.set(o, out.values[i] as Value);
      if (out.batched[i]) moving.add(o);
    });
  }
  return { values: g.results.map((r) => env.get(r) as Value), batched: g.results.map((r) => moving.has(r)) };
};
