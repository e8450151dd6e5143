/**
 * Prints a kernel as one WGSL module. Vectors have 2 or 4 lanes; `index` is i32; f16 and bf16 are their bits in a u32, and arithmetic is on
 * f32. A dispatch is of blocks in a row, of which a line has at most 65,535; blocks of kernels that may need more are counted by a uniform.
 *
 *   store c[at] = add(load.4 a[at], load.4 b[at])
 *   let t0 = (vec4<f32>(a[at], a[at + 1], ...) + vec4<f32>(b[at], ...)); c[at] = t0.x; c[at + 1] = t0.y; ...
 */
import { bytesOf, type DType } from '../../compiler/graph/types.ts';
import { repeated } from '../../compiler/kernel/expr.ts';
import { identifiers } from '../../compiler/kernel/names.ts';
import { bitsOf, toBf16, toF16 } from '../../compiler/kernel/scalar.ts';
import { infix, operators, uniformValue } from '../../compiler/kernel/symbols.ts';
import type { Expr, Kernel, KType, Stmt } from '../../compiler/kernel/types.ts';
import { apart, type Bindings, bindingsOf, type Places } from './bindings.ts';
import { legal } from './names.ts';
import { type Prelude, prelude, registerOf, wgslType } from './prelude.ts';

/** Blocks of a line of a dispatch. */
export const lineOfBlocks = 65535;
/** Whether a dispatch may have more lines than one, so that the kernel must know how many blocks there are. */
export const counted = (k: Kernel): boolean => k.grid[0] * k.grid[1] * k.grid[2] > lineOfBlocks;

const components = ['x', 'y', 'z', 'w'];

interface Context {
  readonly name: (name: string) => string;
  readonly fns: Prelude;
  readonly buffers: Bindings['of'];
  readonly shared: string[];
  readonly lines: string[];
  /** Text of the nodes that have a local, valid within one statement. */
  locals: Map<Expr, string>;
  indent: number;
  count: number;
}

const line = (c: Context, s: string): void => {
  c.lines.push('  '.repeat(c.indent) + s);
};

/** Of float32: (2 - 2^-23) 2^127. */
const largest = (2 - 2 ** -23) * 2 ** 127;

const float = (x: number, c: Context): string => {
  const v = Math.fround(x);
  if (Number.isNaN(v)) return `${c.fns.use('nan', 1)}()`;
  if (!Number.isFinite(v)) return v > 0 ? `${c.fns.use('inf', 1)}()` : `(-${c.fns.use('inf', 1)}())`;
  if (v === 0) return Object.is(v, -0) ? '(-0.0f)' : '0.0f';
  let digits = 1;
  // WGSL takes no number past the largest, even where it would be rounded to that
  const taken = (x: number): boolean => Math.fround(x) === v && Math.abs(x) <= largest;
  while (!taken(Number(v.toPrecision(digits)))) digits++;
  const text = `${Number(v.toPrecision(digits))}f`;
  return v < 0 ? `(${text})` : text;
};

const literal = (x: number, dtype: KType, c: Context): string => {
  switch (dtype) {
    case 'f32':
      return float(x, c);
    case 'bf16':
      return `${bitsOf(toBf16(Math.fround(x)), 'bf16')}u`;
    case 'f16':
      return `${bitsOf(toF16(Math.fround(x)), 'f16')}u`;
    case 'bool':
      return x === 0 ? 'false' : 'true';
    case 'u32':
      return `${Math.trunc(x) >>> 0}u`;
    default:
      return x < 0 ? `i32(${Math.trunc(x)})` : `${Math.trunc(x)}i`;
  }
};

/** A name for a node whose lanes are taken apart. */
const local = (e: Expr, c: Context): string => {
  const known = c.locals.get(e) ?? (e.k === 'ref' ? c.name(e.name) : undefined);
  if (known !== undefined) return known;
  const value = text(e, c);
  const id = `t${c.count++}`;
  line(c, `let ${id} = ${value};`);
  c.locals.set(e, id);
  return id;
};
const print = (e: Expr, c: Context): string => c.locals.get(e) ?? text(e, c);
const vector = (dtype: KType, parts: readonly string[]): string => `${wgslType(dtype, parts.length)}(${parts.join(', ')})`;
const printUnary = (e: Expr & { readonly k: 'unary' }, c: Context): string => {
  const x = print(e.x, c);
  const register = registerOf(e.dtype);
  switch (e.op) {
    case 'neg':
      return register === 'u32' ? `(~${x} + ${wgslType('u32', e.lanes)}(1u))` : `(-${x})`;
    case 'not':
      return register === 'bool' ? `(!${x})` : `(~${x})`;
    case 'floor':
      return e.dtype === 'f32' ? `floor(${x})` : x;
    case 'abs':
    case 'sqrt':
      return `${e.op}(${x})`;
    case 'sign':
      return register === 'i32' ? `sign(${x})` : `${c.fns.use(`sign_${register}`, e.lanes)}(${x})`;
    default:
      return `${c.fns.use(e.op, e.lanes)}(${x})`;
  }
};

