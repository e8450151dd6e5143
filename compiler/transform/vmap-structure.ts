/**
 * Batching rules of structure, contraction, reduction and random bits: axes move up by one. Gather and scatterAdd with an index list for
 * each example run on one list of size * rows rows; what lies outside an example's own rows is sent outside the whole.
 */
import { type Dim, mulDim } from '../graph/dim.ts';
import type { Op, Prim, Value } from '../graph/types.ts';
import { all, type Batched, type BatchRule, type BatchSite, repeated } from './batched.ts';

const up = (axes: readonly number[]): number[] => axes.map((a) => a + 1);

/** x with the axis at `from` moved to `to`. */
const moved = (s: BatchSite<Prim>, x: Value, from: number, to: number): Value => {
  if (from === to) return x;
  const perm = x.type.shape.map((_, i) => i).filter((i) => i !== from);
  perm.splice(to, 0, from);
  return s.b.transpose(x, perm);
};

/** Operand i for every example. */
const each = (s: BatchSite<Prim>, i: number): Value => repeated(s.b, s.x[i] as Value, s.batched[i] as boolean, s.size);

/** Indices [size, ...] of one example's `rows` rows as indices of all examples' rows; an index out of range stays out of range. */
const offset = (s: BatchSite<Prim>, index: Value, rows: Dim): Value => {
  const { b } = s;
  const own = b.broadcast(b.one({ prim: 'iota', shape: [s.size], axis: 0, dtype: 'i32' }, []), index.type.shape, [0]);
  const like = (v: Dim): Value => b.fill(v, index.type);
  const inside = b.one({ prim: 'and' }, [b.compare('ge', index, like(0)), b.compare('lt', index, like(rows))]);
  return b.select(inside, b.add(index, b.mul(own, like(rows))), like(-1));
};

/** x [size, ..., rows, ...] as [size * rows, the rest]. */
const flat = (s: BatchSite<Prim>, x: Value, axis: number): Value => {
  const front = moved(s, x, axis + 1, 1);
  const [n, rows, ...rest] = front.type.shape as [Dim, Dim, ...Dim[]];
  return s.b.reshape(front, [mulDim(n, rows), ...rest]);
};

const gather: BatchRule<'gather'> = (s) => {
  const { b, op, x } = s;
  const [from, index] = x as [Value, Value];
  if (!s.batched[1]) return all([b.gather(from, index, op.axis + 1)]);
  if (!s.batched[0]) return all([moved(s, b.gather(from, index, op.axis), op.axis, 0)]);
  const rows = from.type.shape[op.axis + 1] as Dim;
  // [size, indices..., the other axes of an example] with the indices back in their place
  let y = b.gather(flat(s, from, op.axis), offset(s, index, rows), 0);
  const places = index.type.shape.length - 1;
  for (let i = 0; i < op.axis; i++) y = moved(s, y, 1 + places + i, 1 + i);
  return all([y]);
};

const scatterAdd: BatchRule<'scatterAdd'> = (s) => {
  const { b, op } = s;
  const [into, updates] = [each(s, 0), each(s, 2)];
  if (!s.batched[1]) return all([b.scatterAdd(into, s.x[1] as Value, updates, op.axis + 1)]);
  const index = s.x[1] as Value;
  const rows = into.type.shape[op.axis + 1] as Dim;
  const places = index.type.shape.length - 1;
  // updates [size, before..., indices..., after...] -> [size, indices..., before..., after...]
  let u = updates;
  for (let i = 0; i < places; i++) u = moved(s, u, 1 + op.axis + i, 1 + i);
  const base = flat(s, into, op.axis);
  const y = b.scatterAdd(base, offset(s, index, rows), u, 0);
  return all([moved(s, b.reshape(y, [s.size, rows, ...base.type.shape.slice(1)]), 1, op.axis + 1)]);
};

const dot: BatchRule<'dot'> = (s) => {
  const { b, op, batched } = s;
  const [x, y] = s.x as [Value, Value];
  const [left, right] = [batched[0] as boolean, batched[1] as boolean];
  const [xs, ys] = [left ? up : (a: readonly number[]) => [...a], right ? up : (a: readonly number[]) => [...a]];
  const contract = [xs(op.contract[0]), ys(op.contract[1])] as const;
  const [bx, by] = [xs(op.batch[0]), ys(op.batch[1])];
  const both = left && right;
  const r = b.one(
    {
      ...op,
      contract,
      batch: both
        ? [
            [0, ...bx],
            [0, ...by],
          ]
        : [bx, by],
    },
    [x, y],
  );
  // of one operand alone the batch is a free axis: the first of that operand's
  const free = left ? 0 : x.type.shape.length - bx.length - contract[0].length;
  return all([both ? r : moved(s, r, bx.length + free, 0)]);
};

/** Axes that the primitive names move up. */
const along = ({ b, op, x }: BatchSite<'reverse' | 'reduceSum' | 'reduceMax' | 'reduceMin'>): Batched =>
  all(b.emit({ ...op, axes: up(op.axes) } as Op, x));

export const structure = {
  broadcast: ({ b, op, x: [x], size }) => all([b.broadcast(x as Value, [size, ...op.shape], [0, ...up(op.axes)])]),
  reshape: ({ b, op, x: [x], size }) => all([b.reshape(x as Value, [size, ...op.shape])]),
  transpose: ({ b, op, x: [x] }) => all([b.transpose(x as Value, [0, ...up(op.perm)])]),
  slice: ({ b, op, x: [x], size }) => all([b.slice(x as Value, [0, ...op.start], [size, ...op.limit])]),
  pad: ({ b, op, x: [x] }) => all([b.pad(x as Value, [0, ...op.low], [0, ...op.high], op.value)]),
  concat: (s) =>
    all([
      s.b.concat(
        s.x.map((_, i) => each(s, i)),
        s.op.axis + 1,
      ),
    ]),
  reverse: along,
  gather,
  scatterAdd,
  dot,
  reduceSum: along,
  reduceMax: along,
  reduceMin: along,
  argmax: ({ b, op, x }) => all(b.emit({ ...op, axis: op.axis + 1 }, x)),
  cumsum: ({ b, op, x }) => all(b.emit({ ...op, axis: op.axis + 1 }, x)),
  reshard: ({ b, op, x }) => {
    const shifted = (p: typeof op.from): typeof op.from => (typeof p === 'object' ? { split: p.split + 1 } : p);
    return all(b.emit({ ...op, from: shifted(op.from), to: shifted(op.to) }, x));
  },
} satisfies { readonly [P in Prim]?: BatchRule<P> };
