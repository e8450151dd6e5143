/**
 * Functions of the WGSL prelude. In a body `F`, `I`, `U` and `B` stand for f32, i32, u32 and bool of the lanes that are asked for; `each`
 * functions are scalars, and a vector is made of them lane by lane.
 *
 * WGSL promises little (exp may be off by 3 + 2 |x| ulp, nothing need be fused, subnormal numbers may be zero, NaN and infinities may be
 * assumed away), so everything that a law bounds is written out in operations that it does promise; infinities and NaN are made and recognised
 * by their bits; and as there is no float64, what backends/native/math.ts computes in double is computed here in integers or in two floats, the
 * first of which has 12 bits, so that products of first parts are exact. test/webgpu/math.test.ts measures the errors.
 */
import { atanhFit, cosFit, erfcFit, erfFit, expFit, logFit, sinFit, tanhFit, twoOverPi } from '../../compiler/kernel/coefficients.ts';

type Letter = 'F' | 'I' | 'U' | 'B';
export interface WgslFunction {
  readonly args: readonly Letter[];
  readonly result: Letter;
  /** Other functions of this table that the body calls, as fv_NAME. */
  readonly uses?: readonly string[];
  readonly each?: true;
  readonly body: string;
}

const f = (body: string, uses: readonly string[] = []): WgslFunction => ({ args: ['F'], result: 'F', uses, body });
const two = (t: Letter, body: string, uses: readonly string[] = []): WgslFunction => ({ args: [t, t], result: t, uses, body });

/** c[0] + x (c[1] + x (...)) by fused steps. */
const horner = (x: string, c: readonly number[]): string =>
  c.reduceRight((acc, v) => (acc === '' ? `F(${v})` : `fma(${acc}, ${x}, F(${v}))`), '');

/** exp(r), |r| <= ln2 / 2 */
const expOf = (r: string): string => `fma(${horner(r, expFit)} * ${r}, ${r}, ${r}) + F(1.0)`;
/** 2^n for whole n in [-252, 254], in two factors, so that what is among the subnormal numbers is rounded once. */
const scaled = (p: string, n: string): string =>
  `${p} * bitcast<F>(U((${n} >> U(1)) + I(127)) << U(23)) * bitcast<F>(U(${n} - (${n} >> U(1)) + I(127)) << U(23))`;

/** x = 2^k m with m between sqrt(1/2) and sqrt(2): `k` and `m`, of x > 0. */
const splitUp = (x: string): string => `let low = ${x} < F(1.17549435e-38);
  let u = bitcast<U>(select(${x}, ${x} * F(8388608.0), low)) - U(0x3f3504f3u);
  let k = F((bitcast<I>(u) >> U(23)) - select(I(0), I(23), low));
  let m = bitcast<F>((u & U(0x007fffffu)) + U(0x3f3504f3u));`;

const first12 = (x: number): number => {
  const v = new DataView(new ArrayBuffer(4));
  v.setFloat32(0, x);
  v.setUint32(0, v.getUint32(0) & 0xfffff000);
  return v.getFloat32(0);
};
const overLn2 = 2 / Math.LN2;
const halfPi = Math.fround(Math.PI / 2);