const printBinary = (e: Expr & { readonly k: 'binary' }, c: Context): string => {
  const [x, y] = [print(e.x, c), print(e.y, c)];
  const known = uniformValue(e.y);
  const register = registerOf(e.dtype);
  const plain = `(${x} ${infix[e.op]} ${y})`;
  const called = (name: string): string => `${c.fns.use(name, e.lanes)}(${x}, ${y})`;
  switch (e.op) {
    case 'div':
    case 'rem':
      if (e.dtype === 'f32') return e.op === 'div' ? plain : called('rem_f32');
      return (known !== undefined && known > 0) || e.dtype === 'index' ? plain : called(`${e.op}_${register}`);
    case 'shiftLeft':
    case 'shiftRight':
      return known !== undefined && known < 32 ? plain : called(e.op);
    case 'pow':
      return called('pow');
    case 'max':
    case 'min':
      return e.dtype === 'f32' ? called(`${e.op}_f32`) : `${e.op}(${x}, ${y})`;
    case 'xor':
      return register === 'bool' ? `(${x} != ${y})` : plain;
    default:
      return plain;
  }
};

const convert = (from: KType, to: KType, lanes: number, x: string, c: Context): string => {
  if (from === to) return x;
  const type = wgslType(to, lanes);
  if (from === 'bf16' || from === 'f16') return convert('f32', to, lanes, `${c.fns.use(`${from}_f32`, lanes)}(${x})`, c);
  if (to === 'bf16' || to === 'f16') return `${c.fns.use(`f32_${to}`, lanes)}(${convert(from, 'f32', lanes, x, c)})`;
  if (to === 'bool') return `(${x} != ${wgslType(from, lanes)}(0))`;
  if (from === 'f32') return `${c.fns.use(`f32_${registerOf(to)}`, lanes)}(${x})`;
  return registerOf(from) === registerOf(to) ? x : `${type}(${x})`;
};

/** Element `i` of a buffer or array, as a value. */
const element = (from: string, i: string, c: Context): string => c.buffers.get(from)?.load(i) ?? `${c.name(from)}[${i}]`;

/** Index of each lane. Indices of masked-off lanes may lie anywhere: reading there is defined, and gives something. */
const places = (index: Expr, lanes: number, c: Context): readonly string[] => {
  if (lanes === 1) return [index.lanes === 1 ? print(index, c) : local(index, c)];
  const at = local(index, c);
  return Array.from({ length: lanes }, (_, k) => (index.lanes > 1 ? `${at}.${components[k]}` : k === 0 ? at : `(${at} + ${k})`));
};

const printLoad = (e: Expr & { readonly k: 'load' }, c: Context): string => {
  const narrow = c.buffers.has(e.from) && bytesOf[e.dtype as DType] < 4;
  // the index occurs twice in what reads a part of a word
  const at = narrow && e.lanes === 1 ? [local(e.index, c)] : places(e.index, e.lanes, c);
  const parts = at.map((i) => element(e.from, i, c));
  const value = parts.length === 1 ? (parts[0] as string) : vector(e.dtype, parts);
  if (!e.mask) return value;
  const zero = `${wgslType(e.dtype, e.lanes)}(${registerOf(e.dtype) === 'bool' ? 'false' : '0'})`;
  return `select(${zero}, ${value}, ${print(e.mask, c)})`;
};

const printAcross = (e: Expr & { readonly k: 'across' }, c: Context): string => {
  let parts = Array.from({ length: e.x.lanes }, (_, k) => `${local(e.x, c)}.${components[k]}`);
  const join = (x: string, y: string): string =>
    e.op === 'add' ? `(${x} + ${y})` : e.dtype === 'f32' ? `${c.fns.use(`${e.op}_f32`, 1)}(${x}, ${y})` : `${e.op}(${x}, ${y})`;
  // halves are combined until one lane is left
  while (parts.length > 1) {
    const half = parts.length / 2;
    parts = parts.slice(0, half).map((x, k) => join(x, parts[k + half] as string));
  }
  return parts[0] as string;
};

