/** Every expression of K, as a backend runs it, against the kernel interpreter: equal bits, except where a tolerance is named. */
import type { HostData } from '../../compiler/graph/types.ts';
import * as e from '../../compiler/kernel/expr.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { numberOf } from '../../compiler/kernel/scalar.ts';
import type { Expr, KBuffer, Kernel, KType, Stmt } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { hostArray } from '../cpu/helper.ts';

const total = 128;
const specials = [
  0,
  -0,
  1,
  -1,
  0.5,
  -2.5,
  3.5,
  -7,
  1e-40,
  -1e-45,
  1.5e-39,
  3.4e38,
  -3.4e38,
  65504,
  65519,
  65520,
  1e-5,
  -6e-8,
  3e9,
  -3e9,
  5e9,
  1e19,
  2 ** 31,
  -(2 ** 31),
  2.75,
];
const floats = (seed: number): Float32Array =>
  Float32Array.from({ length: total }, (_, i) => {
    const j = (i * 37 + seed * 11) % total;
    const odd = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    return j < 3
      ? (odd[j] as number)
      : j < 3 + specials.length
        ? (specials[j - 3] as number)
        : Math.sin(j * 12.9898 + seed) * 2 ** ((j % 23) - 11);
  });
const ints = (seed: number): Int32Array =>
  Int32Array.from({ length: total }, (_, i) => (i % 9 === 0 ? i - 40 : (Math.imul(i + 1, 0x9e3779b1) + seed * 977) | 0));
const nonzero = <T extends Int32Array | Uint32Array>(a: T): T => a.map((x) => x || 3) as T;
const inputs: Record<string, HostData> = {
  x: floats(1),
  y: floats(5),
  z: floats(9),
  p: Float32Array.from({ length: total }, (_, i) => 0.01 + Math.abs(Math.sin(i * 7.7)) * 20),
  q: Float32Array.from({ length: total }, (_, i) => Math.sin(i * 3.3 + 0.1) * 2 ** ((i % 9) - 4)),
  i: ints(1),
  j: nonzero(ints(4)),
  u: new Uint32Array(ints(2).buffer.slice(0)),
  w: nonzero(new Uint32Array(ints(3).buffer.slice(0))),
  s: Uint32Array.from({ length: total }, (_, i) => i % 40),
  b: Uint8Array.from({ length: total }, (_, i) => ((i * 5) % 3) & 1),
  c: Uint8Array.from({ length: total }, (_, i) => (i >> 1) & 1),
  h: Uint16Array.from({ length: total }, (_, i) => (Math.imul(i + 3, 0x9e3779b1) >>> 9) & 0xffff),
  g: Uint16Array.from({ length: total }, (_, i) => (Math.imul(i + 7, 0x85ebca6b) >>> 13) & 0xffff),
  at: Int32Array.from({ length: total }, (_, i) => (i * 29 + 3) % total),
};
const dtypes: Record<string, Exclude<KType, 'index'>> = {
  x: 'f32',
  y: 'f32',
  z: 'f32',
  p: 'f32',
  q: 'f32',
  i: 'i32',
  j: 'i32',
  u: 'u32',
  w: 'u32',
  s: 'u32',
  b: 'bool',
  c: 'bool',
  h: 'f16',
  g: 'bf16',
  at: 'i32',
};

interface Case {
  readonly name: string;
  readonly value: Expr;
  /** Units in the last place that the result may be off; -1: exact, but the sign of zero is free. */
  readonly ulps: number;
  readonly mask?: Expr;
  readonly index?: Expr;
}

