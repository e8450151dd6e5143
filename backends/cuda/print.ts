/**
 * Prints a kernel as one CUDA C++ function. Vectors of K are small structs of lanes, which the compiler takes apart again; what is a multiple
 * of its own size in memory is read and written at once. Shared arrays have places in one arena. `index` is 32 bits wide unless a buffer is too
 * large. A launch numbers the blocks of all its parts through: the function looks up which part a block belongs to.
 *
 *   store c[at] = add(load.4 a[at], load.4 b[at])
 *   fv_storeWhole<4>(c, at, (fv_loadWhole<4>(a, at) + fv_loadWhole<4>(b, at)));
 */
import { bytesOf, type DType } from '../../compiler/graph/types.ts';
import { divisor, learn } from '../../compiler/kernel/divisors.ts';
import { identifiers } from '../../compiler/kernel/names.ts';
import { operators, uniformValue } from '../../compiler/kernel/symbols.ts';
import type { Expr, Kernel, KType, Stmt } from '../../compiler/kernel/types.ts';
import { binary, block, blockOf, branch, line, print, statement, type Written } from '../../compiler/kernel/written.ts';
import { element as cElement, literal as cLiteral, scalarOf } from '../native/ctypes.ts';

import { type Prelude, prelude } from './prelude.ts';
import { flat, type TensorMap, tensorsOf } from './rows.ts';
import { launchRegisters } from './wgmma.ts';

/** The name of the function, unless another is asked for; who compiles it defines it as a macro. */
export const kernelSymbol = 'FV_KERNEL';

const reserved = new Set(
  'alignas alignof and asm auto bool break case catch char class const constexpr continue decltype default delete do double else enum explicit export extern false float for friend goto if inline int long mutable namespace new not operator or private protected public register return short signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual void volatile while xor f32 f64 i32 u32 i64 u64 u16 u8 parts min max abs sqrt exp log sin cos pow threadIdx blockIdx blockDim gridDim'.split(
    ' ',
  ),
);
const legal = (id: string): string => (reserved.has(id) || /^(fv|FV|b|t\d+)(_|$)/.test(id) ? `v_${id}` : id);

interface Context extends Written {
  readonly fns: Prelude;
  readonly index: 'i32' | 'i64';
  /** What names are multiples of. */
  readonly divisors: Map<string, number>;
  /** Arrays of one thread. */
  readonly registers: Set<string>;
  /** Arrays that are fetched to. */
  readonly fetched: ReadonlySet<string>;
  /** Registers that a thread begins with. */
  readonly launched: number;
  /** Which of the launch's tensors it is. */
  readonly tensor: (s: TensorMap) => string;
  sharedBytes: number;
}

const scalar = (dtype: KType, c: Context): string => (dtype === 'index' ? c.index : dtype === 'bool' ? 'bool' : scalarOf(dtype));
const type = (dtype: KType, lanes: number, c: Context): string =>
  lanes === 1 ? scalar(dtype, c) : `fv_vec<${scalar(dtype, c)}, ${lanes}>`;
const element = (dtype: KType, c: Context): string => (dtype === 'index' ? c.index : cElement(dtype));
const literal = (x: number, dtype: KType, c: Context): string => {
  if (dtype === 'bool') return x === 0 ? 'false' : 'true';
  if (dtype !== 'index') return cLiteral(x, dtype);
  const text = `${Math.trunc(x)}${c.index === 'i64' ? 'LL' : ''}`;
  return x < 0 ? `(${text})` : text;
};
const printUnary = (e: Expr & { readonly k: 'unary' }, c: Context): string => {
  const x = print(e.x, c);
  if (e.op === 'neg') return e.dtype === 'i32' ? `fv_sub(${zero(e, c)}, ${x})` : `(-${x})`;
  if (e.op === 'not') return e.dtype === 'bool' ? `(!${x})` : `(~${x})`;
  if (e.dtype !== 'f32' && (e.op === 'floor' || (e.op === 'abs' && e.dtype === 'u32'))) return x;
  return `${c.fns.use(e.op === 'abs' || e.op === 'sign' ? `${e.op}_${scalar(e.dtype, c)}` : e.op, e.lanes)}(${x})`;
};
const zero = (e: Expr, c: Context): string => (e.lanes === 1 ? literal(0, e.dtype, c) : `fv_splat<${e.lanes}>(${literal(0, e.dtype, c)})`);

