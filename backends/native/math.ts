/**
 * Scalar C functions of the prelude, branch-free so that the compiler turns a loop over lanes into vector code. float32
 * unless a name says f64. Largest error in ulp over every 509th float (8.4 million), with FMA; test/cpu/math.test.ts repeats it:
 *
 *   exp 0.95   log 0.78   tanh 1.25   erf 1.88   sin 0.51   cos 0.51   pow 0.51   rsqrt, sqrt, floor, rem correctly rounded
 *
 * Special values follow IEEE 754: NaN in, NaN out, except that pow(x, 0), pow(1, y) and pow(-1, inf) are 1; subnormals are
 * neither read nor written as zero. Argument reductions are Cody and Waite's (1980) and, for sin and cos from 2^20 on,
 * Payne and Hanek's (1983). Coefficients are in compiler/kernel/coefficients.ts.
 */
import { erfcFit, erfFit, expFit, logFit, tanhFit, twoOverPi } from '../../compiler/kernel/coefficients.ts';
import type { CType } from './ctypes.ts';

export interface ScalarFunction {
  readonly args: readonly CType[];
  readonly result: CType;
  /** Other functions of this table that the body calls. */
  readonly uses?: readonly string[];
  readonly body: string;
}

const f = (body: string, uses: readonly string[] = []): ScalarFunction => ({ args: ['f32'], result: 'f32', uses, body });
const pun = (from: CType, to: CType): ScalarFunction => ({
  args: [from],
  result: to,
  body: `${to} r; __builtin_memcpy(&r, &x, sizeof r); return r;`,
});
const two = (t: CType, body: string, uses: readonly string[] = []): ScalarFunction => ({ args: [t, t], result: t, uses, body });
const one = (t: CType, body: string): ScalarFunction => ({ args: [t], result: t, body });

/** c[0] + x (c[1] + x (...)) by fused steps. */
const horner = (x: string, c: readonly number[], fma = 'FV_FMA', suffix = 'f'): string =>
  c.reduceRight((acc, v) => (acc === '' ? `${v}${suffix}` : `${fma}(${acc}, ${x}, ${v}${suffix})`), '');

const bits = ['bits_f32_u32', 'bits_u32_f32'];

/** exp(r), |r| <= ln2 / 2 */
export const expOf = (r: string): string => `FV_FMA(${horner(r, expFit)} * ${r}, ${r}, ${r}) + 1.0f`;

