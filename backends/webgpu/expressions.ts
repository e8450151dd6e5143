/**
 * Expressions of K as WGSL. Vectors have 2 or 4 lanes; `index` is i32; bf16, and f16 where the device has no such type, are their bits in a u32;
 * arithmetic is on f32.
 *
 *   add(mul(block.0, 256), thread)   ->   ((b_0 * 256i) + b_thread)
 */
import { constant } from '../../compiler/kernel/expr.ts';
import { bitsOf, toBf16, toF16 } from '../../compiler/kernel/scalar.ts';
import { infix, operators, uniformValue } from '../../compiler/kernel/symbols.ts';
import type { Expr, KType } from '../../compiler/kernel/types.ts';
import { binary, local, print } from '../../compiler/kernel/written.ts';
import { loaded } from './access.ts';
import { type Context, register, typeOf, vector } from './context.ts';
import { components } from './names.ts';

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

export const literal = (x: number, dtype: KType, c: Context): string => {
  switch (dtype) {
    case 'f32':
      return float(x, c);
    case 'bf16':
      return `${bitsOf(toBf16(Math.fround(x)), 'bf16')}u`;
    case 'f16': {
      const half = toF16(Math.fround(x));
      // a call, where the number is none that can be written
      return c.dialect.f16 ? `f16(${float(half, c)})` : `${bitsOf(half, 'f16')}u`;
    }
    case 'bool':
      return x === 0 ? 'false' : 'true';
    case 'u32':
      return `${Math.trunc(x) >>> 0}u`;
    default:
      return x < 0 ? `i32(${Math.trunc(x)})` : `${Math.trunc(x)}i`;
  }
};

const printUnary = (e: Expr & { readonly k: 'unary' }, c: Context): string => {
  const x = print(e.x, c);
  const held = register(e.dtype, c);
  switch (e.op) {
    case 'neg':
      return held === 'u32' ? `(~${x} + ${typeOf('u32', e.lanes, c)}(1u))` : `(-${x})`;
    case 'not':
      return held === 'bool' ? `(!${x})` : `(~${x})`;
    case 'floor':
      return e.dtype === 'f32' ? `floor(${x})` : x;
    case 'abs':
    case 'sqrt':
      return `${e.op}(${x})`;
    case 'sign':
      return held === 'i32' ? `sign(${x})` : `${c.fns.use(`sign_${held}`, e.lanes)}(${x})`;
    default:
      return `${c.fns.use(e.op, e.lanes)}(${x})`;
  }
};

const printBinary = (e: Expr & { readonly k: 'binary' }, c: Context): string => {
  const [x, y] = [print(e.x, c), print(e.y, c)];
  const held = register(e.dtype, c);
  if (e.op === 'xor' && held === 'bool') return `(${x} != ${y})`;
  if ((e.op === 'max' || e.op === 'min') && held !== 'f32') return `${e.op}(${x}, ${y})`;
  // addresses are divided by what the compiler put there
  if ((e.op === 'div' || e.op === 'rem') && e.dtype === 'index') return `(${x} ${infix[e.op]} ${y})`;
  return binary(e, x, y, held, (name) => `${c.fns.use(name, e.lanes)}(${x}, ${y})`);
};

const convert = (from: KType, to: KType, lanes: number, x: string, c: Context): string => {
  if (from === to) return x;
  const type = typeOf(to, lanes, c);
  if (c.dialect.f16 && from === 'f16') return convert('f32', to, lanes, `${typeOf('f32', lanes, c)}(${x})`, c);
  if (c.dialect.f16 && to === 'f16') return `${type}(${convert(from, 'f32', lanes, x, c)})`;
  if (from === 'bf16' || from === 'f16') return convert('f32', to, lanes, `${c.fns.use(`${from}_f32`, lanes)}(${x})`, c);
  if (to === 'bf16' || to === 'f16') return `${c.fns.use(`f32_${to}`, lanes)}(${convert(from, 'f32', lanes, x, c)})`;
  if (to === 'bool') return `(${x} != ${typeOf(from, lanes, c)}(0))`;
  if (from === 'f32') return `${c.fns.use(`f32_${register(to, c)}`, lanes)}(${x})`;
  return register(from, c) === register(to, c) ? x : `${type}(${x})`;
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

/** Text of an expression, whatever name it has. */
export const text = (e: Expr, c: Context): string => {
  switch (e.k) {
    case 'const':
      return e.lanes === 1 ? literal(e.value, e.dtype, c) : `${typeOf(e.dtype, e.lanes, c)}(${literal(e.value, e.dtype, c)})`;
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
    case 'cast': {
      const known = c.dialect.f16 && e.dtype === 'f16' ? uniformValue(e.x) : undefined;
      // what is written as a constant must have a value of the type
      if (known !== undefined) return text(constant(known, 'f16', e.lanes), c);
      return convert(e.x.dtype, e.dtype, e.lanes, print(e.x, c), c);
    }
    case 'bitcast':
      if (e.dtype === e.x.dtype) return print(e.x, c);
      if (e.dtype === 'bf16' || e.x.dtype === 'bf16') throw new Error('internal: WGSL has no pairs of bf16');
      return `bitcast<${typeOf(e.dtype, e.lanes, c)}>(${print(e.x, c)})`;
    case 'splat':
      return e.lanes === 1 ? print(e.x, c) : `${typeOf(e.dtype, e.lanes, c)}(${print(e.x, c)})`;
    case 'ramp': {
      const steps = Array.from({ length: e.lanes }, (_, i) => `${i}`);
      return e.lanes === 1 ? print(e.base, c) : `(${typeOf(e.dtype, e.lanes, c)}(${print(e.base, c)}) + ${vector(e.dtype, steps, c)})`;
    }
    case 'lane':
      return e.x.lanes === 1 ? print(e.x, c) : `${local(e.x, c)}.${components[e.i]}`;
    case 'zip': {
      const first = e.half === 'low' ? 0 : e.lanes / 2;
      const of = (i: number): string => `${local(i % 2 === 0 ? e.x : e.y, c)}.${components[first + (i >> 1)]}`;
      return vector(
        e.dtype,
        Array.from({ length: e.lanes }, (_, i) => of(i)),
        c,
      );
    }
    case 'across':
      return e.x.lanes === 1 ? print(e.x, c) : printAcross(e, c);
    case 'load':
      return loaded(e, c);
    case 'dot2':
      throw new Error('internal: WGSL has no products of pairs');
  }
};