const wraps: readonly string[] = ['add', 'sub', 'mul'];
const printBinary = (e: Expr & { readonly k: 'binary' }, c: Context): string => {
  const [x, y] = [print(e.x, c), print(e.y, c)];
  if (e.dtype === 'i32' && wraps.includes(e.op)) return `fv_${e.op}(${x}, ${y})`;
  const done = binary(e, x, y, scalar(e.dtype, c), (name) => `${c.fns.use(name, e.lanes)}(${x}, ${y})`);
  return e.dtype === 'bool' && e.lanes === 1 ? `(bool)${done}` : done;
};

const convert = (from: KType, to: KType, lanes: number, x: string, c: Context): string => {
  if (from === to) return x;
  if (from === 'bf16' || from === 'f16') return convert('f32', to, lanes, `${c.fns.use(`${from}_f32`, lanes)}(${x})`, c);
  if (to === 'bf16' || to === 'f16') return `${c.fns.use(`f32_${to}`, lanes)}(${convert(from, 'f32', lanes, x, c)})`;
  const plain = (v: string): string => (lanes === 1 ? `(${scalar(to, c)})${v}` : `fv_to<${scalar(to, c)}>(${v})`);
  if (from === 'f32' && to !== 'bool')
    return plain(`${c.fns.use(`f32_${to === 'u32' ? 'u32' : to === 'i32' ? 'i32' : 'i64'}`, lanes)}(${x})`);
  return plain(x);
};

/** Whether a vector may be read or written at once. Arrays of a thread are registers: lane by lane. */
const whole = (from: string, dtype: KType, index: Expr, lanes: number, c: Context): boolean =>
  !c.registers.has(from) && lanes * (dtype === 'index' ? 8 : bytesOf[dtype]) <= 16 && divisor(index, c.divisors) % lanes === 0;

const printLoad = (e: Expr & { readonly k: 'load' }, c: Context): string => {
  const [p, i] = [c.name(e.from), print(e.index, c)];
  const bool = e.dtype === 'bool';
  if (e.lanes === 1) {
    const value = bool ? `(${p}[${i}] != 0)` : `(${element(e.dtype, c)})${p}[${i}]`;
    return e.mask ? `(${print(e.mask, c)} ? ${value} : ${zero(e, c)})` : value;
  }
  const gathers = e.index.lanes > 1;
  const name = gathers ? 'fv_gather' : e.mask || !whole(e.from, e.dtype, e.index, e.lanes, c) ? 'fv_load' : 'fv_loadWhole';
  const args = [p, i, ...(e.mask ? [print(e.mask, c)] : [])];
  const value = `${name}${e.mask ? 'Masked' : ''}<${e.lanes}>(${args.join(', ')})`;
  return bool ? `fv_to<bool>(${value})` : value;
};