export const scalars: { readonly [name: string]: ScalarFunction } = {
  bits_f32_u32: pun('f32', 'u32'),
  bits_u32_f32: pun('u32', 'f32'),
  bits_f32_i32: pun('f32', 'i32'),
  bits_i32_f32: pun('i32', 'f32'),
  bits_i32_u32: { args: ['i32'], result: 'u32', body: 'return (u32)x;' },
  bits_u32_i32: { args: ['u32'], result: 'i32', body: 'return (i32)x;' },
  bits_f64_i64: pun('f64', 'i64'),
  bits_i64_f64: pun('i64', 'f64'),

  fma: { args: ['f32', 'f32', 'f32'], result: 'f32', body: 'return FV_FMA(x, y, z);' },
  sqrt: f('return __builtin_sqrtf(x);'),
  rsqrt: f('return (f32)(1.0 / __builtin_sqrt((f64)x));'),
  floor: f('return __builtin_floorf(x);'),
  rem_f32: two('f32', 'return __builtin_fmodf(x, y);'),
  abs_f32: f('return __builtin_fabsf(x);'),
  abs_i32: one('i32', 'return x < 0 ? -x : x;'),
  sign_f32: f('return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;'),
  // not `x != 0`: GCC 12 turns two lanes of it into -1
  sign_i32: one('i32', 'return x > 0 ? 1 : x < 0 ? -1 : 0;'),
  sign_u32: one('u32', 'return x > 1u ? 1u : x;'),
  // a NaN on either side is the result
  max_f32: two('f32', 'return (x > y) | (x != x) ? x : y;'),
  min_f32: two('f32', 'return (x < y) | (x != x) ? x : y;'),
  ...Object.fromEntries(
    (['i32', 'u32', 'i64'] as const).flatMap((t) => {
      const [overflow, wrapped] = t === 'u32' ? ['', ''] : [' : y == -1 ? -x', ' : y == -1 ? 0'];
      return [
        [`max_${t}`, two(t, 'return x > y ? x : y;')],
        [`min_${t}`, two(t, 'return x < y ? x : y;')],
        [`div_${t}`, two(t, `return y == 0 ? 0${overflow} : x / y;`)],
        [`rem_${t}`, two(t, `return y == 0 ? 0${wrapped} : x % y;`)],
      ];
    }),
  ),
  shiftLeft: two('u32', 'return y < 32u ? x << (y & 31u) : 0u;'),
  shiftRight: two('u32', 'return y < 32u ? x >> (y & 31u) : 0u;'),

  // float to integer truncates and wraps; NaN and infinities give 0. In range of i64 the wrap is a truncation of bits
  f32_i64: { args: ['f32'], result: 'i64', body: 'return (x > -9e18f) & (x < 9e18f) ? (i64)x : 0;' },
  f32_i32: { args: ['f32'], result: 'i32', uses: ['f32_i64'], body: 'return (i32)fv_f32_i64(x);' },
  f32_u32: { args: ['f32'], result: 'u32', uses: ['f32_i64'], body: 'return (u32)fv_f32_i64(x);' },
  bf16_f32: { args: ['u16'], result: 'f32', uses: bits, body: 'return fv_bits_u32_f32((u32)x << 16);' },
  f32_bf16: {
    args: ['f32'],
    result: 'u16',
    uses: bits,
    body: 'u32 u = fv_bits_f32_u32(x); u32 r = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16; return (u16)(x != x ? 0x7fc0u : r);',
  },
  // pairs of bf16 as words, the odd product first
  dot2: {
    args: ['u32', 'u32', 'f32'],
    result: 'f32',
    uses: bits,
    body: 'return FV_FMA(fv_bits_u32_f32(x << 16), fv_bits_u32_f32(y << 16), FV_FMA(fv_bits_u32_f32(x & 0xffff0000u), fv_bits_u32_f32(y & 0xffff0000u), z));',
  },
  // a half's exponent and mantissa, read as float bits, are the value times 2^-112, subnormals too
  f16_f32: {
    args: ['u16'],
    result: 'f32',
    uses: bits,
    body: `u32 h = x, m = (h & 0x7fffu) << 13;
  u32 v = fv_bits_f32_u32(fv_bits_u32_f32(m) * 0x1p112f);
  return fv_bits_u32_f32((m >= 0x0f800000u ? m | 0x7f800000u : v) | (h & 0x8000u) << 16);`,
  },
  // below 2^-14, adding 1/2 lets the float adder round to the subnormals' quantum 2^-24
  f32_f16: {
    args: ['f32'],
    result: 'u16',
    uses: bits,
    body: `u32 u = fv_bits_f32_u32(x), s = (u >> 16) & 0x8000u, m = u & 0x7fffffffu;
  f32 a = fv_bits_u32_f32(m);
  u32 n = (m + 0xfffu + ((m >> 13) & 1u) - (112u << 23)) >> 13;
  u32 d = fv_bits_f32_u32(a + 0.5f) - 0x3f000000u;
  u32 r = m > 0x7f800000u ? 0x7e00u : a >= 65520.0f ? 0x7c00u : a < 0x1p-14f ? d : n;
  return (u16)(r | (m > 0x7f800000u ? 0u : s));`,
  },

  // exp(x) = 2^n exp(r); 2^n in two factors, so that results among the subnormals are rounded once
  exp: f(
    `f32 c = x > 89.0f ? 89.0f : x < -105.0f ? -105.0f : x;
  f32 n = __builtin_rintf(c * 1.44269504f);
  f32 r = FV_FMA(n, -0.693359375f, c);
  r = FV_FMA(n, 2.12194440e-4f, r);
  f32 p = ${expOf('r')};
  i32 k = (i32)n, h = k >> 1;
  return p * fv_bits_u32_f32((u32)(h + 127) << 23) * fv_bits_u32_f32((u32)(k - h + 127) << 23);`,
    bits,
  ),
  // x = 2^k (1 + f), 1 + f between sqrt(1/2) and sqrt(2)
  log: f(
    `i32 low = x < 0x1p-126f;
  u32 u = fv_bits_f32_u32(low ? x * 0x1p23f : x) - 0x3f3504f3u;
  i32 e = (i32)u >> 23;
  f32 k = (f32)(low ? e - 23 : e);
  f32 g = fv_bits_u32_f32((u & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  f32 p = ${horner('g', logFit)};
  f32 s = g * g;
  f32 t = FV_FMA(p * g, s, k * -2.12194440e-4f);
  f32 r = FV_FMA(k, 0.693359375f, g + FV_FMA(s, -0.5f, t));
  r = x < __builtin_inff() ? r : x;
  r = x < 0.0f ? __builtin_nanf("") : r;
  return x == 0.0f ? -__builtin_inff() : r;`,
    bits,
  ),
  tanh: f(
    `f32 a = __builtin_fabsf(x), s = a * a;
  f32 small = FV_FMA(${horner('s', tanhFit)} * s, x, x);
  f32 big = 1.0f - 2.0f / (fv_exp(2.0f * (a > 10.0f ? 10.0f : a)) + 1.0f);
  return __builtin_copysignf(a < 0.625f ? small : big, x);`,
    ['exp'],
  ),
  erf: f(
    `f32 a = __builtin_fabsf(x), s = a * a;
  f32 small = FV_FMA(${horner('s', erfFit)}, x, x);
  f32 c = a > 3.92f ? 3.92f : a;
  f32 q = ${horner('c', erfcFit)};
  q = q * q;
  q = q * q;
  f32 big = 1.0f - 1.0f / (q * q);
  return a < 1.25f ? small : __builtin_copysignf(big, x);`,
  ),

  // sin(r + q pi/2), |r| <= pi/4, in double: the series' first omitted terms are below 2^-32
  quadrant: {
    args: ['f64', 'i32'],
    result: 'f32',
    body: `f64 s = x * x;
  f64 a = x + x * s * (${horner('s', [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800], 'FV_FMA64', '')});
  f64 b = 1.0 + s * (${horner('s', [-0.5, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800], 'FV_FMA64', '')});
  f64 r = y & 1 ? b : a;
  return (f32)(y & 2 ? -r : r);`,
  },
  // pi/2 in two parts, the first of 33 bits: its product with |n| < 2^20 is exact
  trigNear: {
    args: ['f32', 'i32'],
    result: 'f32',
    uses: ['quadrant'],
    body: `f64 n = __builtin_rint(x * 0.63661977236758134308);
  f64 r = (x - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
  return fv_quadrant(r, (i32)n + y);`,
  },
  // |x| = m 2^e with e >= -3: the product of m with the 128 bits of 2/pi that matter, modulo 4 quadrants
  trigFar: {
    args: ['f32', 'i32'],
    result: 'f32',
    uses: ['quadrant', 'bits_f32_u32'],
    body: `static const u64 w[5] = {0, ${twoOverPi(64)
      .map((b) => `0x${b.toString(16)}ul`)
      .join(', ')}};
  u32 u = fv_bits_f32_u32(x) & 0x7fffffffu;
  if (u >= 0x7f800000u) return x - x;
  i32 at = (i32)(u >> 23) - 150 - 2 + 64, word = at >> 6, bit = at & 63;
  u64 hi = bit ? w[word] << bit | w[word + 1] >> (64 - bit) : w[word];
  u64 lo = bit ? w[word + 1] << bit | w[word + 2] >> (64 - bit) : w[word + 1];
  unsigned __int128 p = ((unsigned __int128)hi << 64 | lo) * ((u & 0x7fffffu) | 0x800000u);
  __int128 rest = (__int128)(p << 2);
  f32 r = fv_quadrant((f64)rest * (0x1p-128 * 1.57079632679489661923), (i32)(p >> 126) + (rest < 0) + y);
  return (x < 0.0f) & !y ? -r : r;`,
  },
  sin: f('f32 a = __builtin_fabsf(x); return a < 2e-4f ? x : a < 0x1p20f ? fv_trigNear(x, 0) : fv_trigFar(x, 0);', ['trigNear', 'trigFar']),
  cos: f('return __builtin_fabsf(x) < 0x1p20f ? fv_trigNear(x, 1) : fv_trigFar(x, 1);', ['trigNear', 'trigFar']),

  // 2^(y log2 x) in double: log2 by atanh's series, both to about 2^-37
  pow: two(
    'f32',
    `f32 a = __builtin_fabsf(x);
  i64 u = fv_bits_f64_i64((f64)a) - 0x3fe6a09e667f3bcdL;
  f64 k = (f64)(i32)(u >> 52);
  f64 m = fv_bits_i64_f64((u & 0xfffffffffffffL) + 0x3fe6a09e667f3bcdL);
  f64 s = (m - 1.0) / (m + 1.0), t = s * s;
  f64 l = k + 2.8853900817779268147 * s * (${horner('t', [1, 1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11, 1 / 13, 1 / 15], 'FV_FMA64', '')});
  l = a == 0.0f ? -__builtin_inf() : a < __builtin_inff() ? l : (f64)a;
  f64 e = (f64)y * l;
  e = e > 200.0 ? 200.0 : e < -200.0 ? -200.0 : e;
  f64 n = __builtin_rint(e), v = (e - n) * 0.69314718055994530942;
  f64 p = ${horner('v', [1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880, 1 / 3628800], 'FV_FMA64', '')};
  f32 r = (f32)(p * fv_bits_i64_f64((i64)((i32)n + 1023) << 52));
  f32 half = y * 0.5f;
  i32 whole = __builtin_rintf(y) == y, odd = whole & (__builtin_rintf(half) != half) & (__builtin_fabsf(y) < 0x1p24f);
  i32 negative = fv_bits_f32_i32(x) < 0;
  r = negative & odd ? -r : r;
  r = (x < 0.0f) & !whole & (x > -__builtin_inff()) ? __builtin_nanf("") : r;
  return (y == 0.0f) | (x == 1.0f) | ((x == -1.0f) & (__builtin_fabsf(y) == __builtin_inff())) ? 1.0f : r;`,
    ['bits_f64_i64', 'bits_i64_f64', 'bits_f32_i32'],
  ),
};
