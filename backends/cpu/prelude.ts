/**
 * The part of the C prelude that one kernel uses. `use(name, lanes)` asks for a function, adds it and what it calls, and
 * returns its C name. A vector function is the scalar one of math.ts in a loop over lanes, which GCC and Clang turn into
 * vector instructions; the few that need more (select, masked and gathered memory, reductions) are written out below.
 *
 *   use('exp', 16)  ->  'fv_exp_x16', and text() defines fv_bits_u32_f32, fv_exp and fv_exp_x16
 */
import type { KType } from '../../compiler/kernel/types.ts';
import { type CType, ctype, scalarOf, scalarTypes, vectorTypes } from '../native/ctypes.ts';
import { expOf, scalars } from '../native/math.ts';
import { native } from './x86.ts';

export interface Prelude {
  /** Makes the vector types of `lanes` lanes known. */
  types(lanes: number): void;
  use(name: string, lanes: number): string;
  splat(dtype: KType, lanes: number, x: string): string;
  /** x, of dtype `from`, as `to`; bf16 and f16 go through their own functions. */
  convert(from: KType, to: KType, lanes: number, x: string): string;
  /** The definitions, each after what it uses. Several preludes are one where each piece is taken once. */
  pieces(): readonly string[];
}

// FV_AS_WRITTEN: an empty asm keeps a loop out of the auto-vectoriser. K's vectors are explicit; what is left scalar is short
// tails and transposing copies, which GCC would turn into hundreds of shuffles: 2.3 times the compile time, and no faster
const macros = `#if defined(__FMA__) || defined(__FP_FAST_FMAF) || defined(__aarch64__)
#define FV_FMA(x, y, z) __builtin_fmaf(x, y, z)
#define FV_FMA64(x, y, z) __builtin_fma(x, y, z)
#else
#define FV_FMA(x, y, z) ((x) * (y) + (z))
#define FV_FMA64(x, y, z) ((x) * (y) + (z))
#endif
#define FV_PRAGMA(x) _Pragma(#x)
#ifdef __clang__
#define FV_UNROLL(n) FV_PRAGMA(clang loop unroll_count(n))
#else
#define FV_UNROLL(n) FV_PRAGMA(GCC unroll n)
#endif
#define FV_AS_WRITTEN __asm__("");
#ifdef __SSE__
#define FV_FENCE __builtin_ia32_sfence();
#else
#define FV_FENCE
#endif
#define FV_INLINE static inline __attribute__((always_inline))`;

const list = (n: number, f: (i: number) => string | number = (i) => i): string => Array.from({ length: n }, (_, i) => f(i)).join(', ');

/** x86 has the fused product as an instruction that vector arithmetic does not reach; clang has a builtin of its own. */
const fma = (lanes: number): string => {
  const v = `f32x${lanes}`;
  const native: { readonly [lanes: number]: readonly [string, string] } = {
    16: ['__AVX512F__', '(f32x16)__builtin_ia32_vfmaddps512_mask(x, y, z, (u16)-1, 4)'],
    8: ['__FMA__', '(f32x8)__builtin_ia32_vfmaddps256(x, y, z)'],
    4: ['__FMA__', '(f32x4)__builtin_ia32_vfmaddps(x, y, z)'],
  };
  const known = native[lanes];
  const clang = ['#if defined(__clang__) && __has_builtin(__builtin_elementwise_fma)', '  return __builtin_elementwise_fma(x, y, z);'];
  const gcc = known ? [`#elif defined(${known[0]}) && !defined(__clang__)`, `  return ${known[1]};`] : [];
  const loop = ['#else', `  ${v} r; for (int j = 0; j < ${lanes}; j++) r[j] = FV_FMA(x[j], y[j], z[j]); return r;`, '#endif'];
  return [`FV_INLINE ${v} fv_fma_x${lanes}(${v} x, ${v} y, ${v} z) {`, ...clang, ...gcc, ...loop, '}'].join('\n');
};

/**
 * x86 has it for f32 lanes as one instruction. It is written as assembly because GCC and Clang changed the types of their builtins
 * from version to version; elsewhere two fma on halves that shifts and masks make float32.
 */
