/**
 * Interpreter rows of the pointwise primitives. Floats compute in float64; integers are exact and wrap to 32 bits, which
 * storing into an Int32Array or Uint32Array does by itself; only mul needs Math.imul.
 *
 * Decisions that other backends follow: max and min give NaN if either operand is NaN (here they order -0 below +0; a
 * backend may give either zero); comparisons with NaN are false except `ne`; sign(NaN) = NaN and sign keeps the sign of a
 * zero; pow(1, y) = pow(-1, +-inf) = 1 as in IEEE 754; integer division by 0 gives 0, integer remainder by 0 gives 0;
 * shifts by 32 or more give 0.
 *
 *   mul on i32: 65536 * 65536 -> 0          div on i32: -7 / 2 -> -3         rem: -7 rem 2 -> -1
 */
import { erf } from './erf.ts';
import type { Data64 } from './tensor64.ts';
import type { Compare, DType } from './types.ts';

type Unary = 'neg' | 'exp' | 'log' | 'sin' | 'cos' | 'tanh' | 'sqrt' | 'rsqrt' | 'erf' | 'abs' | 'sign' | 'floor' | 'not';
type Binary = 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'max' | 'min' | 'rem' | 'and' | 'or' | 'xor' | 'shiftLeft' | 'shiftRight';

/** What a unary primitive does to one number, before it is stored as its dtype. Kernels give it the same meaning. */
export const unaryFns: { readonly [P in Unary]: (x: number) => number } = {
  neg: (x) => -x,
  exp: Math.exp,
  log: Math.log,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  erf,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  not: (x) => ~x,
};

/** Where JavaScript differs from IEEE 754: it gives NaN for pow(1, NaN), pow(1, inf) and pow(-1, inf). */
export const pow = (x: number, y: number): number => (x === 1 || (x === -1 && Math.abs(y) === Number.POSITIVE_INFINITY) ? 1 : x ** y);

/** As unaryFns; products and quotients of integers need more, below. */
export const binaryFns: { readonly [P in Binary]: (x: number, y: number) => number } = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  pow,
  max: Math.max,
  min: Math.min,
  rem: (x, y) => x % y,
  and: (x, y) => x & y,
  or: (x, y) => x | y,
  xor: (x, y) => x ^ y,
  shiftLeft: (x, y) => (y < 32 ? x << y : 0),
  shiftRight: (x, y) => (y < 32 ? x >>> y : 0),
};

/** Primitives that make each element from the same element of their operands. */
export const pointwise: ReadonlySet<string> = new Set([...Object.keys(unaryFns), ...Object.keys(binaryFns), 'cast', 'compare', 'select']);

export const compareFns: { readonly [C in Compare]: (x: number, y: number) => boolean } = {
  eq: (x, y) => x === y,
  ne: (x, y) => x !== y,
  lt: (x, y) => x < y,
  le: (x, y) => x <= y,
  gt: (x, y) => x > y,
  ge: (x, y) => x >= y,
};

/** One number through a unary primitive on `dtype`; the result still has to be stored as `dtype`. */
const unaryFn = (prim: Unary, dtype: DType): ((x: number) => number) =>
  prim === 'not' && dtype === 'bool' ? (x) => 1 - x : unaryFns[prim];

const binaryFn = (prim: Binary, dtype: DType): ((x: number, y: number) => number) => {
  if (prim === 'mul' && (dtype === 'i32' || dtype === 'u32')) return Math.imul;
  // exact: the quotient of two 32-bit integers is never rounded up to the next integer in float64
  if (prim === 'div' && (dtype === 'i32' || dtype === 'u32')) return (x, y) => Math.trunc(x / y);
  return binaryFns[prim];
};

export const unary = (prim: Unary, dtype: DType, x: Data64, out: Data64): Data64 => {
  const f = unaryFn(prim, dtype);
  for (let i = 0; i < out.length; i++) out[i] = f(x[i] as number);
  return out;
};

export const binary = (prim: Binary, dtype: DType, x: Data64, y: Data64, out: Data64): Data64 => {
  // the three that dominate a training step get loops of their own, so that V8 keeps them in registers
  if (out instanceof Float64Array && x instanceof Float64Array && y instanceof Float64Array) {
    if (prim === 'add') for (let i = 0; i < out.length; i++) out[i] = (x[i] as number) + (y[i] as number);
    if (prim === 'sub') for (let i = 0; i < out.length; i++) out[i] = (x[i] as number) - (y[i] as number);
    if (prim === 'mul') for (let i = 0; i < out.length; i++) out[i] = (x[i] as number) * (y[i] as number);
    if (prim === 'add' || prim === 'sub' || prim === 'mul') return out;
  }
  const f = binaryFn(prim, dtype);
  for (let i = 0; i < out.length; i++) out[i] = f(x[i] as number, y[i] as number);
  return out;
};

export const compare = (cmp: Compare, x: Data64, y: Data64, out: Data64): Data64 => {
  const f = compareFns[cmp];
  for (let i = 0; i < out.length; i++) out[i] = f(x[i] as number, y[i] as number) ? 1 : 0;
  return out;
};

export const select = (c: Data64, x: Data64, y: Data64, out: Data64): Data64 => {
  for (let i = 0; i < out.length; i++) out[i] = (c[i] === 0 ? y[i] : x[i]) as number;
  return out;
};
