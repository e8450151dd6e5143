/**
 * Interpreter rows of the primitives that move or combine whole axes. Index maps (broadcast, transpose, slice, pad,
 * reverse, concat) are one strided copy each; gather, scatterAdd, reductions, argmax and cumsum see the operand as
 * [outer, axis, inner].
 *
 * Decisions that other backends follow: a reduction over nothing gives the identity (0, -inf or the smallest integer,
 * +inf or the largest); reduceMax and reduceMin give NaN where an element is NaN; argmax gives the first maximum, the
 * first NaN where there is one, and 0 for an empty axis; gather out of range (also below 0) reads 0, scatterAdd drops.
 */

import { known } from './dim.ts';
import { alloc, type Data64, sizesOf, stridedCopy, stridesOf, type Tensor64 } from './tensor64.ts';
import { type DType, isFloat, type OpOf, type TensorType } from './types.ts';

const product = (xs: readonly number[]): number => xs.reduce((a, b) => a * b, 1);
/** The copy of an index map; nothing to do where the result is empty. */
const mapped = (type: TensorType, x: Tensor64, sizes: readonly number[], offset: number, strides: readonly number[]): Data64 => {
  const out = alloc(type.dtype, product(sizes));
  if (out.length > 0) stridedCopy(sizes, out, 0, stridesOf(sizes), x.data, offset, strides);
  return out;
};

export const broadcast = (op: OpOf<'broadcast'>, x: Tensor64, type: TensorType): Data64 => {
  const from = sizesOf(x.type);
  const to = sizesOf(type);
  const own = stridesOf(from);
  const strides = to.map(() => 0);
  op.axes.forEach((axis, i) => {
    if (from[i] === to[axis]) strides[axis] = own[i] as number;
  });
  return mapped(type, x, to, 0, strides);
};

export const transpose = (op: OpOf<'transpose'>, x: Tensor64, type: TensorType): Data64 => {
  const own = stridesOf(sizesOf(x.type));
  return mapped(
    type,
    x,
    sizesOf(type),
    0,
    op.perm.map((p) => own[p] as number),
  );
};

export const slice = (op: OpOf<'slice'>, x: Tensor64, type: TensorType): Data64 => {
  const own = stridesOf(sizesOf(x.type));
  return mapped(
    type,
    x,
    sizesOf(type),
    own.reduce((acc, s, i) => acc + s * known(op.start[i] ?? 0), 0),
    own,
  );
};

export const reverse = (op: OpOf<'reverse'>, x: Tensor64, type: TensorType): Data64 => {
  const sizes = sizesOf(x.type);
  const own = stridesOf(sizes);
  const offset = op.axes.reduce((acc, a) => acc + (own[a] as number) * ((sizes[a] as number) - 1), 0);
  return mapped(
    type,
    x,
    sizes,
    offset,
    own.map((s, i) => (op.axes.includes(i) ? -s : s)),
  );
};

export const pad = (op: OpOf<'pad'>, x: Tensor64, type: TensorType): Data64 => {
  const [from, to] = [sizesOf(x.type), sizesOf(type)];
  const out = alloc(type.dtype, product(to)).fill(op.value);
  const own = stridesOf(to);
  const offset = own.reduce((acc, s, i) => acc + s * known(op.low[i] ?? 0), 0);
  if (x.data.length > 0) stridedCopy(from, out, offset, own, x.data, 0, stridesOf(from));
  return out;
};

export const concat = (op: OpOf<'concat'>, xs: readonly Tensor64[], type: TensorType): Data64 => {
  const to = sizesOf(type);
  const own = stridesOf(to);
  const out = alloc(type.dtype, product(to));
  let at = 0;
  for (const x of xs) {
    const from = sizesOf(x.type);
    if (x.data.length > 0) stridedCopy(from, out, at * (own[op.axis] as number), own, x.data, 0, stridesOf(from));
    at += from[op.axis] as number;
  }
  return out;
};

export const iota = (op: OpOf<'iota'>, type: TensorType): Data64 => {
  const sizes = sizesOf(type);
  const n = sizes[op.axis] as number;
  const ramp = { type: { dtype: type.dtype, shape: [n] }, data: alloc(type.dtype, n).map((_, i) => i) as Data64 };
  return broadcast({ prim: 'broadcast', shape: sizes, axes: [op.axis] }, ramp, type);
};

