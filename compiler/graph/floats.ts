/**
 * Conversions between floating types, whole arrays at a time. f16 and bf16 are their 16-bit patterns; rounding is to nearest, ties to
 * even, with subnormals, infinities and NaN kept. They work on bits, at about a nanosecond an element, because a checkpoint has 10^9.
 *
 *   fromF32(Float32Array.of(1, 65520), 'f16')   // Uint16Array [0x3c00, 0x7c00]
 */
export type Float = 'f32' | 'f16' | 'bf16';

const words = (x: Float32Array): Uint32Array => new Uint32Array(x.buffer, x.byteOffset, x.length);

/** Bits of f32 to bits of bf16. NaN stays NaN: its lower half, which is cut off, may be all that made it one. */
const toBf16 = (b: number): number => ((b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);

/** Bits of f32 to bits of f16. */
const toF16 = (b: number): number => {
  const sign = (b >>> 16) & 0x8000;
  const a = b & 0x7fffffff;
  if (a > 0x7f800000) return sign | 0x7e00 | ((a >>> 13) & 0x1ff);
  if (a >= 0x47800000) return sign | 0x7c00; // 65536 and above
  // from 2^-14 on, normal; a carry out of the mantissa raises the exponent, up to infinity
  if (a >= 0x38800000) return sign | ((a + 0xfff + ((a >>> 13) & 1) - 0x38000000) >>> 13);
  if (a < 0x33000000) return sign; // below half of the smallest
  const shift = 126 - (a >>> 23);
  const mantissa = (a & 0x7fffff) | 0x800000;
  const q = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (rest > half || (rest === half && (q & 1) === 1) ? q + 1 : q);
};

const f16Value = (h: number): number => {
  const sign = h & 0x8000 ? -1 : 1;
  const e = (h >>> 10) & 31;
  const m = h & 0x3ff;
  if (e === 31) return m === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (e === 0 ? m * 2 ** -24 : (1024 + m) * 2 ** (e - 25));
};
let f16Table: Float32Array | undefined;

/** 16-bit floats as f32, exactly. */
export const toF32 = (x: Uint16Array, from: 'f16' | 'bf16'): Float32Array => {
  const out = new Float32Array(x.length);
  if (from === 'bf16') {
    const bits = words(out);
    for (let i = 0; i < x.length; i++) bits[i] = (x[i] as number) << 16;
    return out;
  }
  f16Table ??= Float32Array.from({ length: 65536 }, (_, h) => f16Value(h));
  const table = f16Table;
  for (let i = 0; i < x.length; i++) out[i] = table[x[i] as number] as number;
  return out;
};

/** The array itself for f32. */
export const fromF32 = (x: Float32Array, to: Float): Float32Array | Uint16Array => {
  if (to === 'f32') return x;
  const out = new Uint16Array(x.length);
  const bits = words(x);
  if (to === 'bf16') for (let i = 0; i < x.length; i++) out[i] = toBf16(bits[i] as number);
  else for (let i = 0; i < x.length; i++) out[i] = toF16(bits[i] as number);
  return out;
};

/** Doubles are rounded once: on the way to 16 bits f32 is rounded to odd, which keeps what the second rounding must know. */
export const fromF64 = (x: Float64Array, to: Float): Float32Array | Uint16Array => {
  const near = Float32Array.from(x);
  if (to === 'f32') return near;
  const bits = words(near);
  for (let i = 0; i < x.length; i++) {
    const [v, f] = [x[i] as number, near[i] as number];
    if (f === v || Number.isNaN(v)) continue;
    const cut = (bits[i] as number) - (Math.abs(f) > Math.abs(v) ? 1 : 0);
    bits[i] = cut | 1;
  }
  return fromF32(near, to);
};

/** Index of the first infinity or NaN, or -1. */
export const nonFinite = (x: Float32Array | Uint16Array, dtype: Float): number => {
  const bits = x instanceof Float32Array ? words(x) : x;
  const exponent = dtype === 'f32' ? 0x7f800000 : dtype === 'bf16' ? 0x7f80 : 0x7c00;
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & exponent) === exponent) return i;
  return -1;
};
