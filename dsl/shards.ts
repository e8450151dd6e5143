/**
 * What each rank computes of its own images, as a part of a program for all: f for every entry of the first axis, the shard. On one device it is
 * a loop; on ranks it costs no word, while the same operations on the whole batch would need everybody's rows.
 *
 *   const own = rearrange('(w b) d -> w b d', features, { w: 4 });       four shards of the batch, whatever runs it
 *   mean('w ->', perShard(koleoLoss)(own))                               neighbours are looked for within a shard
 */
import { type Dim, eqDim } from '../compiler/graph/dim.ts';
import { showType } from '../compiler/graph/infer.ts';
import type { TensorType } from '../compiler/graph/types.ts';
import { repeated } from '../compiler/transform/batched.ts';
import { tensorsOf, withValues } from './closure.ts';
import { close, fail, located } from './context.ts';
import type { Examples, Length, Stacked } from './transforms.ts';

/**
 * f for each shard: every tensor of the arguments has a first axis, all of one size, and so has every tensor of the result. What f uses from
 * outside is the same for all shards. FV0001 where first axes differ, FV0006 where there is no tensor.
 */
export const perShard =
  <P extends readonly unknown[], R>(f: (...own: P) => R) =>
  <A extends Examples<P>>(...args: A): Stacked<R, Length<A>> =>
    located((b) => {
      const leaves = tensorsOf(args);
      const shards: Dim =
        leaves[0]?.value.type.shape[0] ??
        fail('FV0006', 'perShard: the arguments have no tensor with a first axis', 'Split the batch with rearrange.');
      const own = leaves.map(({ path, value: { type } }): TensorType => {
        const [first, ...shape] = type.shape;
        if (first === undefined || !eqDim(first, shards))
          fail('FV0001', `perShard: argument ${path} is ${showType(type)}; its first axis should be the ${shards} shards`);
        return { dtype: type.dtype, shape };
      });
      let out: unknown;
      const closed = close(own, [], false, (_, params) => {
        out = f(...(withValues(args, params) as P));
        return tensorsOf(out).map((y) => y.value);
      });
      const operands = [...leaves.map((l) => l.value), ...closed.captured.map((v) => repeated(b, v, false, shards))];
      return withValues(out, b.emit({ prim: 'perShard', axis: 'data', body: closed.graph }, operands)) as Stacked<R, Length<A>>;
    });