const text = (e: Expr, c: Context): string => {
  switch (e.k) {
    case 'const':
      return e.lanes === 1 ? literal(e.value, e.dtype, c) : `fv_splat<${e.lanes}>(${literal(e.value, e.dtype, c)})`;
    case 'ref':
      return c.name(e.name);
    case 'block':
      return `b_${e.axis}`;
    case 'thread':
      return 'b_thread';
    case 'place':
      return `fv_${e.axis}s(b_thread)`;
    case 'unary':
      return printUnary(e, c);
    case 'binary':
      return printBinary(e, c);
    case 'compare':
      return `(${print(e.x, c)} ${operators[e.cmp]} ${print(e.y, c)})`;
    case 'select': {
      const [cond, x, y] = [print(e.c, c), print(e.x, c), print(e.y, c)];
      return e.lanes === 1 ? `(${cond} ? ${x} : ${y})` : `fv_select(${cond}, ${x}, ${y})`;
    }
    case 'fma':
      return `${c.fns.use('fma', e.lanes)}(${print(e.x, c)}, ${print(e.y, c)}, ${print(e.z, c)})`;
    case 'cast':
      return convert(e.x.dtype, e.dtype, e.lanes, print(e.x, c), c);
    case 'bitcast':
      if (e.dtype === e.x.dtype) return print(e.x, c);
      if (bytesOf[e.x.dtype as DType] === 2 && e.dtype === 'u32') return `fv_words(${print(e.x, c)})`;
      if (bytesOf[e.dtype as DType] === 2) throw new Error('internal: words as pairs of halves in CUDA');
      return `${c.fns.use(`bits_${scalar(e.x.dtype, c)}_${scalar(e.dtype, c)}`, e.lanes)}(${print(e.x, c)})`;
    case 'splat':
      return e.lanes === 1 ? print(e.x, c) : `fv_splat<${e.lanes}>(${print(e.x, c)})`;
    case 'ramp':
      return e.lanes === 1 ? print(e.base, c) : `fv_ramp<${e.lanes}>(${print(e.base, c)})`;
    case 'lane':
      return e.x.lanes === 1 ? print(e.x, c) : `${print(e.x, c)}.v[${e.i}]`;
    case 'zip':
      return `fv_zip<${e.half === 'low' ? 0 : 1}>(${print(e.x, c)}, ${print(e.y, c)})`;
    case 'across':
      return e.x.lanes === 1 ? print(e.x, c) : `${c.fns.across(e.op, scalar(e.dtype, c))}(${print(e.x, c)})`;
    case 'load':
      return printLoad(e, c);
    case 'dot2':
      throw new Error('internal: products of pairs in CUDA');
  }
};
const printStore = (s: Stmt & { readonly s: 'store' }, c: Context): void => {
  const { lanes, dtype } = s.value;
  statement(c, s.mask ? [s.index, s.value, s.mask] : [s.index, s.value], ([i, x, mask]) => {
    const p = c.name(s.to);
    if (lanes === 1) return line(c, `${mask ? `if (${mask}) ` : ''}${p}[${i}] = ${x};`);
    const value = dtype === 'bool' ? `fv_to<u8>(${x})` : x;
    const name = s.index.lanes > 1 ? 'fv_scatter' : mask || !whole(s.to, dtype, s.index, lanes, c) ? 'fv_store' : 'fv_storeWhole';
    line(c, `${name}${mask ? 'Masked' : ''}<${lanes}>(${p}, ${i}, ${value}${mask ? `, ${mask}` : ''});`);
  });
};

/** Whether statements touch arrays of a thread: registers have no address, so what runs over them is unrolled. */
const touches = (body: readonly Stmt[], c: Context): boolean =>
  body.some((s) => {
    if (s.s === 'for') return touches(s.body, c);
    if (s.s === 'if') return touches(s.body, c) || touches(s.otherwise, c);
    if (s.s === 'store') return c.registers.has(s.to) || reads(s.value, c);
    return 'value' in s && reads(s.value, c);
  });
const reads = (e: Expr, c: Context): boolean =>
  e.k === 'load' ? c.registers.has(e.from) : ['x', 'y', 'z', 'c', 'base'].some((n) => n in e && reads((e as never)[n] as Expr, c));

const printFor = (s: Stmt & { readonly s: 'for' }, c: Context): void =>
  statement(c, [s.from, s.to], ([from, to]) => {
    const i = c.name(s.name);
    const t = scalar(s.from.dtype, c);
    const [first, last] = [uniformValue(s.from), uniformValue(s.to)];
    const trips = first !== undefined && last !== undefined ? Math.max(1, Math.ceil((last - first) / s.step)) : undefined;
    // the bound is evaluated once: the body may write what it reads
    const simple = last !== undefined || s.to.k === 'ref';
    if (!simple) line(c, `const ${t} ${i}_end = ${to};`);
    if (trips !== undefined && trips <= 64 && touches(s.body, c)) line(c, `FV_UNROLL(${trips})`);
    else if (s.kind === 'unroll') line(c, `FV_UNROLL(${Math.min(trips ?? 4, 16)})`);
    line(c, `for (${t} ${i} = ${from}; ${i} < ${simple ? to : `${i}_end`}; ${i} += ${s.step}) {`);
    block(c, s.body);
    line(c, '}');
  });