/** Sizes of a shape seen from one axis: elements before, along, after. */
const around = (sizes: readonly number[], axis: number): [number, number, number] => [
  product(sizes.slice(0, axis)),
  sizes[axis] as number,
  product(sizes.slice(axis + 1)),
];

export const gather = (op: OpOf<'gather'>, x: Tensor64, index: Tensor64, type: TensorType): Data64 => {
  const [outer, n, inner] = around(sizesOf(x.type), op.axis);
  const m = index.data.length;
  const out = alloc(type.dtype, outer * m * inner);
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < m; j++) {
      const i = index.data[j] as number;
      if (i < 0 || i >= n) continue;
      const from = (o * n + i) * inner;
      out.set(x.data.subarray(from, from + inner), (o * m + j) * inner);
    }
  return out;
};

export const scatterAdd = (op: OpOf<'scatterAdd'>, x: Tensor64, index: Tensor64, updates: Tensor64): Data64 => {
  const [outer, n, inner] = around(sizesOf(x.type), op.axis);
  const m = index.data.length;
  const out = x.data.slice();
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < m; j++) {
      const i = index.data[j] as number;
      if (i < 0 || i >= n) continue;
      const [to, from] = [(o * n + i) * inner, (o * m + j) * inner];
      for (let k = 0; k < inner; k++) out[to + k] = (out[to + k] as number) + (updates.data[from + k] as number);
    }
  return out;
};

export type Reduction = 'reduceSum' | 'reduceMax' | 'reduceMin';
/** Two numbers to one, as reductions and collectives do it; NaN on either side is the result. */
export const combine = { sum: (a: number, x: number): number => a + x, max: Math.max, min: Math.min } as const;
const steps: { readonly [P in Reduction]: (acc: number, x: number) => number } = {
  reduceSum: combine.sum,
  reduceMax: combine.max,
  reduceMin: combine.min,
};

/** What a reduction over no elements gives. */
export const identityOf = (prim: Reduction, dtype: DType): number => {
  if (prim === 'reduceSum') return 0;
  if (isFloat(dtype)) return prim === 'reduceMax' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (prim === 'reduceMax') return dtype === 'i32' ? -0x80000000 : 0;
  return dtype === 'i32' ? 0x7fffffff : 0xffffffff;
};

export const reduce = (op: OpOf<Reduction>, x: Tensor64, type: TensorType): Data64 => {
  const sizes = sizesOf(x.type);
  const kept = sizes.map((_, i) => i).filter((i) => !op.axes.includes(i));
  const perm = [...kept, ...op.axes];
  const front = { dtype: type.dtype, shape: perm.map((p) => sizes[p] as number) };
  // rows to be reduced become contiguous; the order within a row is the order of the axes as given
  const rows = perm.every((p, i) => p === i) ? x.data : transpose({ prim: 'transpose', perm }, x, front);
  const out = alloc(type.dtype, product(sizesOf(type)));
  const n = product(op.axes.map((a) => sizes[a] as number));
  const step = steps[op.prim];
  // integers wrap at every step: storing into `cell` does it, so that a long sum never leaves the exact range of float64
  const cell = alloc(type.dtype, 1);
  for (let o = 0; o < out.length; o++) {
    cell[0] = identityOf(op.prim, type.dtype);
    for (let i = 0; i < n; i++) cell[0] = step(cell[0] as number, rows[o * n + i] as number);
    out[o] = cell[0] as number;
  }
  return out;
};

export const argmax = (op: OpOf<'argmax'>, x: Tensor64, type: TensorType): Data64 => {
  const [outer, n, inner] = around(sizesOf(x.type), op.axis);
  const out = alloc(type.dtype, outer * inner);
  for (let o = 0; o < outer; o++)
    for (let k = 0; k < inner; k++) {
      const at = (i: number): number => x.data[(o * n + i) * inner + k] as number;
      let best = 0;
      for (let i = 1; i < n && !Number.isNaN(at(best)); i++) if (at(i) > at(best) || Number.isNaN(at(i))) best = i;
      out[o * inner + k] = best;
    }
  return out;
};

export const cumsum = (op: OpOf<'cumsum'>, x: Tensor64): Data64 => {
  const [outer, n, inner] = around(sizesOf(x.type), op.axis);
  const out = x.data.slice();
  for (let o = 0; o < outer; o++)
    for (let i = 1; i < n; i++)
      for (let k = 0; k < inner; k++) {
        const at = (o * n + i) * inner + k;
        out[at] = (out[at] as number) + (out[at - inner] as number);
      }
  return out;
};