const text = (e: Expr, c: Context): string => {
  switch (e.k) {
    case 'const':
      return e.lanes === 1 ? literal(e.value, e.dtype, c) : `${wgslType(e.dtype, e.lanes)}(${literal(e.value, e.dtype, c)})`;
    case 'ref':
      return c.name(e.name);
    case 'block':
      return `b_${e.axis}`;
    case 'place':
      throw new Error('internal: matrix units in WGSL');
    case 'thread':
      return 'b_thread';
    case 'unary':
      return printUnary(e, c);
    case 'binary':
      return printBinary(e, c);
    case 'compare': {
      const [x, y] = [print(e.x, c), print(e.y, c)];
      // whether a number is NaN: a comparison with itself may be assumed to hold
      if (x === y && e.x.dtype === 'f32' && (e.cmp === 'ne' || e.cmp === 'eq'))
        return `${e.cmp === 'eq' ? '!' : ''}${c.fns.use('isnan', e.x.lanes)}(${x})`;
      return `(${x} ${operators[e.cmp]} ${y})`;
    }
    case 'select':
      return `select(${print(e.y, c)}, ${print(e.x, c)}, ${print(e.c, c)})`;
    case 'fma':
      return `fma(${print(e.x, c)}, ${print(e.y, c)}, ${print(e.z, c)})`;
    case 'cast':
      return convert(e.x.dtype, e.dtype, e.lanes, print(e.x, c), c);
    case 'bitcast':
      if (e.dtype === e.x.dtype) return print(e.x, c);
      if (e.dtype === 'bf16' || e.x.dtype === 'bf16') throw new Error('internal: WGSL has no pairs of bf16');
      return `bitcast<${wgslType(e.dtype, e.lanes)}>(${print(e.x, c)})`;
    case 'splat':
      return e.lanes === 1 ? print(e.x, c) : `${wgslType(e.dtype, e.lanes)}(${print(e.x, c)})`;
    case 'ramp': {
      const steps = Array.from({ length: e.lanes }, (_, i) => `${i}`);
      return e.lanes === 1 ? print(e.base, c) : `(${wgslType(e.dtype, e.lanes)}(${print(e.base, c)}) + ${vector(e.dtype, steps)})`;
    }
    case 'lane':
      return e.x.lanes === 1 ? print(e.x, c) : `${local(e.x, c)}.${components[e.i]}`;
    case 'zip': {
      const first = e.half === 'low' ? 0 : e.lanes / 2;
      const of = (i: number): string => `${local(i % 2 === 0 ? e.x : e.y, c)}.${components[first + (i >> 1)]}`;
      return vector(
        e.dtype,
        Array.from({ length: e.lanes }, (_, i) => of(i)),
      );
    }
    case 'across':
      return e.x.lanes === 1 ? print(e.x, c) : printAcross(e, c);
    case 'load':
      return printLoad(e, c);
    case 'dot2':
      throw new Error('internal: WGSL has no products of pairs');
  }
};

/** Names for the nodes that the roots reach by more than one path, then the roots' texts. */
const statement = (c: Context, roots: readonly Expr[], use: (texts: readonly string[]) => void): void => {
  c.locals = new Map();
  for (const e of repeated(roots)) local(e, c);
  use(roots.map((e) => print(e, c)));
  c.locals = new Map();
};

const block = (c: Context, body: readonly Stmt[]): void => {
  c.indent++;
  for (const s of body) printStmt(s, c);
  c.indent--;
};

