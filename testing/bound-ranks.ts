/**
 * The bound of bound.ts for programs of one rank: all ranks side by side, each with the errors of its own numbers. What a gather brings has the errors
 * of who sent it; a reduction is a sum (maximum, minimum) over the ranks in float32, in any order, which is rounded once to the type that travels.
 *
 *   two ranks   all-reduce of bf16   x0 + x1 within   e0 + e1, the roundings of a sum of two, and 2^-8 of the result
 *
 * So gradients that travel as bf16, and parameters that are cast before they are gathered, are bounded by what was really cast, where it was.
 */
import { countOf, type Tensor64, tensor64 } from '../compiler/graph/tensor64.ts';
import type { Graph, Op, Reduction, TensorType, Transfer, Value } from '../compiler/graph/types.ts';
import { inline } from '../compiler/passes/inline.ts';
import type { Mesh } from '../compiler/shard/placement.ts';
import { membersOf } from '../compiler/shard/ranks.ts';
import { type Bounded, boundedArgument, boundedNode } from './bound.ts';

const over: { readonly [R in Reduction]: Op } = {
  sum: { prim: 'reduceSum', axes: [0] },
  max: { prim: 'reduceMax', axes: [0] },
  min: { prim: 'reduceMin', axes: [0] },
};

/** What all send from element `from` on, one below the other. */
const stacked = (sent: readonly Bounded[], from: number, n: number, type: TensorType): Bounded => {
  const cut = (x: ArrayLike<number>): readonly number[] => Array.from({ length: n }, (_, i) => x[from + i] as number);
  return {
    value: tensor64(
      type,
      sent.flatMap((x) => cut(x.value.data)),
    ),
    error: Float64Array.from(sent.flatMap((x) => cut(x.error))),
  };
};

/** What the rank at `place` of a group gets, of what its members send. */
const exchanged = (t: Transfer, sent: readonly Bounded[], place: number, out: TensorType): Bounded => {
  const n = countOf(out);
  if (t.kind === 'all-gather') return stacked(sent, 0, n / sent.length, out);
  const all = stacked(sent, t.kind === 'reduce-scatter' ? place * n : 0, n, { dtype: out.dtype, shape: [sent.length, n] });
  const [flat] = boundedNode(over[t.reduction], [all], [{ dtype: out.dtype, shape: [n] }], 'f32') as readonly [Bounded];
  return { value: tensor64(out, flat.value.data), error: flat.error };
};

/** Of each rank, its results and their bounds; args[r] are the arguments of rank r, without the last, its number. */
export const boundedRanks = (graph: Graph, mesh: Mesh, args: readonly (readonly Tensor64[])[]): readonly (readonly Bounded[])[] => {
  const g = inline(graph);
  const envs = args.map((own, r) => {
    const all = [...own, tensor64({ dtype: 'i32', shape: [] }, [r])];
    return new Map<Value, Bounded>(g.params.map((p, i) => [p, boundedArgument(all[i] as Tensor64, 'f32')]));
  });
  const at = (r: number, v: Value): Bounded => envs[r]?.get(v) as Bounded;
  for (const { op, inputs, outputs } of g.nodes)
    envs.forEach((env, r) => {
      if (op.prim === 'wait') {
        for (const [i, o] of outputs.entries()) env.set(o, at(r, inputs[i] as Value));
        return;
      }
      if (op.prim === 'start' || op.prim === 'collective') {
        const group = membersOf(r, op.group, mesh);
        for (const [i, o] of outputs.entries()) {
          const sent = group.map((m) => at(m, inputs[i] as Value));
          env.set(o, exchanged(op, sent, group.indexOf(r), o.type));
        }
        return;
      }
      const ins = inputs.map((v) => at(r, v));
      const types = outputs.map((o) => o.type);
      boundedNode(op, ins, types, 'f32').forEach((x, i) => env.set(outputs[i] as Value, x));
    });
  return envs.map((_, r) => g.results.map((v) => at(r, v)));
};