export const functions: { readonly [name: string]: WgslFunction } = {
  inf: { args: [], result: 'F', each: true, body: 'return bitcast<f32>(fv_special.x);' },
  nan: { args: [], result: 'F', each: true, body: 'return bitcast<f32>(fv_special.y);' },
  isnan: { args: ['F'], result: 'B', body: 'return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u);' },
  copysign: two('F', 'return bitcast<F>((bitcast<U>(x) & U(0x7fffffffu)) | (bitcast<U>(y) & U(0x80000000u)));'),
  head: f('return bitcast<F>(bitcast<U>(x) & U(0xfffff000u));'),

  rsqrt: f('return F(1.0) / sqrt(x);'),
  sign_f32: f('return select(select(x, F(-1.0), x < F(0.0)), F(1.0), x > F(0.0));'),
  sign_u32: { args: ['U'], result: 'U', body: 'return min(x, U(1u));' },
  // a NaN on either side is the result
  max_f32: two('F', 'return select(y, x, (x > y) | fv_isnan(x));', ['isnan']),
  min_f32: two('F', 'return select(y, x, (x < y) | fv_isnan(x));', ['isnan']),
  div_i32: two('I', 'return select(x / y, I(0), y == I(0));'),
  div_u32: two('U', 'return select(x / y, U(0u), y == U(0u));'),
  rem_i32: two('I', 'return select(x % y, I(0), y == I(0));'),
  rem_u32: two('U', 'return select(x % y, U(0u), y == U(0u));'),
  shiftLeft: two('U', 'return select(U(0u), x << (y & U(31u)), y < U(32u));'),
  shiftRight: two('U', 'return select(U(0u), x >> (y & U(31u)), y < U(32u));'),

  // truncates and wraps; NaN and infinities give 0
  f32_u32: {
    args: ['F'],
    result: 'U',
    body: `let u = bitcast<U>(x);
  let e = bitcast<I>((u >> U(23u)) & U(255u)) - I(150);
  let m = (u & U(0x7fffffu)) | U(0x800000u);
  let right = m >> min(U(max(-e, I(0))), U(31u));
  let left = select(U(0u), m << (bitcast<U>(e) & U(31u)), e < I(32));
  let r = select(select(left, right, e < I(0)), U(0u), e < I(-23));
  return select(r, ~r + U(1u), bitcast<I>(u) < I(0));`,
  },
  f32_i32: { args: ['F'], result: 'I', uses: ['f32_u32'], body: 'return bitcast<I>(fv_f32_u32(x));' },
  bf16_f32: { args: ['U'], result: 'F', body: 'return bitcast<F>(x << U(16u));' },
  f32_bf16: {
    args: ['F'],
    result: 'U',
    uses: ['isnan'],
    body: `let u = bitcast<U>(x);
  return select((u + U(0x7fffu) + ((u >> U(16u)) & U(1u))) >> U(16u), U(0x7fc0u), fv_isnan(x));`,
  },
  f16_f32: {
    args: ['U'],
    result: 'F',
    body: `let m = (x & U(0x7fffu)) << U(13u);
  let small = bitcast<U>(F(x & U(0x3ffu)) * F(5.9604644775390625e-8));
  let normal = m + U(0x38000000u);
  let bits = select(select(normal, m | U(0x7f800000u), m >= U(0x0f800000u)), small, m < U(0x00800000u));
  return bitcast<F>(bits | ((x & U(0x8000u)) << U(16u)));`,
  },
  // below 2^-14, adding 1/2 lets the float adder round to the subnormals' quantum 2^-24
  f32_f16: {
    args: ['F'],
    result: 'U',
    uses: ['isnan'],
    body: `let u = bitcast<U>(x);
  let m = u & U(0x7fffffffu);
  let a = bitcast<F>(m);
  let n = (m + U(0xfffu) + ((m >> U(13u)) & U(1u)) - U(0x38000000u)) >> U(13u);
  let d = bitcast<U>(a + F(0.5)) - U(0x3f000000u);
  let r = select(select(n, d, m < U(0x38800000u)), U(0x7c00u), m >= U(0x477ff000u)) | ((u >> U(16u)) & U(0x8000u));
  return select(r, U(0x7e00u), fv_isnan(x));`,
  },

  exp: f(
    `let c = select(select(x, F(-105.0), x < F(-105.0)), F(89.0), x > F(89.0));
  let n = round(c * F(1.44269504));
  let r = fma(n, F(2.12194440e-4), fma(n, F(-0.693359375), c));
  let p = ${expOf('r')};
  let k = I(n);
  return select(${scaled('p', 'k')}, x, fv_isnan(x));`,
    ['isnan'],
  ),
  log: f(
    `${splitUp('x')}
  let g = m - F(1.0);
  let p = ${horner('g', logFit)};
  let s = g * g;
  let t = fma(p * g, s, k * F(-2.12194440e-4));
  let r = fma(k, F(0.693359375), g + fma(s, F(-0.5), t));
  let positive = select(x, r, bitcast<U>(x) < U(0x7f800000u));
  return select(select(positive, F(fv_nan()), x < F(0.0)), F(-fv_inf()), x == F(0.0));`,
    ['inf', 'nan'],
  ),
  tanh: f(
    `let a = abs(x);
  let s = a * a;
  let small = fma(${horner('s', tanhFit)} * s, x, x);
  let big = F(1.0) - F(2.0) / (fv_exp(F(2.0) * min(a, F(10.0))) + F(1.0));
  return select(select(fv_copysign(big, x), small, a < F(0.625)), x, fv_isnan(x));`,
    ['exp', 'copysign', 'isnan'],
  ),
  erf: f(
    `let a = abs(x);
  let s = a * a;
  let small = fma(${horner('s', erfFit)}, x, x);
  let c = min(a, F(3.92));
  let q = ${horner('c', erfcFit)};
  let q2 = q * q;
  let q4 = q2 * q2;
  let big = F(1.0) - F(1.0) / (q4 * q4);
  return select(select(fv_copysign(big, x), small, a < F(1.25)), x, fv_isnan(x));`,
    ['copysign', 'isnan'],
  ),

  mulHigh: {
    args: ['U', 'U'],
    result: 'U',
    each: true,
    body: `let a = x & 0xffffu; let b = x >> 16u; let c = y & 0xffffu; let d = y >> 16u;
  let low = a * c; let mid = b * c + (low >> 16u); let other = a * d + (mid & 0xffffu);
  return b * d + (mid >> 16u) + (other >> 16u);`,
  },
  // x = m 2^e: the product of m with the 96 bits of 2/pi that matter, modulo 4 quadrants; y is added to the quadrant
  trig: {
    args: ['F', 'I'],
    result: 'F',
    each: true,
    uses: ['mulHigh'],
    body: `let u = bitcast<u32>(x) & 0x7fffffffu;
  if (u >= 0x7f800000u) { return bitcast<f32>(u | 0x7fc00000u); }
  var q = y;
  var r = x;
  var tail = 0.0;
  if (u > 0x3f490fdau) {
    var words = array<u32, 9>(0u, ${twoOverPi(32)
      .map((w) => `0x${w.toString(16)}u`)
      .join(', ')});
    let m = (u & 0x7fffffu) | 0x800000u;
    let at = (u >> 23u) - 120u;
    let word = at >> 5u;
    let bit = at & 31u;
    let back = 31u - bit;
    let a = (words[word] << bit) | ((words[word + 1u] >> 1u) >> back);
    let b = (words[word + 1u] << bit) | ((words[word + 2u] >> 1u) >> back);
    let c = (words[word + 2u] << bit) | ((words[min(word + 3u, 8u)] >> 1u) >> back);
    let low = m * c;
    let carried = fv_mulHigh(m, c);
    let mid = m * b + carried;
    let high = m * a + fv_mulHigh(m, b) + select(0u, 1u, mid < carried);
    var hi = (high << 2u) | (mid >> 30u);
    var lo = (mid << 2u) | (low >> 30u);
    let turned = hi >> 31u;
    let quadrant = (high >> 30u) + turned;
    if (turned == 1u) { lo = ~lo + 1u; hi = ~hi + select(0u, 1u, lo == 0u); }
    let zeros = select(countLeadingZeros(hi), 32u + countLeadingZeros(lo), hi == 0u);
    var top = lo << (zeros & 31u);
    if (zeros < 32u) { top = (hi << zeros) | ((lo >> 1u) >> (31u - zeros)); }
    // top pi/2 2^-32 2^-zeros as a sum of two floats
    let first = f32(top & 0xffffff00u);
    let rest = f32(top & 0xffu);
    let fh = bitcast<f32>(bitcast<u32>(first) & 0xfffff000u);
    let fl = first - fh;
    let big = fh * ${first12(Math.PI / 2)};
    let small = fh * ${Math.fround(Math.PI / 2 - first12(Math.PI / 2))} + (fl * ${halfPi} + rest * ${halfPi});
    let sum = big + small;
    let more = small - (sum - big);
    let scale = bitcast<f32>((95u - zeros) << 23u);
    let negative = (turned == 1u) != (x < 0.0);
    let sign = select(scale, -scale, negative);
    r = sum * sign;
    tail = more * sign;
    q += select(i32(quadrant), -i32(quadrant), x < 0.0);
  }
  let s = r * r;
  let sine = r + (fma(-0.5 * s, tail, tail) + ${horner('s', sinFit).replaceAll('F(', 'f32(')} * s * r);
  let cosine = 1.0 - (0.5 * s - (${horner('s', cosFit).replaceAll('F(', 'f32(')} * s * s - r * tail));
  let v = select(sine, cosine, (q & 1) == 1);
  return select(v, -v, (q & 2) == 2);`,
  },
  sin: { args: ['F'], result: 'F', each: true, uses: ['trig'], body: 'return fv_trig(x, 0);' },
  cos: { args: ['F'], result: 'F', each: true, uses: ['trig'], body: 'return fv_trig(x, 1);' },

  // 2^(y log2 x): log2 by atanh's series, to about 2^-34
  pow: two(
    'F',
    `let a = abs(x);
  ${splitUp('a')}
  let g = m - F(1.0);
  let t = g + F(2.0);
  let s = g / t;
  let sh = fv_head(s);
  let th = fv_head(t);
  let sl = ((g - sh * th) - sh * (g - (th - F(2.0)))) / t;
  let z = s * s;
  let tail = s * z * (${horner('z', atanhFit)});
  let hi = sh * F(${first12(overLn2)});
  let lo = sl * F(${first12(overLn2)}) + (s * F(${Math.fround(overLn2 - first12(overLn2))}) + tail * F(${Math.fround(overLn2)}));
  let sum = (hi + lo) + k;
  let lh = fv_head(sum);
  let ll = ((k - lh) + hi) + lo;
  let finite = bitcast<U>(a) < U(0x7f800000u);
  let e = y * select(select(a, sum, finite), F(-fv_inf()), a == F(0.0));
  let far = abs(e) > F(200.0);
  let yh = fv_head(y);
  let eh = select(yh * lh, select(F(-200.0), F(200.0), e > F(0.0)), far);
  let el = select(y * ll + (y - yh) * lh, F(0.0), far);
  let n = round(eh + el);
  let v = ((eh - n) + el) * F(0.693147182);
  let p = ${expOf('v')};
  let i = I(n);
  let size = ${scaled('p', 'i')};
  let half = y * F(0.5);
  let whole = round(y) == y;
  let odd = whole & (round(half) != half) & (abs(y) < F(16777216.0));
  let signed = select(size, -size, (bitcast<I>(x) < I(0)) & odd);
  let none = fv_isnan(e) | fv_isnan(y) | ((x < F(0.0)) & !whole & finite);
  let one = (y == F(0.0)) | (x == F(1.0)) | ((x == F(-1.0)) & ((bitcast<U>(y) & U(0x7fffffffu)) == U(0x7f800000u)));
  return select(select(signed, F(fv_nan()), none), F(1.0), one);`,
    ['head', 'inf', 'nan', 'isnan'],
  ),
  rem_f32: {
    args: ['F', 'F'],
    result: 'F',
    each: true,
    uses: ['nan'],
    body: `let a = bitcast<u32>(x) & 0x7fffffffu;
  let b = bitcast<u32>(y) & 0x7fffffffu;
  if (a >= 0x7f800000u || b > 0x7f800000u || b == 0u) { return fv_nan(); }
  if (a < b) { return x; }
  // a number below 2^-126 has the exponent of those above it, and no leading one
  let eb = max(b >> 23u, 1u);
  let mb = (b & 0x7fffffu) | select(0u, 0x800000u, b >= 0x800000u);
  var rest = (a & 0x7fffffu) | select(0u, 0x800000u, a >= 0x800000u);
  for (var e = max(a >> 23u, 1u); e > eb; e--) { rest = (rest % mb) << 1u; }
  rest = rest % mb;
  let shift = min(countLeadingZeros(rest) - 8u, eb - 1u);
  let top = rest << shift;
  let bits = select(top, (top & 0x7fffffu) | ((eb - shift) << 23u), top >= 0x800000u);
  return bitcast<f32>(select(bits, 0u, rest == 0u) | (bitcast<u32>(x) & 0x80000000u));`,
  },
};
