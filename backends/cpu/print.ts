/**
 * Prints a kernel as one C function that runs blocks lo <= b < hi of the flattened grid (x fastest). Vectors are GCC / Clang
 * vector types, so the text is the same on every machine; what C lacks for them (masked and gathered memory, fma,
 * transcendental functions) is in the prelude, of which only the used part is printed. Buffers are not `restrict`: the
 * plan may write a result in place of an operand. Nodes that a statement uses twice become locals: K expressions are a
 * DAG, and printed as a tree they could grow exponentially.
 *
 *   store c[at] = add(load.16 a[at], load.16 b[at])
 *   *(f32x16u *)(c + at) = (*(const f32x16u *)(a + at) + *(const f32x16u *)(b + at));
 */
import { FoveaError } from '../../compiler/error.ts';
import { identifiers } from '../../compiler/kernel/names.ts';
import { operators, uniformValue } from '../../compiler/kernel/symbols.ts';
import type { Expr, Kernel, Stmt } from '../../compiler/kernel/types.ts';
import { binary, block, blockOf, branch, line, print, statement, type Written } from '../../compiler/kernel/written.ts';
import { ctype, element, literal, scalarOf } from '../native/ctypes.ts';
import { type Prelude, prelude } from './prelude.ts';

/** The name of the function, unless another is asked for; the toolchain defines it as a macro. */
export const kernelSymbol = 'FV_KERNEL';

const reserved = new Set(
  'auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof bufs lo hi f32 f64 i32 u32 i64 u64 u16 u8 unix linux'.split(
    ' ',
  ),
);

const legal = (id: string): string => (reserved.has(id) || /^(fv|FV|b|t\d+|[fiu]\d+x\d+u?)(_|$)/.test(id) ? `v_${id}` : id);

interface Context extends Written {
  readonly fns: Prelude;
  /** Buffers that are written past the caches. */
  readonly nontemporal: ReadonlySet<string>;
}

/** ramp(base) against splat(n) is 0, 1, 2, ... against n - base, which fits i32 lanes once clamped. */
const tail = (e: Expr & { readonly k: 'compare' }, c: Context): string | undefined => {
  if (e.lanes === 1 || e.x.dtype !== 'index' || e.x.k !== 'ramp') return undefined;
  const n = e.y.k === 'splat' ? print(e.y.x, c) : e.y.k === 'const' ? literal(e.y.value, 'index') : undefined;
  return n && `${c.fns.use('iota', e.lanes)}() ${operators[e.cmp]} ${c.fns.use('tail', e.lanes)}(${n} - ${print(e.x.base, c)})`;
};

const typedOps = new Set(['max', 'min', 'sign', 'abs', 'rem', 'div']);

const printUnary = (e: Expr & { readonly k: 'unary' }, c: Context): string => {
  const x = print(e.x, c);
  if (e.op === 'neg') return `(-${x})`;
  if (e.op === 'not') return e.dtype === 'bool' && e.lanes === 1 ? `(!${x})` : `(~${x})`;
  if (e.dtype !== 'f32' && (e.op === 'floor' || (e.op === 'abs' && e.dtype === 'u32'))) return x;
  return `${c.fns.use(typedOps.has(e.op) ? `${e.op}_${scalarOf(e.dtype)}` : e.op, e.lanes)}(${x})`;
};

const printCast = (e: Expr & { readonly k: 'cast' }, c: Context): string => {
  const [from, to, x] = [e.x.dtype, e.dtype, print(e.x, c)];
  if (from === to) return x;
  if (from === 'bf16' || from === 'f16') {
    const wide = `${c.fns.use(`${from}_f32`, e.lanes)}(${x})`;
    return to === 'f32' ? wide : c.fns.convert('f32', to, e.lanes, wide);
  }
  if (to === 'bf16' || to === 'f16')
    return `${c.fns.use(`f32_${to}`, e.lanes)}(${from === 'f32' ? x : c.fns.convert(from, 'f32', e.lanes, x)})`;
  return c.fns.convert(from, to, e.lanes, x);
};