/** One case for every operation at `lanes` lanes; `here` is the index of the first lane. */
const cases = (lanes: number, here: Expr): readonly Case[] => {
  const out: Case[] = [];
  const add = (name: string, value: Expr, ulps = 0, more: Partial<Case> = {}): void => void out.push({ name, value, ulps, ...more });
  const v = (n: string, mask?: Expr): Expr => e.load({ name: n, dtype: dtypes[n] as KType }, here, lanes, mask);
  const [x, y, z, i, j, u, w, s, b, c] = ['x', 'y', 'z', 'i', 'j', 'u', 'w', 's', 'b', 'c'].map((n) => v(n)) as [
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
  ];
  const small = e.mul(v('p'), 0.3);
  const lane = lanes === 1 ? here : e.ramp(here, lanes);
  for (const op of ['neg', 'sqrt', 'abs', 'sign', 'floor'] as const) add(op, e.unary(op, x));
  for (const op of ['neg', 'abs', 'sign', 'not'] as const) {
    add(`${op}_i32`, e.unary(op, i));
    add(`${op}_u32`, e.unary(op, u));
  }
  for (const op of ['exp', 'log', 'sin', 'cos', 'tanh', 'erf', 'rsqrt'] as const) add(op, e.unary(op, x), 2);
  for (const op of ['add', 'sub', 'mul', 'div', 'rem'] as const) {
    add(op, e.binary(op, x, y));
    add(`${op}_i32`, e.binary(op, i, j));
    add(`${op}_u32`, e.binary(op, u, w));
  }
  for (const op of ['max', 'min'] as const) {
    add(op, e.binary(op, x, y), -1);
    add(`${op}_i32`, e.binary(op, i, j));
    add(`${op}_u32`, e.binary(op, u, w));
    add(`${op}_index`, e.cast(e.binary(op, e.cast(s, 'index'), lane), 'i32'));
  }
  add('pow', e.binary('pow', x, y), 1);
  add('pow_positive', e.binary('pow', v('p'), e.sub(small, 3)), 1);
  for (const op of ['and', 'or', 'xor'] as const) {
    add(`${op}_i32`, e.binary(op, i, j));
    add(`${op}_u32`, e.binary(op, u, w));
    add(`${op}_bool`, e.binary(op, b, c));
  }
  add('not_bool', e.not(b));
  for (const op of ['shiftLeft', 'shiftRight'] as const) {
    add(op, e.binary(op, u, s));
    add(`${op}_13`, e.binary(op, u, 13));
    add(`${op}_32`, e.binary(op, u, 32));
  }
  add('div_i32_7', e.div(i, 7));
  add('rem_i32_minus_7', e.rem(i, -7));
  add('div_index', e.cast(e.div(lane, 7), 'i32'));
  add('rem_index', e.cast(e.rem(lane, e.add(e.cast(s, 'index'), 1)), 'i32'));
  for (const cmp of ['eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const) {
    add(`${cmp}_f32`, e.compare(cmp, x, y));
    add(`${cmp}_i32`, e.compare(cmp, i, e.splat(e.lane(e.splat(e.i32(5), Math.max(2, lanes)), 1), lanes)));
    add(`${cmp}_u32`, e.compare(cmp, u, w));
    add(`${cmp}_index`, e.compare(cmp, lane, 61));
    add(`${cmp}_tail`, e.compare(cmp, lane, e.add(e.cast(e.load({ name: 's', dtype: 'u32' }, 3), 'index'), 40)));
  }
  add('eq_bool', e.compare('eq', b, c));
  add('select_f32', e.select(b, x, y));
  add('select_i32', e.select(c, i, j));
  add('select_u32', e.select(c, u, w));
  add('select_bool', e.select(b, e.lt(x, y), c));
  add('select_index', e.cast(e.select(b, lane, e.cast(s, 'index')), 'i32'));
  // the interpreter's fma sums in double: two roundings may differ from one by a unit
  add('fma', e.fma(x, y, z), 1);
  // a machine may flush subnormal factors: these have none
  const pairs = (n: string, from: Expr, count: number): Expr => e.cast(e.load({ name: n, dtype: 'f32' }, from, count), 'bf16');
  const inside = e.min(here, total - 2 * lanes);
  add('dot2', e.dot2(pairs('p', inside, 2 * lanes), pairs('q', inside, 2 * lanes), x));
  const words = e.bitcast(pairs('q', inside, 2 * lanes), 'u32');
  add('bits_bf16_u32', words);
  add('bits_u32_bf16', e.dot2(e.bitcast(e.constant(0x3f803f80, 'u32', lanes), 'bf16'), e.bitcast(words, 'bf16'), y));
  add('dot2_pair', e.dot2(pairs('p', e.rem(here, 7), 2), pairs('q', inside, 2 * lanes), y));
  const numbers = { f32: x, i32: i, u32: u, bool: b } as const;
  for (const [from, value] of Object.entries(numbers))
    for (const to of ['f32', 'i32', 'u32', 'bool', 'f16', 'bf16'] as const) if (from !== to) add(`${from}_as_${to}`, e.cast(value, to));
  for (const [from, value] of [
    ['f16', v('h')],
    ['bf16', v('g')],
  ] as const)
    for (const to of ['f32', 'i32', 'bool', 'f16', 'bf16'] as const) if (from !== to) add(`${from}_as_${to}`, e.cast(value, to));
  add('index_as_f32', e.cast(lane, 'f32'));
  add('bool_as_index', e.cast(e.cast(b, 'index'), 'i32'));
  add('f32_as_index', e.cast(e.cast(v('p'), 'index'), 'i32'));
  add('index_as_bool', e.cast(lane, 'bool'));
  add('bits_f32_u32', e.bitcast(v('p'), 'u32'));
  add('bits_u32_f32', e.bitcast(e.bitcast(small, 'i32'), 'f32'));
  add('bits_i32_u32', e.bitcast(i, 'u32'));
  add('copy_bf16', v('g'));
  add('constant', e.select(b, e.f32(-0, lanes), e.f32(0.1, lanes)));
  add('constant_bf16', e.cast(e.select(b, e.f32(Number.NEGATIVE_INFINITY, lanes), e.f32(1 / 3, lanes)), 'bf16'));
  const gathered = e.cast(v('at'), 'index');
  const mask = e.compare('lt', lane, 77);
  add('gather', e.load({ name: 'x', dtype: 'f32' }, gathered, lanes));
  add('gather_bool', e.load({ name: 'b', dtype: 'bool' }, gathered, lanes));
  // masked-off lanes may have any address
  add('gather_masked', e.load({ name: 'i', dtype: 'i32' }, e.select(c, gathered, e.splat(e.index(2e9), lanes)), lanes, c));
  for (const n of ['x', 'i', 'u', 'b', 'g']) add(`masked_${n}`, v(n, n === 'b' ? mask : c));
  for (const n of ['x', 'u', 'c', 'h']) {
    add(`store_masked_${n}`, v(n), 0, { mask: b });
    add(`scatter_${n}`, v(n), 0, { index: gathered });
    add(`scatter_masked_${n}`, v(n), 0, { index: gathered, mask: b });
  }
  if (lanes > 1) {
    const one = e.add(here, 0);
    for (const op of ['add', 'max', 'min'] as const) {
      add(`across_${op}_f32`, e.across(op, v('p')), 0, { index: one });
      add(`across_${op}_i32`, e.across(op, i), 0, { index: one });
      add(`across_${op}_u32`, e.across(op, u), 0, { index: one });
      add(`across_${op}_index`, e.cast(e.across(op, lane), 'i32'), 0, { index: one });
    }
    for (const half of ['low', 'high'] as const) {
      add(`zip_${half}_f32`, e.zip(half, x, y));
      add(`zip_${half}_u32`, e.zip(half, u, v('w')));
      add(`zip_${half}_bool`, e.zip(half, b, e.lt(x, y)));
    }
    add('across_nan', e.across('max', x), 0, { index: one });
    add('lane_bool', e.lane(e.lt(x, y), lanes - 1), 0, { index: one });
    add('splat_masked_bf16', e.splat(e.load({ name: 'g', dtype: 'bf16' }, 3, 1, e.lt(here, 40)), lanes));
    add('ramp_i32', e.ramp(e.lane(i, 0), lanes));
  }
  return out;
};

const kernelOf = (lanes: number, list: readonly Case[]): Kernel => {
  const blocks = lanes === 32 ? 2 : 4;
  const per = total / blocks;
  const here = e.add(e.mul(e.block(0), per), e.ref('k', 'index'));
  const used = Object.keys(inputs);
  const buffers: KBuffer[] = [
    ...used.map((n): KBuffer => ({ name: n, dtype: dtypes[n] as KBuffer['dtype'], size: total, access: 'read' })),
    ...list.map((c): KBuffer => ({ name: `out_${c.name}`, dtype: c.value.dtype as KBuffer['dtype'], size: total, access: 'write' })),
  ];
  const body: Stmt[] = [
    { s: 'let', name: 'here', value: here },
    ...list.map((c): Stmt => {
      const store = { s: 'store', to: `out_${c.name}`, index: c.index ?? e.ref('here', 'index'), value: c.value } as const;
      return c.mask ? { ...store, mask: c.mask } : store;
    }),
  ];
  const kernel: Kernel = {
    name: `all_${lanes}`,
    buffers,
    grid: [blocks, 1, 1],
    threads: 1,
    body: [{ s: 'for', name: 'k', from: e.index(0), to: e.index(per), step: lanes, kind: 'serial', body }],
  };
  return verifyKernel(kernel);
};

const bits = new DataView(new ArrayBuffer(4));
/** Floats in their order as integers. */
const rank = (x: number): number => {
  bits.setFloat32(0, x);
  const n = bits.getInt32(0);
  return n < 0 ? -(n & 0x7fffffff) : n;
};
const agree = (got: number, want: number, ulps: number): boolean =>
  Object.is(got, want) || (ulps !== 0 && (got === want || Math.abs(rank(got) - rank(want)) <= ulps));

/** What runs kernels on buffers by name: the contents of every buffer that they write. */
type Run = (kernels: readonly Kernel[], data: Readonly<Record<string, HostData>>) => Promise<Record<string, HostData>>;

/** What differs, as sentences. `pairs`: the backend has products of bf16 pairs. */
export const differences = async (lanes: number, run: Run, pairs: boolean): Promise<readonly string[]> => {
  const all = cases(lanes, e.ref('here', 'index', 1));
  const list = pairs ? all : all.filter((c) => !/dot2|bf16_u32|u32_bf16/.test(c.name));
  // compile time grows faster than a kernel's length
  const parts = Array.from({ length: Math.ceil(list.length / 24) }, (_, i) => list.slice(i * 24, i * 24 + 24));
  const kernels = parts.map((p) => kernelOf(lanes, p));
  const want: Record<string, HostData> = { ...inputs };
  for (const b of kernels.flatMap((k) => k.buffers)) want[b.name] ??= hostArray(b.dtype, b.size);
  for (const k of kernels) interpretKernel(k, want);
  const got = await run(kernels, inputs);
  const wrong: string[] = [];
  for (const c of list) {
    const [g, w] = [got[`out_${c.name}`] as HostData, want[`out_${c.name}`] as HostData];
    // halves by value: which NaN a NaN becomes is free
    const { dtype } = c.value;
    const value = (x: number): number => (dtype === 'f16' || dtype === 'bf16' ? numberOf(x, dtype) : x);
    for (let n = 0; n < total; n++)
      if (!agree(value(g[n] as number), value(w[n] as number), c.ulps)) wrong.push(`${c.name}[${n}]: ${g[n]}, not ${w[n]}`);
  }
  return wrong;
};