const dot2 = (lanes: number): string => {
  const [v, w] = [`f32x${lanes}`, `u32x${lanes}`];
  const native: { readonly [lanes: number]: string } = {
    16: 'defined(__AVX512BF16__)',
    8: 'defined(__AVX512BF16__) && defined(__AVX512VL__)',
    4: 'defined(__AVX512BF16__) && defined(__AVX512VL__)',
  };
  const known = native[lanes];
  const asm = known ? [`#if ${known}`, '  __asm__("vdpbf16ps %2, %1, %0" : "+v"(z) : "v"(x), "v"(y)); return z;', '#else'] : [];
  const odd = (u: string): string => `(${v})(${u} & 0xffff0000u)`;
  const even = (u: string): string => `(${v})(${u} << 16)`;
  const plain = `  return fv_fma_x${lanes}(${even('x')}, ${even('y')}, fv_fma_x${lanes}(${odd('x')}, ${odd('y')}, z));`;
  return [`FV_INLINE ${v} fv_dot2_x${lanes}(${w} x, ${w} y, ${v} z) {`, ...asm, plain, ...(known ? ['#endif'] : []), '}'].join('\n');
};

/** x86 converts f16 by one instruction; what it makes of subnormal numbers, ties and overflow is what math.ts makes of them. */
const half = (name: 'f16_f32' | 'f32_f16', lanes: number, each: string): string => {
  const [from, to] = name === 'f16_f32' ? ['u16', 'f32'] : ['f32', 'u16'];
  const guard: { readonly [lanes: number]: string } = { 16: '__AVX512F__', 8: '__F16C__' };
  const code = name === 'f16_f32' ? '"vcvtph2ps %1, %0"' : '"vcvtps2ph $0, %1, %0"';
  const known = guard[lanes];
  const asm = known ? [`#if defined(${known})`, `  __asm__(${code} : "=v"(r) : "v"(x));`, '#else'] : [];
  return [
    `FV_INLINE ${to}x${lanes} fv_${name}_x${lanes}(${from}x${lanes} x) {`,
    `  ${to}x${lanes} r;`,
    ...asm,
    `  ${each} r[j] = fv_${name}(x[j]);`,
    ...(known ? ['#endif'] : []),
    '  return r;',
    '}',
  ].join('\n');
};

/** x86 rounds to bf16 by one instruction, which differs for subnormal numbers and NaN alone: where there is one of those, by integers. */
const toBf16 = (lanes: number): string => {
  const [u, to] = [`u32x${lanes}`, `u16x${lanes}`];
  const asm = [
    '#if defined(__AVX512BF16__) && defined(__AVX512DQ__)',
    `  ${to} y; u16 rare;`,
    '  __asm__("vcvtneps2bf16 %1, %0" : "=v"(y) : "v"(x));',
    '  __asm__("vfpclassps $0xa1, %1, %0" : "=k"(rare) : "v"(x));',
    '  if (__builtin_expect(rare == 0, 1)) return y;',
    '#endif',
  ];
  return [
    `FV_INLINE ${to} fv_f32_bf16_x${lanes}(f32x${lanes} x) {`,
    ...(lanes === 16 ? asm : []),
    `  ${u} u = (${u})x, r = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, n = (${u})(x != x);`,
    `  return __builtin_convertvector((r & ~n) | (n & 0x7fc0u), ${to});`,
    '}',
  ].join('\n');
};

/** `before`: functions asked for first. */
interface Written {
  readonly before?: readonly (readonly [string, number])[];
  readonly text: string;
}

const maskTypes: { readonly [T in CType]?: string } = { f32: 'i32', i32: 'i32', u32: 'i32', i64: 'i64', u16: 'u16' };

