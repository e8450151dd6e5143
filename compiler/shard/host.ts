/**
 * Whole tensors to the ranks' parts of them and back, on the host: what localise.ts does inside of a program.
 *
 *   [0 1 2 3 4] on 2 ranks   flat: [0 1 2] and [3 4 0]        S0[2 2] of [0 1 2 3]: [0 2] and [1 3]
 */
import { sizesOf, stridesOf } from '../graph/tensor64.ts';
import type { HostData, Placement, TensorType } from '../graph/types.ts';
import { isSplit, type Mesh, partsOf, pieceOf } from './placement.ts';

type Numbers = HostData;
type Make<D> = { new (length: number): D };
const like = <D extends Numbers>(x: D, n: number): D => new (x.constructor as Make<D>)(n);

/** For each element that a rank holds of a split tensor, in order, its number in the whole tensor. */
const indices = (t: TensorType, p: Placement & object, rank: number, { ranks }: Mesh): Int32Array => {
  const sizes = sizesOf(t);
  const size = sizes[p.split] as number;
  const inner = stridesOf(sizes)[p.split] as number;
  const outer = sizes.slice(0, p.split).reduce((a, b) => a * b, 1);
  const own: number[] = [];
  let from = 0;
  for (const n of partsOf(t, p)) {
    for (let i = 0; i < n / ranks; i++) own.push(from + (rank * n) / ranks + i);
    from += n;
  }
  const out = new Int32Array(outer * own.length * inner);
  let k = 0;
  for (let o = 0; o < outer; o++) for (const i of own) for (let j = 0; j < inner; j++) out[k++] = (o * size + i) * inner + j;
  return out;
};

/** What rank `rank` holds of a whole tensor. P is not a way to hand something out. */
export const partOf = <D extends Numbers>(x: D, t: TensorType, p: Placement, rank: number, mesh: Mesh): D => {
  if (p === 'flat') {
    const m = pieceOf(t, mesh);
    const out = like(x, m);
    const from = (rank % mesh.shard) * m;
    out.set(x.subarray(from, Math.min(from + m, x.length)) as never);
    return out;
  }
  if (!isSplit(p)) return x;
  const at = indices(t, p, rank, mesh);
  const out = like(x, at.length);
  at.forEach((i, k) => {
    out[k] = x[i] as number;
  });
  return out;
};

/** The whole of the ranks' parts; of a tensor that is whole on every rank the first. */
export const wholeOf = <D extends Numbers>(parts: readonly D[], t: TensorType, p: Placement, mesh: Mesh): D => {
  const [first] = parts as readonly [D];
  const n = sizesOf(t).reduce((a, b) => a * b, 1);
  if (p === 'flat') {
    const m = pieceOf(t, mesh);
    const out = like(first, n);
    parts.slice(0, mesh.shard).forEach((x, r) => {
      if (r * m < n) out.set(x.subarray(0, Math.min(m, n - r * m)) as never, r * m);
    });
    return out;
  }
  if (!isSplit(p)) return first;
  const out = like(first, n);
  parts.forEach((x, r) => {
    indices(t, p, r, mesh).forEach((i, k) => {
      out[i] = x[k] as number;
    });
  });
  return out;
};