const printStmt = (s: Stmt, c: Context): void => {
  learn(s, c.divisors);
  switch (s.s) {
    case 'let':
    case 'var':
      statement(c, [s.value], ([v]) =>
        line(c, `${s.s === 'let' ? 'const ' : ''}${type(s.value.dtype, s.value.lanes, c)} ${c.name(s.name)} = ${v};`),
      );
      break;
    case 'set':
      statement(c, [s.value], ([v]) => line(c, `${c.name(s.name)} = ${v};`));
      break;
    case 'alloc': {
      const size = Math.max(1, s.size);
      const t = element(s.dtype, c);
      if (s.space === 'register') {
        c.registers.add(s.name);
        line(c, `${t} ${c.name(s.name)}[${size}];`);
        break;
      }
      // what is fetched to has whole atoms of lines
      if (c.fetched.has(s.name)) c.sharedBytes = Math.ceil(c.sharedBytes / 1024) * 1024;
      line(c, `FV_SHARED(${t}, ${c.name(s.name)}, ${c.sharedBytes}, ${size})`);
      c.sharedBytes += Math.ceil((size * (s.dtype === 'index' ? 8 : bytesOf[s.dtype as DType])) / 128) * 128;
      break;
    }
    case 'store':
      printStore(s, c);
      break;
    case 'for':
      printFor(s, c);
      break;
    case 'if':
      branch(c, s);
      break;
    case 'prefetch':
      break;
    case 'barrier':
      line(c, s.of === 'warp' ? 'FV_WARP_BARRIER();' : 'FV_BARRIER();');
      break;
    case 'fragment':
      statement(c, [s.index], ([at]) =>
        line(c, `const fv_vec<u32, 4> ${c.name(s.name)} = ${c.fns.matrix('fragment')}<${s.turned}>(${c.name(s.from)}, ${at});`),
      );
      break;
    case 'mma':
      statement(c, [s.x, s.y], ([x, y]) => line(c, `${c.fns.matrix(`mma_${s.of}`)}(${c.name(s.name)}, ${x}, ${y});`));
      break;
    case 'copy':
      statement(c, s.count ? [s.at, s.index, s.count] : [s.at, s.index], ([at, from, count]) =>
        line(c, `${c.fns.matrix('copy')}<${s.lanes}>(${c.name(s.to)}, ${at}, ${c.name(s.from)}, ${from}, ${count ?? s.lanes});`),
      );
      break;
    case 'commit':
      line(c, `${c.fns.matrix(s.of === 'products' ? 'commitProducts' : 'commit')}();`);
      break;
    case 'wait':
      line(c, `${c.fns.matrix(s.of === 'products' ? 'waitProducts' : 'wait')}<${s.pending}>();`);
      break;
    case 'fence':
      line(c, `${c.fns.matrix('fence')}();`);
      break;
    case 'registers':
      line(c, `${c.fns.matrix('registers')}<${s.count}, ${s.count > c.launched}>();`);
      break;
    case 'tensorMap':
      line(c, `FV_TENSOR(${c.name(s.name)}, ${c.tensor(s)})`);
      break;
    case 'mbarrier':
      line(c, `FV_SHARED(u64, ${c.name(s.name)}, ${c.sharedBytes}, ${s.size})`);
      line(c, `${c.fns.matrix('mbarrier')}(${c.name(s.name)}, ${s.size}, ${s.arrivals});`);
      c.sharedBytes += Math.ceil(s.size / 16) * 128;
      break;
    case 'arrive':
      statement(c, [s.at.index], ([i]) => line(c, `${c.fns.matrix('arrive')}(${c.name(s.at.name)}, ${i});`));
      break;
    case 'expect':
      statement(c, [s.at.index], ([i]) => line(c, `${c.fns.matrix('expect')}(${c.name(s.at.name)}, ${i}, ${s.bytes});`));
      break;
    case 'await':
      statement(c, [s.at.index, s.parity], ([i, p]) => line(c, `${c.fns.matrix('await')}(${c.name(s.at.name)}, ${i}, ${p});`));
      break;
    case 'fetch':
      statement(c, [s.at, s.on.index, ...s.index], ([at, on, ...index]) =>
        line(c, `${c.fns.matrix('fetch')}(${c.name(s.to)}, ${at}, ${c.name(s.from)}, ${c.name(s.on.name)}, ${on}, ${index.join(', ')});`),
      );
      break;
    case 'wgmma':
      statement(c, ['k' in s.x ? s.x : s.x.index, s.y.index], (at) => {
        const sides = [s.x, s.y].map((l, i) =>
          'k' in l ? at[i] : `${c.fns.matrix('lines')}<${Number(l.turned)}>(${c.name(l.from)}, ${at[i]}, ${l.apart})`,
        );
        const turned = [s.x, s.y].map((l) => Number('turned' in l && l.turned)).join(', ');
        line(c, `${c.fns.matrix(`wgmma_${s.of}`)}<${turned}>(${[...sides, ...s.names.map(c.name)].join(', ')});`);
      });
      break;
    case 'exchange':
      statement(c, [s.value], ([v]) => line(c, `const ${type(s.value.dtype, 1, c)} ${c.name(s.name)} = FV_EXCHANGE(${v}, ${s.by});`));
      break;
  }
};