const printLoad = (e: Expr & { readonly k: 'load' }, c: Context): string => {
  const [p, i, t] = [c.name(e.from), print(e.index, c), element(e.dtype)];
  const bool = e.dtype === 'bool';
  if (e.lanes === 1) {
    const value = bool ? `(${p}[${i}] != 0)` : `${p}[${i}]`;
    return e.mask ? `(${print(e.mask, c)} ? ${value} : 0)` : value;
  }
  const gather = e.index.lanes > 1;
  if (!gather && !e.mask) {
    const value = `*(const ${t}x${e.lanes}u *)(${p} + ${i})`;
    c.fns.types(e.lanes);
    return bool ? `(__builtin_convertvector(${value}, i32x${e.lanes}) != 0)` : value;
  }
  const mask = e.mask ? [print(e.mask, c)] : [];
  const at = gather ? [p, c.fns.convert(e.index.dtype, 'index', e.lanes, i)] : [`${p} + ${i}`];
  const value = `${c.fns.use(`${gather ? 'gather' : 'load'}${e.mask ? 'Masked' : ''}_${t}`, e.lanes)}(${[...at, ...mask].join(', ')})`;
  return bool ? `(__builtin_convertvector(${value}, i32x${e.lanes}) != 0)` : value;
};

const printZip = (e: Expr & { readonly k: 'zip' }, c: Context): string => {
  const first = e.half === 'low' ? 0 : e.lanes / 2;
  const order = Array.from({ length: e.lanes }, (_, i) => (i % 2) * e.lanes + first + (i >> 1));
  return `__builtin_shufflevector(${print(e.x, c)}, ${print(e.y, c)}, ${order.join(', ')})`;
};

const text = (e: Expr, c: Context): string => {
  switch (e.k) {
    case 'const':
      return e.lanes === 1 ? literal(e.value, e.dtype) : c.fns.splat(e.dtype, e.lanes, literal(e.value, e.dtype));
    case 'ref':
      return c.name(e.name);
    case 'block':
      return `b_${e.axis}`;
    case 'place':
      throw new Error('internal: matrix units in C');
    case 'thread':
      return '0L';
    case 'unary':
      return printUnary(e, c);
    case 'binary': {
      const [x, y] = [print(e.x, c), print(e.y, c)];
      return binary(e, x, y, scalarOf(e.dtype), (name) => `${c.fns.use(name, e.lanes)}(${x}, ${y})`);
    }
    case 'compare': {
      const short = tail(e, c);
      if (short) return `(${short})`;
      const plain = `(${print(e.x, c)} ${operators[e.cmp]} ${print(e.y, c)})`;
      return e.lanes > 1 && e.x.dtype === 'index' ? `__builtin_convertvector(${plain}, i32x${e.lanes})` : plain;
    }
    case 'select': {
      const [cond, x, y] = [print(e.c, c), print(e.x, c), print(e.y, c)];
      return e.lanes === 1 ? `(${cond} ? ${x} : ${y})` : `${c.fns.use(`select_${scalarOf(e.dtype)}`, e.lanes)}(${cond}, ${x}, ${y})`;
    }
    case 'fma':
      return `${c.fns.use('fma', e.lanes)}(${print(e.x, c)}, ${print(e.y, c)}, ${print(e.z, c)})`;
    case 'dot2': {
      // pairs as 32-bit words; one pair for all lanes is a word in all lanes
      const words = (x: Expr): string => {
        const n = x.lanes / 2;
        // what was made from words, as words
        const word = x.k === 'bitcast' ? print(x.x, c) : `(${ctype('u32', n)})(${print(x, c)})`;
        c.fns.types(x.lanes);
        return n < e.lanes ? c.fns.splat('u32', e.lanes, word) : word;
      };
      return `${c.fns.use('dot2', e.lanes)}(${words(e.x)}, ${words(e.y)}, ${print(e.z, c)})`;
    }
    case 'cast':
      return printCast(e, c);
    case 'bitcast':
      if (e.dtype === e.x.dtype) return print(e.x, c);
      if (e.x.dtype === 'bf16' || e.dtype === 'bf16') {
        c.fns.types(Math.max(e.lanes, e.x.lanes));
        return `(${ctype(e.dtype, e.lanes)})(${print(e.x, c)})`;
      }
      return e.lanes === 1
        ? `${c.fns.use(`bits_${scalarOf(e.x.dtype)}_${scalarOf(e.dtype)}`, 1)}(${print(e.x, c)})`
        : `(${ctype(e.dtype, e.lanes)})${print(e.x, c)}`;
    case 'splat':
      return e.lanes === 1 ? print(e.x, c) : c.fns.splat(e.dtype, e.lanes, print(e.x, c));
    case 'ramp':
      return e.lanes === 1 ? print(e.base, c) : `${c.fns.use(`ramp_${scalarOf(e.dtype)}`, e.lanes)}(${print(e.base, c)})`;
    case 'lane':
      if (e.x.lanes === 1) return print(e.x, c);
      return e.dtype === 'bool' ? `((${print(e.x, c)})[${e.i}] != 0)` : `(${print(e.x, c)})[${e.i}]`;
    case 'zip':
      return printZip(e, c);
    case 'across':
      return e.x.lanes === 1 ? print(e.x, c) : `${c.fns.use(`across_${e.op}_${scalarOf(e.dtype)}`, e.x.lanes)}(${print(e.x, c)})`;
    case 'load':
      return printLoad(e, c);
  }
};

