/**
 * Interpreter row of dot. Both operands are packed to [batch, rows, contraction], which turns every choice of batch and
 * contraction axes into the same three loops; the float loop keeps a 2 x 4 tile of sums in registers, and rows are padded
 * with zeros up to the tile, so there is no remainder code.
 *
 *   dot(f32[2 3 5], f32[5 7]) batch=[][] contract=[2][0]  ->  rows 6, columns 7, depth 5
 *
 * An integer result of integer operands wraps to 32 bits; every other combination accumulates in float64 and is then cast.
 */
import { alloc, castNumber, type Data64, sizesOf, stridedCopy, stridesOf, type Tensor64 } from './tensor64.ts';
import { isFloat, type OpOf, type TensorType } from './types.ts';

const pick = (xs: readonly number[], at: readonly number[]): number[] => at.map((i) => xs[i] as number);
const product = (xs: readonly number[]): number => xs.reduce((a, b) => a * b, 1);

/** Rows of one operand, `rows` rounded up to `tile`, as a contiguous [batch, padded rows, depth] array. */
const pack = (t: Tensor64, batch: readonly number[], contract: readonly number[], tile: number, data: (n: number) => Data64) => {
  const sizes = sizesOf(t.type);
  const strides = stridesOf(sizes);
  const free = sizes.map((_, i) => i).filter((i) => !batch.includes(i) && !contract.includes(i));
  const [nb, rows, depth] = [product(pick(sizes, batch)), product(pick(sizes, free)), product(pick(sizes, contract))];
  const padded = Math.ceil(rows / tile) * tile;
  const out = data(nb * padded * depth);
  const inner = [...free, ...contract];
  const innerSizes = pick(sizes, inner);
  const batchSizes = pick(sizes, batch);
  const offsets = batchOffsets(batchSizes, pick(strides, batch));
  if (product(sizes) > 0)
    offsets.forEach((offset, b) =>
      stridedCopy(innerSizes, out, b * padded * depth, stridesOf(innerSizes), t.data, offset, pick(strides, inner)),
    );
  return { out, nb, rows, padded, depth };
};

const batchOffsets = (sizes: readonly number[], strides: readonly number[]): number[] =>
  sizes.reduce<number[]>((acc, n, axis) => acc.flatMap((o) => Array.from({ length: n }, (_, i) => o + i * (strides[axis] as number))), [0]);

/** c[i, j] = sum over k of a[i, k] b[j, k] for one batch element; m is a multiple of 2, n of 4. */
const tiles = (a: Float64Array, a0: number, m: number, b: Float64Array, b0: number, n: number, depth: number, c: Float64Array): void => {
  for (let i = 0; i < m; i += 2) {
    const r0 = a0 + i * depth;
    const r1 = r0 + depth;
    for (let j = 0; j < n; j += 4) {
      const [q0, q1, q2, q3] = [b0 + j * depth, b0 + (j + 1) * depth, b0 + (j + 2) * depth, b0 + (j + 3) * depth];
      let [s00, s01, s02, s03, s10, s11, s12, s13] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let k = 0; k < depth; k++) {
        const [x0, x1] = [a[r0 + k] as number, a[r1 + k] as number];
        const [y0, y1, y2, y3] = [b[q0 + k] as number, b[q1 + k] as number, b[q2 + k] as number, b[q3 + k] as number];
        s00 += x0 * y0;
        s01 += x0 * y1;
        s02 += x0 * y2;
        s03 += x0 * y3;
        s10 += x1 * y0;
        s11 += x1 * y1;
        s12 += x1 * y2;
        s13 += x1 * y3;
      }
      c.set([s00, s01, s02, s03], i * n + j);
      c.set([s10, s11, s12, s13], (i + 1) * n + j);
    }
  }
};

export const dot = (op: OpOf<'dot'>, x: Tensor64, y: Tensor64, type: TensorType): Data64 => {
  const exact = !isFloat(op.dtype) && !isFloat(x.type.dtype);
  const make = exact ? (n: number) => new Int32Array(n) : (n: number) => new Float64Array(n);
  const a = pack(x, op.batch[0], op.contract[0], 2, make);
  const b = pack(y, op.batch[1], op.contract[1], 4, make);
  const out = alloc(type.dtype, a.nb * a.rows * b.rows);
  for (let batch = 0; batch < a.nb; batch++) {
    const [a0, b0, o0] = [batch * a.padded * a.depth, batch * b.padded * b.depth, batch * a.rows * b.rows];
    if (a.out instanceof Float64Array && b.out instanceof Float64Array) {
      const c = new Float64Array(a.padded * b.padded);
      tiles(a.out, a0, a.padded, b.out, b0, b.padded, a.depth, c);
      for (let i = 0; i < a.rows; i++)
        for (let j = 0; j < b.rows; j++) out[o0 + i * b.rows + j] = castNumber(c[i * b.padded + j] as number, 'f32', type.dtype);
      continue;
    }
    for (let i = 0; i < a.rows; i++)
      for (let j = 0; j < b.rows; j++) {
        let s = 0;
        for (let k = 0; k < a.depth; k++)
          s = (s + Math.imul(a.out[a0 + i * a.depth + k] as number, b.out[b0 + j * a.depth + k] as number)) | 0;
        out[o0 + i * b.rows + j] = castNumber(s, 'i32', type.dtype);
      }
  }
  return out;
};
