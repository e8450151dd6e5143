/**
 * Contractions that are no matrix products, as the pointwise operations and reductions that they are: those are bound by memory,
 * and join the kernels around them.
 *
 *   rows with rows:   dot(x, y) batch=[0][0] contract=[1][1], f32[64 65536]   ->  reduceSum(mul(x, y)) over axis 1
 *   outer products:   dot(u, v) of f32[64] and f32[256]                       ->  mul(broadcast(u), broadcast(v))
 *
 * float32 only: a contraction of halves adds up in float32, a product of halves is rounded first.
 */
import { known } from '../graph/dim.ts';
import type { Node, Op, OpOf, Value } from '../graph/types.ts';

/** Appends a node and gives its output; `as` is the output to use. */
export type Emit = (op: Op, inputs: readonly Value[], as?: Value) => Value;

const shapeOf = (v: Value): readonly number[] => v.type.shape.map(known);

/** Emits what `n` computes if it is no matrix product; otherwise emits nothing. True if it did. */
export const asProduct = (n: Node, op: OpOf<'dot'>, emit: Emit): boolean => {
  const [a, b] = n.inputs as [Value, Value];
  const out = n.outputs[0] as Value;
  if (a.type.dtype !== 'f32' || op.dtype !== 'f32') return false;
  const shapes = [shapeOf(a), shapeOf(b)] as const;
  const free = ([0, 1] as const).map((side) =>
    shapes[side].map((_, i) => i).filter((i) => !op.batch[side].includes(i) && !op.contract[side].includes(i)),
  );
  const [freeA, freeB] = free as [number[], number[]];
  const size = (side: 0 | 1, axes: readonly number[]): number => axes.reduce((p, i) => p * (shapes[side][i] as number), 1);
  /** v with its axes in this order; axes that are not listed have one element and go. */
  const order = (v: Value, side: 0 | 1, axes: readonly number[]): Value => {
    const perm = [...axes, ...shapes[side].map((_, i) => i).filter((i) => !axes.includes(i))];
    const moved = perm.every((p, i) => p === i) ? v : emit({ prim: 'transpose', perm }, [v]);
    return axes.length === perm.length ? moved : emit({ prim: 'reshape', shape: axes.map((i) => shapes[side][i] as number) }, [moved]);
  };
  if (size(0, op.contract[0]) === 1) {
    const shape = shapeOf(out);
    const batch = op.batch[0].map((_, i) => i);
    const first = batch.length + freeA.length;
    const x = order(a, 0, [...op.batch[0], ...freeA]);
    const y = order(b, 1, [...op.batch[1], ...freeB]);
    const wide = emit({ prim: 'broadcast', shape, axes: Array.from({ length: first }, (_, i) => i) }, [x]);
    const tall = emit({ prim: 'broadcast', shape, axes: [...batch, ...freeB.map((_, i) => first + i)] }, [y]);
    emit({ prim: 'mul' }, [wide, tall], out);
    return true;
  }
  if (size(0, freeA) !== 1 || size(1, freeB) !== 1) return false;
  // in the order of a's axes, so that a is read as it lies
  const pairs = new Map([...op.batch[0], ...op.contract[0]].map((i, k) => [i, [...op.batch[1], ...op.contract[1]][k] as number]));
  const axes = [...pairs.keys()].sort((i, j) => i - j);
  const x = order(a, 0, axes);
  const y = order(
    b,
    1,
    axes.map((i) => pairs.get(i) as number),
  );
  const sum = emit({ prim: 'reduceSum', axes: axes.flatMap((i, k) => (op.contract[0].includes(i) ? [k] : [])) }, [
    emit({ prim: 'mul' }, [x, y]),
  ]);
  const left = axes.filter((i) => op.batch[0].includes(i));
  const perm = op.batch[0].map((i) => left.indexOf(i));
  const moved = perm.every((p, i) => p === i) ? sum : emit({ prim: 'transpose', perm }, [sum]);
  emit({ prim: 'reshape', shape: shapeOf(out) }, [moved], out);
  return true;
};