/** A vector that fills a line of a cache, or half of one: less is combined to lines too seldom. */
const whole = (x: Expr): boolean => (x.dtype === 'f32' || x.dtype === 'i32' || x.dtype === 'u32') && x.lanes >= 8;

const printStore = (s: Stmt & { readonly s: 'store' }, c: Context): void => {
  const [p, t, lanes] = [c.name(s.to), element(s.value.dtype), s.value.lanes];
  statement(c, s.mask ? [s.index, s.value, s.mask] : [s.index, s.value], ([i, raw, mask]) => {
    if (lanes === 1) return line(c, `${mask ? `if (${mask}) ` : ''}${p}[${i}] = ${raw};`);
    c.fns.types(lanes);
    const value = s.value.dtype === 'bool' ? `__builtin_convertvector(${raw} & 1, u8x${lanes})` : raw;
    const scatter = s.index.lanes > 1;
    const nontemporal = c.nontemporal.has(s.to) && whole(s.value);
    if (!scatter && !mask && !nontemporal) return line(c, `*(${t}x${lanes}u *)(${p} + ${i}) = ${value};`);
    const how = `${scatter ? 'scatter' : 'store'}${mask ? 'Masked' : scatter ? '' : 'Nontemporal'}`;
    const at = scatter ? `${p}, ${c.fns.convert(s.index.dtype, 'index', lanes, i as string)}` : `${p} + ${i}`;
    line(c, `${c.fns.use(`${how}_${t}`, lanes)}(${at}, ${value}${mask ? `, ${mask}` : ''});`);
  });
};

/** Holds a loop: only innermost loops are candidates of the auto-vectoriser. */
const loops = (s: Stmt): boolean => s.s === 'for' || (s.s === 'if' && (s.body.some(loops) || s.otherwise.some(loops)));

const printFor = (s: Stmt & { readonly s: 'for' }, c: Context): void =>
  statement(c, [s.from, s.to], ([from, to]) => {
    const i = c.name(s.name);
    const t = scalarOf(s.from.dtype);
    const [first, last] = [uniformValue(s.from), uniformValue(s.to)];
    const trips = first !== undefined && last !== undefined ? Math.max(1, Math.ceil((last - first) / s.step)) : 4;
    // the bound is evaluated once: the body may write what it reads
    const simple = last !== undefined || s.to.k === 'ref';
    if (!simple) line(c, `const ${t} ${i}_end = ${to};`);
    if (s.kind === 'unroll') line(c, `FV_UNROLL(${Math.min(trips, 1024)})`);
    line(c, `for (${t} ${i} = ${from}; ${i} < ${simple ? to : `${i}_end`}; ${i} += ${s.step}) {`);
    if (s.kind === 'serial' && !s.body.some(loops)) line(c, '  FV_AS_WRITTEN');
    block(c, s.body);
    line(c, '}');
  });

