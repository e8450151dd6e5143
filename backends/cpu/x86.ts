/**
 * Vector functions that x86 has instructions for and that GCC does not find in loops over lanes: masked memory, the larger of two
 * with NaN rules, a power of two as a factor. Each has the bits of the function that it stands in for; prelude.ts prints both, and
 * the compiler's own macros choose.
 *
 *   loadMasked_f32, 16 lanes, under AVX-512:   mask bits of the lanes, then one load
 */

/** The macro condition under which `body` may stand in for the function. */
export interface Native {
  readonly condition: string;
  readonly body: string;
}

const gcc = '!defined(__clang__)';
const wide = `defined(__AVX512DQ__) && ${gcc}`;

/** Masks of the lanes where x is a number keep a NaN in x; the instruction itself gives y where either is NaN. */
const extreme = (op: 'max' | 'min'): string =>
  `return (f32x16)__builtin_ia32_${op}ps512_mask(x, y, x, __builtin_ia32_cmpps512_mask(x, x, 7, -1, 4), 4);`;

/** exp of math.ts: the clamp by minimum and maximum (which give their second operand for NaN), 2^n p by one instruction. */
const exp = (polynomial: string): string => `f32x16 o = {}, lo = o - 105.0f, hi = o + 89.0f;
  f32x16 c = __builtin_ia32_minps512_mask(hi, __builtin_ia32_maxps512_mask(lo, x, x, -1, 4), x, -1, 4);
  f32x16 n = __builtin_ia32_rndscaleps_mask(c * 1.44269504f, 0, c, -1, 4), r, p;
  for (int j = 0; j < 16; j++) r[j] = FV_FMA(n[j], 2.12194440e-4f, FV_FMA(n[j], -0.693359375f, c[j]));
  for (int j = 0; j < 16; j++) p[j] = ${polynomial};
  return __builtin_ia32_scalefps512_mask(p, n, p, -1, 4);`;

/** `expTail`: exp(r) as C text in r[j]. Undefined where vector arithmetic is good enough. */
export const native = (name: string, lanes: number, expTail: string): Native | undefined => {
  const [op, t] = name.split('_');
  const word = t === 'f32' || t === 'i32' || t === 'u32';
  // where lines of a cache begin is known when the kernel runs
  const stream = (n: 16 | 8, suffix: string): string =>
    `if (((u64)p & ${4 * n - 1}) == 0) __builtin_ia32_movntps${suffix}((f32 *)p, (f32x${n})x); else *(${t}x${n}u *)p = x;`;
  if (lanes === 16) {
    if (name === 'max_f32' || name === 'min_f32') return { condition: wide, body: extreme(op as 'max' | 'min') };
    if (name === 'exp') return { condition: wide, body: exp(expTail) };
    const bits = '__builtin_ia32_cvtd2mask512(m)';
    if (op === 'loadMasked' && word)
      return { condition: wide, body: `return (${t}x16)__builtin_ia32_loadups512_mask((const f32 *)p, (f32x16){}, ${bits});` };
    if (op === 'storeNontemporal' && word) return { condition: wide, body: stream(16, '512') };
    if (op === 'storeMasked' && word) return { condition: wide, body: `__builtin_ia32_storeups512_mask((f32 *)p, (f32x16)x, ${bits});` };
  }
  if (lanes === 8 && op === 'storeNontemporal' && word) return { condition: `defined(__AVX__) && ${gcc}`, body: stream(8, '256') };
  if ((lanes === 8 || lanes === 4) && word) {
    const [condition, suffix] = [`defined(__AVX__) && ${gcc}`, lanes === 8 ? '256' : ''];
    const place = `f32x${lanes} *)p`;
    if (op === 'loadMasked') return { condition, body: `return (${t}x${lanes})__builtin_ia32_maskloadps${suffix}((const ${place}, m);` };
    if (op === 'storeMasked') return { condition, body: `__builtin_ia32_maskstoreps${suffix}((${place}, m, (f32x${lanes})x);` };
  }
  return undefined;
};