export interface Printed {
  /** Definitions that the function uses, in order. Several kernels may share one of each. */
  readonly prelude: readonly string[];
  readonly text: string;
  /** Of shared memory that a block takes. */
  readonly sharedBytes: number;
}

/** `parts`: most that a launch of it has, a power of two. */
export const printCuda = (k: Kernel, parts = 1, symbol: string = kernelSymbol): Printed => {
  const index = k.buffers.some((b) => b.size >= 2 ** 31) ? 'i64' : 'i32';
  const tensors = tensorsOf(k);
  const row = parts > 1 ? 'fv_p' : '0';
  const c: Context = {
    fetched: new Set(tensors.length === 0 ? [] : flat(k.body).flatMap((s) => (s.s === 'fetch' ? [s.to] : []))),
    launched: launchRegisters(k.threads),
    tensor: (s) => (parts > 1 ? `${row} * ${tensors.length} + ${tensors.indexOf(s)}` : `${tensors.indexOf(s)}`),
    name: identifiers(legal, '_'),
    fns: prelude(),
    index,
    lines: [],
    divisors: new Map(),
    registers: new Set(),
    locals: new Map(),
    sharedBytes: 0,
    indent: 1,
    count: 0,
    text: (e) => text(e, c),
    declare: (e) => `const ${type(e.dtype, e.lanes, c)}`,
    statement: (s) => printStmt(s, c),
  };
  line(c, `${index} b_all = FV_BLOCK;`);
  if (parts > 1) {
    line(c, 'int fv_p = 0;');
    line(c, `FV_UNROLL(1) for (int fv_s = ${parts / 2}; fv_s >= 1; fv_s /= 2) if (parts.at[fv_p + fv_s - 1].end <= b_all) fv_p += fv_s;`);
    line(c, 'if (fv_p > 0) b_all -= parts.at[fv_p - 1].end;');
  }
  k.buffers.forEach((b, i) => {
    const t = `${b.access === 'read' ? 'const ' : ''}${cElement(b.dtype)}`;
    line(c, `FV_BUFFER(${t}, ${c.name(b.name)}, parts.at[${row}].b[${i}], ${b.size})`);
  });
  blockOf(k, 'b_all').forEach((b, axis) => line(c, `const ${index} b_${axis} = ${b};`));
  line(c, `const ${index} b_thread = FV_THREAD;`);
  c.indent--;
  block(c, k.body);
  const n = k.buffers.length;
  const m = tensors.length * parts;
  const bounds = flat(k.body).some((s) => s.s === 'registers') ? `${k.threads}, 1` : `${k.threads}`;
  const body = [
    `extern "C" __global__ void __launch_bounds__(${bounds}) ${symbol}(FV_PARTS(${n}, ${parts})${m > 0 ? `, FV_TENSORS(${m})` : ''}) {`,
    ...c.lines,
    '}',
    m > 0 ? `FV_EXPORT_TENSORS(${symbol}, ${n}, ${parts}, ${m})` : `FV_EXPORT(${symbol}, ${n}, ${parts})`,
    '',
  ].join('\n');
  return { prelude: c.fns.pieces(), text: body, sharedBytes: c.sharedBytes };
};

/** As one text. */
export const cudaText = (k: Kernel, parts = 1): string => {
  const { prelude: head, text: body } = printCuda(k, parts);
  return [...head, '', body].join('\n');
};