const printStmt = (s: Stmt, c: Context): void => {
  switch (s.s) {
    case 'let':
    case 'var':
      if (s.value.lanes > 1) c.fns.types(s.value.lanes);
      statement(c, [s.value], ([v]) =>
        line(c, `${s.s === 'let' ? 'const ' : ''}${ctype(s.value.dtype, s.value.lanes)} ${c.name(s.name)} = ${v};`),
      );
      break;
    case 'set':
      statement(c, [s.value], ([v]) => line(c, `${c.name(s.name)} = ${v};`));
      break;
    case 'alloc':
      line(c, `${element(s.dtype)} ${c.name(s.name)}[${Math.max(1, s.size)}] __attribute__((aligned(64)));`);
      break;
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
      statement(c, [s.index], ([i]) => line(c, `__builtin_prefetch(${c.name(s.from)} + ${i});`));
      break;
    case 'barrier':
      // one thread a block: nobody to wait for
      break;
    case 'fragment':
    case 'mma':
    case 'copy':
    case 'commit':
    case 'wait':
    case 'tensorMap':
    case 'mbarrier':
    case 'arrive':
    case 'expect':
    case 'await':
    case 'fetch':
    case 'wgmma':
    case 'fence':
    case 'registers':
      throw new Error('internal: matrix units in C');
    case 'exchange':
      throw new Error('internal: one thread a block has nobody to exchange with');
  }
};

/** The translation unit of a kernel: the used part of the prelude, then the function. Throws FV0201 for threads > 1. */
export const printC = (k: Kernel, symbol: string = kernelSymbol): string => {
  const [head, body] = printParts(k, symbol);
  return [...head, '', body].join('\n');
};

/** As printC, pieces of the prelude and function apart: several kernels may share one prelude, and `explain` shows the function only. */
export const printParts = (k: Kernel, symbol: string = kernelSymbol): readonly [prelude: readonly string[], kernel: string] => {
  if (k.threads !== 1) throw new FoveaError('FV0201', `kernel ${k.name}: ${k.threads} threads a block; the C printer takes 1`);
  const nontemporal = new Set(k.buffers.filter((b) => b.nontemporal).map((b) => b.name));
  const c: Context = {
    name: identifiers(legal, '_'),
    fns: prelude(),
    nontemporal,
    lines: [],
    locals: new Map(),
    indent: 1,
    count: 0,
    text: (e) => text(e, c),
    declare: (e) => {
      if (e.lanes > 1) c.fns.types(e.lanes);
      return `const ${ctype(e.dtype, e.lanes)}`;
    },
    statement: (s) => printStmt(s, c),
  };
  k.buffers.forEach((b, i) => {
    line(c, `${b.access === 'read' ? 'const ' : ''}${element(b.dtype)} *const ${c.name(b.name)} = bufs[${i}];`);
  });
  line(c, 'for (i64 b = lo; b < hi; b++) {');
  c.indent++;
  const [b0, b1, b2] = blockOf(k, 'b', 'L');
  line(c, `const i64 b_0 = ${b0}, b_1 = ${b1}, b_2 = ${b2};`);
  c.indent--;
  block(c, k.body);
  line(c, '}');
  // stores past the caches come in no order: all of them, before anybody is told that the blocks are done
  if (nontemporal.size > 0) line(c, 'FV_FENCE');
  const fn = [`void ${symbol}(void *const *bufs, i64 lo, i64 hi) {`, ...c.lines, '}', ''].join('\n');
  return [c.fns.pieces(), fn];
};
