/**
 * A reshard as one rank does it: a collective and views around it, or, from whole to a part, no word to anybody.
 *
 *   flat -> R   all-gather [m] -> [F m], a slice without the padding          P -> flat   reduce-scatter [F m] -> [m], as bf16 if a plan says so
 *   S -> R      all-gather, parts put side by side                            R -> S, R -> flat   the own part, by the number of the rank
 *   P -> R      all-reduce; so max -> R and min -> R                          R -> P      the tensor on rank 0, zeros on the others
 *
 * Pieces of flat tensors are contiguous and nothing is copied around the collective, but for a gradient whose elements do not divide evenly.
 */
import type { Builder } from '../graph/builder.ts';
import { countOf, sizesOf } from '../graph/tensor64.ts';
import type { DType, GroupName, Node, Placement, Reduction, Split, TensorType, Transfer, Value } from '../graph/types.ts';
import { isSplit, type Mesh, partsOf, pieceOf } from './placement.ts';

export interface Rank {
  readonly b: Builder;
  readonly mesh: Mesh;
  /** i32 scalars: the number of this rank, its place in its group, and the number of the group. Made when asked for. */
  readonly rank: () => Value;
  readonly place: () => Value;
  readonly group: () => Value;
  /** The type in which the gradients of a unit are reduced. */
  readonly reduceAs: (unit: string) => DType;
}

const sizeOf = ({ ranks, shard }: Mesh, group: GroupName): number =>
  group === 'world' ? ranks : group === 'shard' ? shard : ranks / shard;

const collective = (r: Rank, x: Value, t: Omit<Transfer, 'ranks'>): Value => {
  const ranks = sizeOf(r.mesh, t.group);
  if (ranks > 1) return r.b.one({ prim: 'collective', ...t, ranks }, [x]);
  if (t.kind === 'all-reduce') return x;
  return r.b.reshape(x, t.kind === 'all-gather' ? [1, ...x.type.shape] : x.type.shape.slice(1));
};
const gathered = (r: Rank, x: Value, group: GroupName, unit: string): Value =>
  collective(r, x, { kind: 'all-gather', group, reduction: 'sum', unit });
const reduced = (r: Rank, x: Value, group: GroupName, reduction: Reduction, unit: string): Value =>
  collective(r, x, { kind: 'all-reduce', group, reduction, unit });

/** A scalar as a larger tensor: no rank needs another one for its part of it. */
export const isStretched = (maker: Node | undefined): boolean =>
  maker?.op.prim === 'broadcast' && (maker.inputs[0]?.type.shape.length ?? 1) === 0;

/** x[index] along an axis of which the result has nothing left. */
const entry = (b: Builder, x: Value, index: Value, axis: number): Value => b.gather(x, index, axis);

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
/** x[start:limit] along an axis. */
const span = (b: Builder, x: Value, axis: number, start: number, limit: number): Value => {
  const sizes = sizesOf(x.type);
  if (start === 0 && limit === sizes[axis]) return x;
  return b.slice(
    x,
    sizes.map((_, i) => (i === axis ? start : 0)),
    sizes.map((d, i) => (i === axis ? limit : d)),
  );
};
const joined = (b: Builder, xs: readonly Value[], axis: number): Value => (xs.length === 1 ? (xs[0] as Value) : b.concat(xs, axis));

/** The pieces of all ranks, [F m], of a whole tensor. */
export const pieces = (r: Rank, x: Value): Value => {
  const [n, m] = [countOf(x.type), pieceOf(x.type, r.mesh)];
  const all = r.mesh.shard * m;
  const flat = r.b.reshape(x, [n]);
  return r.b.reshape(n === all ? flat : r.b.pad(flat, [0], [all - n]), [r.mesh.shard, m]);
};

const toSplit = (r: Rank, x: Value, p: Split): Value => {
  const { b, mesh } = r;
  const sizes = sizesOf(x.type);
  const axis = p.split;
  const maker = b.maker(x);
  if (isStretched(maker))
    return b.broadcast(
      maker?.inputs[0] as Value,
      sizes.map((d, i) => (i === axis ? d / mesh.ranks : d)),
      [],
    );
  let from = 0;
  const own = partsOf(x.type, p).map((n) => {
    const part = span(b, x, axis, from, from + n);
    from += n;
    return entry(b, b.reshape(part, [...sizes.slice(0, axis), mesh.ranks, n / mesh.ranks, ...sizes.slice(axis + 1)]), r.rank(), axis);
  });
  return joined(b, own, axis);
};

const fromSplit = (r: Rank, x: Value, whole: TensorType, p: Split, unit: string): Value => {
  const { b, mesh } = r;
  const all = gathered(r, x, 'world', unit);
  const sizes = sizesOf(x.type);
  const axis = p.split;
  let from = 0;
  const parts = partsOf(whole, p).map((n) => {
    const own = n / mesh.ranks;
    // [ranks, before.., own, after..] -> [before.., ranks, own, after..]
    const part = span(b, all, axis + 1, from, from + own);
    from += own;
    const perm = range(sizes.length + 1);
    perm.splice(axis, 0, ...perm.splice(0, 1));
    return b.reshape(axis === 0 ? part : b.transpose(part, perm), [...sizes.slice(0, axis), n, ...sizes.slice(axis + 1)]);
  });
  return joined(b, parts, axis);
};

/** x, of which the whole is of type `whole`, moved from one placement to another. */
export const moved = (r: Rank, x: Value, whole: TensorType, from: Placement, to: Placement, unit: string): Value => {
  const { b, mesh } = r;
  const never = (): never => {
    throw new Error(`internal: no way from ${JSON.stringify(from)} to ${JSON.stringify(to)}`);
  };
  if (from === 'R') {
    if (isSplit(to)) return toSplit(r, x, to);
    if (to === 'P') {
      const first = b.compare('eq', r.rank(), b.constant(0, 'i32'));
      return b.select(whole.shape.length === 0 ? first : b.broadcast(first, whole.shape, []), x, b.fill(0, whole));
    }
    if (to !== 'flat') return never();
    const maker = b.maker(x);
    if (isStretched(maker)) return b.broadcast(maker?.inputs[0] as Value, [pieceOf(whole, mesh)], []);
    return entry(b, pieces(r, x), r.place(), 0);
  }
  // a gradient is narrower on the way, in all groups; who carries adds up in float32. A loss is of no unit, a norm is a scalar
  const as = unit !== '' && whole.shape.length > 0 && x.type.dtype === 'f32' && mesh.ranks > 1 ? r.reduceAs(unit) : x.type.dtype;
  if (from === 'P' && to === 'flat') {
    const mine = collective(r, pieces(r, b.cast(x, as)), { kind: 'reduce-scatter', group: 'shard', reduction: 'sum', unit });
    return b.cast(reduced(r, mine, 'replica', 'sum', unit), x.type.dtype);
  }
  if (to !== 'R') return never();
  if (isSplit(from)) return fromSplit(r, x, whole, from, unit);
  if (from === 'P') return b.cast(reduced(r, b.cast(x, as), 'world', 'sum', unit), x.type.dtype);
  if (from !== 'flat') return reduced(r, x, 'world', from, unit);
  const n = countOf(whole);
  const all = gathered(r, x, 'shard', unit);
  return b.reshape(span(b, b.reshape(all, [countOf(all.type)]), 0, 0, n), whole.shape);
};