/** Vector functions that are more than a loop over a scalar one. */
const written = (name: string, lanes: number): Written | undefined => {
  const [op = '', t = '', more = ''] = name.split('_');
  const v = `${t}x${lanes}`;
  const [m, ix] = [`i32x${lanes}`, `i64x${lanes}`];
  const each = `for (int j = 0; j < ${lanes}; j++)`;
  const fn = (result: string, args: string, body: string): Written => ({
    text: `FV_INLINE ${result} fv_${name}_x${lanes}(${args}) { ${body} }`,
  });
  switch (op) {
    case 'fma':
      return { text: fma(lanes) };
    case 'dot2':
      return { before: [['fma', lanes]], text: dot2(lanes) };
    // in whole vectors: GCC takes the scalar function's loop apart into branches
    case 'bf16':
      return fn(`f32x${lanes}`, `u16x${lanes} x`, `return (f32x${lanes})(__builtin_convertvector(x, u32x${lanes}) << 16);`);
    case 'f32': {
      if (t === 'f16') return { before: [['f32_f16', 1]], text: half('f32_f16', lanes, each) };
      if (t !== 'bf16') return undefined;
      return { text: toBf16(lanes) };
    }
    case 'f16':
      return { before: [['f16_f32', 1]], text: half('f16_f32', lanes, each) };
    case 'iota':
      return fn(m, 'void', `return (${m}){${list(lanes)}};`);
    // n clamped to what an i32 lane number is compared with
    case 'tail':
      return fn('i32', 'i64 n', `return (i32)(n < -1 ? -1 : n > ${lanes} ? ${lanes} : n);`);
    case 'ramp':
      return fn(v, `${t} base`, `return base + (${v}){${list(lanes)}};`);
    case 'select': {
      const k = `${maskTypes[t as CType]}x${lanes}`;
      const c = t === 'i64' || t === 'u16' ? `__builtin_convertvector(m, ${k})` : 'm';
      return fn(v, `${m} m, ${v} x, ${v} y`, `${k} c = ${c}; return (${v})(((${k})x & c) | ((${k})y & ~c));`);
    }
    case 'abs':
      return t === 'f32' ? fn(v, `${v} x`, `return (${v})((${m})x & 0x7fffffff);`) : undefined;
    case 'max':
    case 'min': {
      const c = `(x ${op === 'max' ? '>' : '<'} y)${t === 'f32' ? ' | (x != x)' : ''}`;
      const k = `${maskTypes[t as CType]}x${lanes}`;
      return fn(v, `${v} x, ${v} y`, `${k} c = ${c}; return (${v})(((${k})x & c) | ((${k})y & ~c));`);
    }
    // halves are combined until one lane is left: lane i with lane i + lanes / 2
    case 'across': {
      const half = lanes / 2;
      const join = (a: string, b: string): string =>
        t === 'add' ? `${a} + ${b}` : `fv_${t}_${more}${half > 1 ? `_x${half}` : ''}(${a}, ${b})`;
      const before: (readonly [string, number])[] = [
        ...(t === 'add' ? [] : [[`${t}_${more}`, half] as const]),
        ...(half > 1 ? [[name, half] as const] : []),
      ];
      const part = (from: number): string => (half > 1 ? `__builtin_shufflevector(x, x, ${list(half, (i) => i + from)})` : `x[${from}]`);
      const body = half > 1 ? `return fv_${name}_x${half}(${join(part(0), part(half))});` : `return ${join(part(0), part(1))};`;
      return { before, ...fn(more, `${more}x${lanes} x`, body) };
    }
    case 'loadMasked':
      return fn(v, `const ${t} *p, ${m} m`, `${v} r; ${each} r[j] = m[j] ? p[j] : 0; return r;`);
    case 'gather':
      return fn(v, `const ${t} *p, ${ix} i`, `${v} r; ${each} r[j] = p[i[j]]; return r;`);
    case 'gatherMasked':
      return fn(v, `const ${t} *p, ${ix} i, ${m} m`, `${v} r; ${each} r[j] = m[j] ? p[i[j]] : 0; return r;`);
    case 'storeNontemporal':
      return fn('void', `${t} *p, ${v} x`, `*(${v}u *)p = x;`);
    case 'storeMasked':
      return fn('void', `${t} *p, ${v} x, ${m} m`, `${each} if (m[j]) p[j] = x[j];`);
    case 'scatter':
      return fn('void', `${t} *p, ${ix} i, ${v} x`, `${each} p[i[j]] = x[j];`);
    case 'scatterMasked':
      return fn('void', `${t} *p, ${ix} i, ${v} x, ${m} m`, `${each} if (m[j]) p[i[j]] = x[j];`);
    // near arguments first, in vector code; the rare far ones lane by lane
    case 'sin':
    case 'cos': {
      const shift = op === 'sin' ? 0 : 1;
      const near = op === 'sin' ? 'a[j] < 2e-4f ? x[j] : fv_trigNear(x[j], 0)' : 'fv_trigNear(x[j], 1)';
      const far = `if (!(a[j] < 0x1p20f)) r[j] = fv_trigFar(x[j], ${shift});`;
      const v32 = `f32x${lanes}`;
      return {
        before: [
          ['trigNear', 1],
          ['trigFar', 1],
          ['abs_f32', lanes],
        ],
        text: `static ${v32} fv_${op}_x${lanes}(${v32} x) { ${v32} r, a = fv_abs_f32_x${lanes}(x); ${each} r[j] = ${near}; int far = 0; ${each} far |= !(a[j] < 0x1p20f); if (far) ${each} ${far} return r; }`,
      };
    }
    default:
      return undefined;
  }
};