/** Statements that store lanes at places. */
const stores = (s: Stmt & { readonly s: 'store' }, c: Context): void => {
  const { value, index, mask } = s;
  const { lanes, dtype } = value;
  const b = c.buffers.get(s.to);
  const bytes = b ? bytesOf[dtype as DType] : 4;
  const bits = (x: string): string => (dtype === 'bool' ? `select(${wgslType('u32', lanes)}(0u), ${wgslType('u32', lanes)}(1u), ${x})` : x);
  if (b && bytes < 4) {
    const w = b.parts();
    const group = 4 / bytes;
    const at = local(index, c);
    const raw = lanes === 1 ? bits(print(value, c)) : `t${c.count++}`;
    if (lanes > 1) line(c, `let ${raw} = ${bits(print(value, c))};`);
    if (lanes % group === 0 && index.lanes === 1 && !mask) {
      for (let k = 0; k < lanes; k += group)
        line(c, `${w.all}(${at} + ${k}, ${lanes === group ? raw : `${raw}.${components.slice(k, k + group).join('')}`});`);
      return;
    }
    const on = mask && (lanes === 1 ? print(mask, c) : local(mask, c));
    for (let k = 0; k < lanes; k++) {
      const pick = (x: string, n: number): string => (n === 1 ? x : `${x}.${components[k]}`);
      const place = index.lanes > 1 ? pick(at, lanes) : `${at} + ${k}`;
      line(
        c,
        `${on === undefined ? '' : `if (${pick(on, lanes)}) { `}${w.one}(${place}, ${pick(raw, lanes)});${on === undefined ? '' : ' }'}`,
      );
    }
    return;
  }
  const assign = (i: string, x: string): string => b?.store(i, x) ?? `${c.name(s.to)}[${i}] = ${x};`;
  if (lanes === 1) {
    const done = assign(print(index, c), print(value, c));
    line(c, mask ? `if (${print(mask, c)}) { ${done} }` : done);
    return;
  }
  const [at, x, on] = [places(index, lanes, c), local(value, c), mask && local(mask, c)];
  at.forEach((i, k) => {
    const done = assign(i, `${x}.${components[k]}`);
    line(c, on === undefined ? done : `if (${on}.${components[k]}) { ${done} }`);
  });
};

const printStmt = (s: Stmt, c: Context): void => {
  switch (s.s) {
    case 'let':
    case 'var':
      statement(c, [s.value], ([v]) => line(c, `${s.s} ${c.name(s.name)} = ${v};`));
      break;
    case 'set':
      statement(c, [s.value], ([v]) => line(c, `${c.name(s.name)} = ${v};`));
      break;
    case 'alloc': {
      const declaration = `${c.name(s.name)}: array<${registerOf(s.dtype)}, ${Math.max(1, s.size)}>;`;
      if (s.space === 'shared') c.shared.push(`var<workgroup> ${declaration}`);
      else line(c, `var ${declaration}`);
      break;
    }
    case 'store':
      c.locals = new Map();
      for (const e of repeated(s.mask ? [s.index, s.value, s.mask] : [s.index, s.value])) local(e, c);
      stores(s, c);
      c.locals = new Map();
      break;
    case 'for':
      statement(c, [s.from, s.to], ([from, to]) => {
        const i = c.name(s.name);
        // the bound is evaluated once: the body may write what it reads
        const end = s.to.k === 'const' || s.to.k === 'ref' ? to : `${i}_end`;
        if (end !== to) line(c, `let ${end} = ${to};`);
        line(c, `for (var ${i} = ${from}; ${i} < ${end}; ${i} += ${literal(s.step, s.from.dtype, c)}) {`);
        block(c, s.body);
        line(c, '}');
      });
      break;
    case 'if':
      statement(c, [s.cond], ([cond]) => {
        line(c, `if (${cond}) {`);
        block(c, s.body);
        if (s.otherwise.length > 0) {
          line(c, '} else {');
          block(c, s.otherwise);
        }
        line(c, '}');
      });
      break;
    case 'prefetch':
      break;
    case 'barrier':
      line(c, 'workgroupBarrier();');
      break;
    case 'fragment':
    case 'fold':
    case 'mma':
    case 'copy':
    case 'commit':
    case 'wait':
      throw new Error('internal: matrix units in WGSL');
  }
};

/** `places`: where the buffers lie, each in a place of its own unless given. Entry point `main`. */
export const printWgsl = (k: Kernel, places: Places = apart(k)): string => {
  const name = identifiers(legal, 'x');
  const bindings = bindingsOf(k, places, name);
  const c: Context = {
    name,
    fns: prelude(),
    buffers: bindings.of,
    shared: [],
    lines: [],
    locals: new Map(),
    indent: 1,
    count: 0,
  };
  const [x, y, z] = k.grid;
  const many = counted(k);
  line(c, `let b_all = i32(fv_block.x${many ? ` + fv_block.y * ${lineOfBlocks}u` : ''});`);
  if (many) line(c, 'if (b_all >= i32(fv_blocks)) { return; }');
  line(c, `let b_0 = ${y * z === 1 ? 'b_all' : `b_all % ${x}`};`);
  line(c, `let b_1 = ${y === 1 ? '0' : z === 1 ? `b_all / ${x}` : `b_all / ${x} % ${y}`};`);
  line(c, `let b_2 = ${z === 1 ? '0' : `b_all / ${x * y}`};`);
  line(c, 'let b_thread = i32(fv_thread);');
  c.indent--;
  block(c, k.body);
  return [
    ...bindings.declared,
    ...(many ? [`@group(0) @binding(${bindings.count}) var<uniform> fv_blocks: u32;`] : []),
    c.fns.text(),
    ...bindings.functions(),
    ...c.shared,
    `@compute @workgroup_size(${k.threads})`,
    'fn main(@builtin(workgroup_id) fv_block: vec3<u32>, @builtin(local_invocation_index) fv_thread: u32) {',
    ...c.lines,
    '}',
    '',
  ]
    .filter((s, i, all) => s !== '' || i === all.length - 1)
    .join('\n');
};
