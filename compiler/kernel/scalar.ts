/**
 * What one lane of each operation computes, in JavaScript numbers: the meaning of K's arithmetic. The interpreter runs
 * it and the constructors fold constants with it, so folding can never change a result.
 *
 * f32 results are rounded once per operation (Math.fround of the double result; for + - * / sqrt that is the correctly
 * rounded f32 result). i32 and u32 wrap. index is an integer below 2^53. bool is 0 or 1. Integer division by zero and
 * negative index operands are undefined: folding gives up, the interpreter reports them.
 *
 *   foldBinary('add', 4294967295, 2, 'u32')  ->  1
 */
import { binaryFns, compareFns, unaryFns } from '../graph/interpret-pointwise.ts';
import { type Compare, type DType, type HostData, hostArrays } from '../graph/types.ts';
import type { KBinary, KType, KUnary } from './types.ts';

const words = new DataView(new ArrayBuffer(8));
const f32Bits = (x: number): number => {
  words.setFloat32(0, x);
  return words.getUint32(0);
};

/** Rounds to the nearest bf16 (ties to even), from f32; NaN stays NaN. */
export const toBf16 = (x: number): number => {
  const b = f32Bits(x);
  if (Number.isNaN(x)) return x;
  words.setUint32(0, ((b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000) >>> 0);
  return words.getFloat32(0);
};

/** Rounds to the nearest f16 (ties to even); above 65519.99 to infinity, subnormals kept. */
export const toF16 = (x: number): number => {
  const a = Math.abs(x);
  if (!(a < Number.POSITIVE_INFINITY) || a === 0) return x;
  if (a >= 65520) return x < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  const exponent = Math.max(Math.floor(Math.log2(a)), -14);
  // the quantum of the binade: 2^(e-10); adding and dividing by powers of two is exact in doubles
  const q = 2 ** (exponent - 10);
  const n = a / q;
  const f = Math.floor(n);
  const d = n - f;
  const r = (d > 0.5 || (d === 0.5 && f % 2 === 1) ? f + 1 : f) * q;
  return x < 0 ? -r : r;
};

/** bits of a f16 or bf16 value that is already representable, and back */
export const bitsOf = (x: number, dtype: 'f16' | 'bf16'): number => {
  if (dtype === 'bf16') return Number.isNaN(x) ? 0x7fc0 : f32Bits(x) >>> 16;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(x);
  if (Number.isNaN(x)) return 0x7e00;
  if (a === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  if (a < 2 ** -14) return sign | Math.round(a * 2 ** 24);
  const e = Math.floor(Math.log2(a));
  return sign | ((e + 15) << 10) | Math.round((a / 2 ** e - 1) * 1024);
};
export const numberOf = (bits: number, dtype: 'f16' | 'bf16'): number => {
  if (dtype === 'bf16') {
    words.setUint32(0, (bits << 16) >>> 0);
    return words.getFloat32(0);
  }
  const sign = bits & 0x8000 ? -1 : 1;
  const [e, m] = [(bits >> 10) & 31, bits & 1023];
  if (e === 31) return m ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (e === 0 ? m * 2 ** -24 : (1024 + m) * 2 ** (e - 25));
};

/** The value rounded into a dtype; from 'f64' for a constant that has no dtype yet. */
export const foldCast = (x: number, from: KType | 'f64', to: KType): number => {
  switch (to) {
    case 'f32':
      return Math.fround(x);
    case 'bf16':
      return toBf16(Math.fround(x));
    case 'f16':
      return toF16(from === 'f64' ? Math.fround(x) : x);
    case 'i32':
      return Math.trunc(x) | 0;
    case 'u32':
      return Math.trunc(x) >>> 0;
    case 'bool':
      return x !== 0 ? 1 : 0;
    case 'index':
      return Math.trunc(x);
  }
};

export const foldUnary = (op: KUnary, x: number, dtype: KType): number =>
  op === 'not' && dtype === 'bool' ? 1 - x : dtype === 'u32' && op === 'abs' ? x : foldCast(unaryFns[op](x), 'f64', dtype);

/** undefined: the operation has no meaning on these operands. */
export const foldBinary = (op: KBinary, x: number, y: number, dtype: KType): number | undefined => {
  if (dtype !== 'f32' && (op === 'div' || op === 'rem')) {
    if (y === 0 || (dtype === 'index' && (x < 0 || y < 0))) return undefined;
    // + 0: the remainder of a negative number may be -0
    return foldCast(op === 'div' ? Math.trunc(x / y) : (x % y) + 0, 'f64', dtype);
  }
  // 32-bit products wrap; those of f32 and of addresses are products of numbers
  const f = op === 'mul' && dtype !== 'f32' && dtype !== 'index' ? Math.imul : binaryFns[op];
  return foldCast(f(x, y), 'f64', dtype);
};

export const foldCompare = (cmp: Compare, x: number, y: number): number => (compareFns[cmp](x, y) ? 1 : 0);

/** x * y + z of f32 values with one rounding, as far as the double sum is exact. */
export const foldFma = (x: number, y: number, z: number): number => Math.fround(x * y + z);

/** z + x1 y1 + x0 y0: an fma for each product of bf16 numbers, the odd one of the pair first. */
export const foldDot2 = (x0: number, x1: number, y0: number, y1: number, z: number): number => foldFma(x0, y0, foldFma(x1, y1, z));

/** The bits of a 32-bit value read as another 32-bit dtype. */
export const foldBitcast = (x: number, from: KType, to: KType): number => {
  if (from === 'f32') words.setFloat32(0, x);
  else words.setUint32(0, x >>> 0);
  return to === 'f32' ? words.getFloat32(0) : to === 'i32' ? words.getInt32(0) : words.getUint32(0);
};

/** Numbers as a backend holds them: f16 and bf16 as bits, bool as bytes, the rest rounded into their dtype. */
export const hostData = (dtype: DType, data: ArrayLike<number>): HostData => {
  const out: HostData = new hostArrays[dtype](data.length);
  const half = dtype === 'f16' || dtype === 'bf16';
  for (let i = 0; i < data.length; i++) {
    const x = foldCast(data[i] as number, 'f64', dtype);
    out[i] = half ? bitsOf(x, dtype) : x;
  }
  return out;
};