const letters = ['x', 'y', 'z'];

/** Nothing but the scalar types, to begin with. */
export const prelude = (): Prelude => {
  const lanesKnown = new Set<number>();
  const functions = new Map<string, string>();
  const types = (lanes: number): void => {
    if (lanes > 1) lanesKnown.add(lanes);
  };
  const scalar = (name: string): string => {
    const id = `fv_${name}`;
    const s = scalars[name];
    if (functions.has(id) || !s) return id;
    s.uses?.forEach(scalar);
    functions.set(id, `FV_INLINE ${s.result} ${id}(${s.args.map((t, i) => `${t} ${letters[i]}`).join(', ')}) { ${s.body} }`);
    return id;
  };
  const use = (name: string, lanes: number): string => {
    if (lanes === 1) return scalar(name);
    types(lanes);
    const id = `fv_${name}_x${lanes}`;
    if (functions.has(id)) return id;
    const w = written(name, lanes);
    w?.before?.forEach(([n, l]) => use(n, l));
    const plain = w ? w.text : lifted(name, lanes);
    const own = native(name, lanes, expOf('r[j]'));
    // the same head, with the other body
    const head = plain.slice(0, plain.indexOf('{'));
    functions.set(id, own ? `#if ${own.condition}\n${head}{ ${own.body} }\n#else\n${plain}\n#endif` : plain);
    return id;
  };
  const lifted = (name: string, lanes: number): string => {
    scalar(name);
    const s = scalars[name] as (typeof scalars)[string];
    const args = s.args.map((t, i) => `${t}x${lanes} ${letters[i]}`).join(', ');
    const call = `fv_${name}(${s.args.map((_, i) => `${letters[i]}[j]`).join(', ')})`;
    return `static inline ${s.result}x${lanes} fv_${name}_x${lanes}(${args}) { ${s.result}x${lanes} r; for (int j = 0; j < ${lanes}; j++) r[j] = ${call}; return r; }`;
  };
  const convert: Prelude['convert'] = (from, to, lanes, x) => {
    if (from === to) return x;
    types(lanes);
    const target = ctype(to, lanes);
    const reshape = (v: string): string => (lanes === 1 ? `(${target})${v}` : `__builtin_convertvector(${v}, ${target})`);
    if (to === 'f16' || to === 'bf16') return `${use(`f32_${to}`, lanes)}(${convert(from, 'f32', lanes, x)})`;
    if (to === 'bool') return lanes > 1 && from === 'index' ? `__builtin_convertvector(${x} != 0, i32x${lanes})` : `(${x} != 0)`;
    if (from === 'bool') return to === 'i32' ? `(${x} & 1)` : lanes > 1 && to === 'u32' ? `(${target})(${x} & 1)` : reshape(`(${x} & 1)`);
    if (from === 'f32') return `${use(`f32_${scalarOf(to)}`, lanes)}(${x})`;
    if (lanes > 1 && to !== 'f32' && to !== 'index' && from !== 'index') return `(${target})${x}`;
    return reshape(x);
  };
  return {
    types,
    use,
    convert,
    // minus zero vector: keeps the sign of -0, and compilers see a broadcast
    splat: (dtype, lanes, x) => {
      types(lanes);
      // C promotes 16 bits to int, which would not fit the vector
      const scalar = dtype === 'bool' ? `-(${x})` : scalarOf(dtype) === 'u16' ? `(u16)${x}` : x;
      return `(${scalar} - (${ctype(dtype, lanes)}){})`;
    },
    pieces: () => [scalarTypes, ...[...lanesKnown].sort((a, b) => a - b).map(vectorTypes), macros, ...functions.values()],
  };
};
