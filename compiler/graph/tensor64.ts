/**
 * Values of the interpreter: row-major arrays, float64 for every float dtype, exact words for integers, 0 and 1 for bool.
 * Plus the strided copy on which broadcast, transpose, slice, pad and reverse rest: each of them is an index map.
 *
 *   tensor64({ dtype: 'bool', shape: [2] }, [3, 0])  ->  { type, data: Uint8Array [1, 0] }
 */
import { known } from './dim.ts';
import { type DType, isFloat, type TensorType } from './types.ts';

export type Data64 = Float64Array | Int32Array | Uint32Array | Uint8Array;

export interface Tensor64 {
  readonly type: TensorType;
  readonly data: Data64;
}

/** Sizes of a bound type; throws a plain Error where a name remains. */
export const sizesOf = (t: TensorType): number[] => t.shape.map(known);
export const countOf = (t: TensorType): number => sizesOf(t).reduce((a, b) => a * b, 1);

/** Whether a bound type has no elements. */
export const isEmpty = (t: TensorType): boolean => t.shape.includes(0);

export const stridesOf = (sizes: readonly number[]): number[] => {
  const s = new Array<number>(sizes.length).fill(1);
  for (let i = sizes.length - 2; i >= 0; i--) s[i] = (s[i + 1] as number) * (sizes[i + 1] as number);
  return s;
};

/** n zeros of the storage of `dtype`. */
export const alloc = (dtype: DType, n: number): Data64 =>
  isFloat(dtype) ? new Float64Array(n) : dtype === 'i32' ? new Int32Array(n) : dtype === 'u32' ? new Uint32Array(n) : new Uint8Array(n);

/**
 * One number as `dtype` stores it. Float to float is the identity (no rounding). Float to integer truncates and saturates,
 * NaN becomes 0. Integer to integer wraps. Anything to bool is `x != 0`, so NaN is true.
 */
export const castNumber = (x: number, from: DType, to: DType): number => {
  if (isFloat(to)) return x;
  if (to === 'bool') return x !== 0 ? 1 : 0;
  if (!isFloat(from)) return to === 'i32' ? x | 0 : x >>> 0;
  const [lo, hi] = to === 'i32' ? [-0x80000000, 0x7fffffff] : [0, 0xffffffff];
  return Number.isNaN(x) ? 0 : Math.trunc(Math.min(hi, Math.max(lo, x)));
};

/** A tensor of `type` holding `values`: floats as they are, integers wrapped to 32 bits, bool 1 where not 0. */
export const tensor64 = (type: TensorType, values: ArrayLike<number>): Tensor64 => {
  const data = alloc(type.dtype, countOf(type));
  if (values.length !== data.length) throw new Error(`internal: ${values.length} numbers for ${data.length} elements`);
  for (let i = 0; i < data.length; i++) data[i] = type.dtype === 'bool' ? Number(values[i] !== 0) : (values[i] as number);
  return { type, data };
};

/**
 * out[outOffset + i . outStrides] = src[srcOffset + i . srcStrides] for all index vectors i within `sizes`. A stride may
 * be 0 or negative.
 */
export const stridedCopy = (
  sizes: readonly number[],
  out: Data64,
  outOffset: number,
  outStrides: readonly number[],
  src: Data64,
  srcOffset: number,
  srcStrides: readonly number[],
): void => {
  const last = sizes.length - 1;
  if (last < 0) {
    out[outOffset] = src[srcOffset] as number;
    return;
  }
  const [n, os, ss] = [sizes[last] as number, outStrides[last] as number, srcStrides[last] as number];
  const walk = (axis: number, o: number, s: number): void => {
    if (axis === last) {
      for (let i = 0; i < n; i++, o += os, s += ss) out[o] = src[s] as number;
      return;
    }
    for (let i = 0; i < (sizes[axis] as number); i++, o += outStrides[axis] as number, s += srcStrides[axis] as number)
      walk(axis + 1, o, s);
  };
  walk(0, outOffset, srcOffset);
};
