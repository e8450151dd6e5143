/**
 * Smart constructors of kernel expressions: they infer dtype and lanes, refuse what is ill-typed (FV0201), and fold what
 * can be folded without knowing ranges (the templates know them: affine.ts). Expressions are plain immutable objects;
 * sharing one object in several places is sharing a value.
 *
 * Conveniences: a number stands for a constant of the other operand's dtype, and a scalar widens to the other operand's
 * lanes. Only exact rewrites are done: floats keep `x + 0` (it turns -0 into 0) but lose `x * 1`.
 *
 *   import * as e from '../kernel/expr.ts';
 *   e.show(e.add(e.mul(e.block(0), 256), e.ref('i', 'index')))     ->  add(mul(block.0, 256), i)
 */
import { FoveaError } from '../error.ts';
import type { Compare } from '../graph/types.ts';
import { foldBinary, foldCast, foldCompare, foldUnary } from './scalar.ts';
import type { Expr, KAxis, KBinary, KHalf, KReduce, KType, KUnary } from './types.ts';

export type ExprOf<K extends Expr['k']> = Extract<Expr, { readonly k: K }>;
/** An operand of a binary operation: a number takes its dtype from the other side. */
export type Operand = Expr | number;
/** What load and store need to know of a buffer or array. */
export interface Place {
  readonly name: string;
  readonly dtype: KType;
}

const bad = (message: string): never => {
  throw new FoveaError('FV0201', message);
};
const say = (x: Expr): string => `${x.dtype}${x.lanes > 1 ? `.${x.lanes}` : ''}`;

const arithmetic: readonly KType[] = ['f32', 'i32', 'u32', 'index'];
const integers: readonly KType[] = ['i32', 'u32', 'index'];
const bits: readonly KType[] = ['i32', 'u32', 'bool'];
const signed: readonly KType[] = ['f32', 'i32', 'u32'];

/** Which dtypes each operation takes; the result has the same dtype. */
export const unaryTypes: { readonly [O in KUnary]: readonly KType[] } = {
  neg: signed,
  exp: ['f32'],
  log: ['f32'],
  sin: ['f32'],
  cos: ['f32'],
  tanh: ['f32'],
  sqrt: ['f32'],
  rsqrt: ['f32'],
  erf: ['f32'],
  abs: signed,
  sign: signed,
  floor: ['f32'],
  not: bits,
};
export const binaryTypes: { readonly [O in KBinary]: readonly KType[] } = {
  add: arithmetic,
  sub: arithmetic,
  mul: arithmetic,
  div: arithmetic,
  pow: ['f32'],
  max: arithmetic,
  min: arithmetic,
  rem: arithmetic,
  and: bits,
  or: bits,
  xor: bits,
  shiftLeft: ['u32'],
  shiftRight: ['u32'],
};
export const isInteger = (t: KType): boolean => integers.includes(t);

/** A constant; its value is rounded to the dtype (f32 by Math.fround, u32 modulo 2^32, bool to 0 or 1). */
export const constant = (value: number, dtype: KType, lanes = 1): Expr => ({
  k: 'const',
  value: foldCast(value, 'f64', dtype),
  dtype,
  lanes,
});
export const f32 = (value: number, lanes = 1): Expr => constant(value, 'f32', lanes);
export const i32 = (value: number, lanes = 1): Expr => constant(value, 'i32', lanes);
export const u32 = (value: number, lanes = 1): Expr => constant(value, 'u32', lanes);
export const bool = (value: boolean, lanes = 1): Expr => constant(value ? 1 : 0, 'bool', lanes);
export const index = (value: number): Expr => constant(value, 'index');
export const ref = (name: string, dtype: KType, lanes = 1): Expr => ({ k: 'ref', name, dtype, lanes });
export const block = (axis: 0 | 1 | 2): Expr => ({ k: 'block', axis, dtype: 'index', lanes: 1 });
export const thread: Expr = { k: 'thread', dtype: 'index', lanes: 1 };
/** Rows or columns of a thread's sums of 16 x 16. */
export const place = (axis: KAxis): Expr => ({ k: 'place', axis, dtype: 'index', lanes: 8 });

export const isConst = (x: Expr, value?: number): x is ExprOf<'const'> =>
  x.k === 'const' && (value === undefined || Object.is(x.value, value));

export const splat = (x: Expr, lanes: number): Expr => {
  if (x.lanes === lanes) return x;
  if (x.lanes !== 1) return bad(`splat: takes a scalar, got ${say(x)}`);
  return x.k === 'const' ? { ...x, lanes } : { k: 'splat', x, dtype: x.dtype, lanes };
};

/** Gives both operands one dtype and one number of lanes. */
const agree = (op: string, x: Operand, y: Operand): readonly [Expr, Expr] => {
  if (typeof x === 'number')
    return typeof y === 'number' ? bad(`${op}: two plain numbers have no dtype`) : [constant(x, y.dtype, y.lanes), y];
  if (typeof y === 'number') return [x, constant(y, x.dtype, x.lanes)];
  if (x.dtype !== y.dtype) return bad(`${op}: dtypes differ: ${say(x)} and ${say(y)}`);
  if (x.lanes !== y.lanes && x.lanes !== 1 && y.lanes !== 1) return bad(`${op}: lanes differ: ${say(x)} and ${say(y)}`);
  const lanes = Math.max(x.lanes, y.lanes);
  return [splat(x, lanes), splat(y, lanes)];
};

export const unary = (op: KUnary, x: Expr): Expr => {
  if (!unaryTypes[op].includes(x.dtype)) return bad(`${op}: does not take ${say(x)}`);
  if (x.k === 'const') return constant(foldUnary(op, x.value, x.dtype), x.dtype, x.lanes);
  if (x.k === 'splat') return splat(unary(op, x.x), x.lanes);
  return { k: 'unary', op, x, dtype: x.dtype, lanes: x.lanes };
};

const commutes: readonly KBinary[] = ['add', 'mul', 'max', 'min', 'and', 'or', 'xor'];

/** Exact identities with a constant on the right; undefined where none applies. */
const identity = (op: KBinary, x: Expr, c: number): Expr | undefined => {
  const zero = c === 0 && x.dtype !== 'f32';
  if ((op === 'mul' || op === 'div') && c === 1) return x;
  if (op === 'sub' && c === 0) return x;
  if ((op === 'add' || op === 'xor' || op === 'shiftLeft' || op === 'shiftRight') && zero) return x;
  if (op === 'mul' && zero) return constant(0, x.dtype, x.lanes);
  if (op === 'rem' && c === 1 && isInteger(x.dtype)) return constant(0, x.dtype, x.lanes);
  if (x.dtype !== 'bool') return op === 'or' && zero ? x : op === 'and' && zero ? constant(0, x.dtype, x.lanes) : undefined;
  if (op === 'and') return c === 1 ? x : constant(0, 'bool', x.lanes);
  if (op === 'or') return c === 0 ? x : constant(1, 'bool', x.lanes);
  return undefined;
};

export const binary = (op: KBinary, left: Operand, right: Operand): Expr => {
  let [x, y] = agree(op, left, right);
  if (!binaryTypes[op].includes(x.dtype)) return bad(`${op}: does not take ${say(x)}`);
  const { dtype, lanes } = x;
  if (x.k === 'const' && y.k === 'const') {
    const v = foldBinary(op, x.value, y.value, dtype);
    if (v !== undefined) return constant(v, dtype, lanes);
  }
  if (x.k === 'const' && commutes.includes(op)) [x, y] = [y, x];
  if (y.k === 'const') {
    const same = identity(op, x, y.value);
    if (same) return same;
    // (a + c) + d = a + (c + d), for integers, which wrap
    if (op === 'add' && dtype !== 'f32' && x.k === 'binary' && x.op === 'add' && x.y.k === 'const')
      return binary('add', x.x, binary('add', x.y, y));
    if (op === 'mul' && dtype !== 'f32' && x.k === 'binary' && x.op === 'mul' && x.y.k === 'const')
      return binary('mul', x.x, binary('mul', x.y, y));
  }
  const uniform = (v: Expr): Expr | undefined => (v.k === 'splat' ? v.x : v.k === 'const' ? constant(v.value, v.dtype) : undefined);
  if (lanes > 1) {
    const [a, b] = [uniform(x), uniform(y)];
    if (a && b) return splat(binary(op, a, b), lanes);
    // an index ramp stays one, so that its load stays a run of consecutive elements
    if (op === 'add' && x.k === 'ramp' && b) return ramp(binary('add', x.base, b), lanes);
    if (op === 'add' && y.k === 'ramp' && a) return ramp(binary('add', y.base, a), lanes);
  }
  return { k: 'binary', op, x, y, dtype, lanes };
};

export const neg = (x: Expr): Expr => unary('neg', x);
export const not = (x: Expr): Expr => unary('not', x);
export const add = (x: Operand, y: Operand): Expr => binary('add', x, y);
export const sub = (x: Operand, y: Operand): Expr => binary('sub', x, y);
export const mul = (x: Operand, y: Operand): Expr => binary('mul', x, y);
export const div = (x: Operand, y: Operand): Expr => binary('div', x, y);
export const rem = (x: Operand, y: Operand): Expr => binary('rem', x, y);
export const max = (x: Operand, y: Operand): Expr => binary('max', x, y);
export const min = (x: Operand, y: Operand): Expr => binary('min', x, y);
export const and = (x: Operand, y: Operand): Expr => binary('and', x, y);
export const or = (x: Operand, y: Operand): Expr => binary('or', x, y);

export const compare = (cmp: Compare, left: Operand, right: Operand): Expr => {
  const [x, y] = agree(`compare.${cmp}`, left, right);
  if (!arithmetic.includes(x.dtype) && !(x.dtype === 'bool' && (cmp === 'eq' || cmp === 'ne')))
    return bad(`compare.${cmp}: does not take ${say(x)}`);
  if (x.k === 'const' && y.k === 'const') return constant(foldCompare(cmp, x.value, y.value), 'bool', x.lanes);
  return { k: 'compare', cmp, x, y, dtype: 'bool', lanes: x.lanes };
};
export const lt = (x: Operand, y: Operand): Expr => compare('lt', x, y);

export const select = (c: Expr, whenTrue: Operand, whenFalse: Operand): Expr => {
  const [x0, y0] = agree('select', whenTrue, whenFalse);
  if (c.dtype !== 'bool') return bad(`select: the condition is ${say(c)}, not bool`);
  if (c.lanes !== x0.lanes && c.lanes !== 1 && x0.lanes !== 1) return bad(`select: lanes differ: ${say(c)} and ${say(x0)}`);
  const lanes = Math.max(c.lanes, x0.lanes);
  const [x, y] = [splat(x0, lanes), splat(y0, lanes)];
  if (c.k === 'const') return c.value ? x : y;
  return { k: 'select', c: splat(c, lanes), x, y, dtype: x.dtype, lanes };
};

/** x * y + z in f32. */
export const fma = (x: Operand, y: Expr, z: Operand): Expr => {
  const [x1, y1] = agree('fma', x, y);
  const [z1, y2] = agree('fma', z, y1);
  if (y2.dtype !== 'f32') return bad(`fma: takes f32, got ${say(y2)}`);
  const lanes = y2.lanes;
  return { k: 'fma', x: splat(x1, lanes), y: y2, z: z1, dtype: 'f32', lanes };
};

/** z plus the products of bf16 pairs; x may be one pair for all lanes. Not folded: it stays the machine's instruction. */
export const dot2 = (x: Expr, y: Expr, z: Expr): Expr => {
  const { lanes } = z;
  if (x.dtype !== 'bf16' || y.dtype !== 'bf16' || z.dtype !== 'f32') return bad(`dot2: takes bf16, bf16, f32, got ${[x, y, z].map(say)}`);
  if (y.lanes !== 2 * lanes || (x.lanes !== 2 * lanes && x.lanes !== 2))
    return bad(`dot2: lanes do not fit: ${say(x)} and ${say(y)} for sums of ${say(z)}`);
  return { k: 'dot2', x, y, z, dtype: 'f32', lanes };
};

export const cast = (x: Expr, dtype: KType): Expr => {
  if (x.dtype === dtype) return x;
  if (x.k === 'const') return constant(foldCast(x.value, x.dtype, dtype), dtype, x.lanes);
  if (x.k === 'splat') return splat(cast(x.x, dtype), x.lanes);
  return { k: 'cast', x, dtype, lanes: x.lanes };
};

const words: readonly KType[] = ['f32', 'i32', 'u32'];
const halves: readonly KType[] = ['bf16', 'f16'];
/** Lanes after a bitcast, or undefined where there is none: between 32-bit dtypes, and between two bf16, or two f16, and one u32. */
export const bitcastLanes = (x: { readonly dtype: KType; readonly lanes: number }, dtype: KType): number | undefined => {
  if (halves.includes(x.dtype) && dtype === 'u32') return x.lanes % 2 === 0 ? x.lanes / 2 : undefined;
  if (x.dtype === 'u32' && halves.includes(dtype)) return x.lanes * 2;
  return words.includes(x.dtype) && words.includes(dtype) ? x.lanes : undefined;
};
/** The same bits as another dtype. */
export const bitcast = (x: Expr, dtype: KType): Expr => {
  const lanes = bitcastLanes(x, dtype);
  if (lanes === undefined)
    return bad(`bitcast: from ${say(x)} to ${dtype}: only between f32, i32 and u32, and pairs of bf16 or f16 and u32`);
  return x.dtype === dtype ? x : { k: 'bitcast', x, dtype, lanes };
};

/** base, base + 1, ..., base + lanes - 1. */
export const ramp = (base: Expr, lanes: number): Expr => {
  if (base.lanes !== 1 || (base.dtype !== 'index' && base.dtype !== 'i32'))
    return bad(`ramp: takes a scalar index or i32, got ${say(base)}`);
  return lanes === 1 ? base : { k: 'ramp', base, dtype: base.dtype, lanes };
};

export const lane = (x: Expr, i: number): Expr => {
  if (!Number.isInteger(i) || i < 0 || i >= x.lanes) return bad(`lane: ${say(x)} has no lane ${i}`);
  if (x.lanes === 1) return x;
  if (x.k === 'splat') return x.x;
  if (x.k === 'const') return constant(x.value, x.dtype);
  return x.k === 'ramp' ? add(x.base, i) : { k: 'lane', x, i, dtype: x.dtype, lanes: 1 };
};

/** x0 y0 x1 y1 ... of the lower or upper halves of two vectors; the result has as many lanes as each of them. */
export const zip = (half: KHalf, x: Expr, y: Expr): Expr => {
  if (x.dtype !== y.dtype || x.lanes !== y.lanes || x.lanes < 2) return bad(`zip.${half}: does not take ${say(x)} and ${say(y)}`);
  return { k: 'zip', half, x, y, dtype: x.dtype, lanes: x.lanes };
};

/**
 * The transposed square: as many vectors as each has lanes; lane j of result i is lane i of rows[j]. Each round zips row i with
 * row i + n / 2; log2(n) rounds turn the whole. `name` binds what a round has made (each row is used twice).
 */
export const transposed = (rows: readonly Expr[], name: (x: Expr) => Expr): readonly Expr[] => {
  let now = rows;
  const half = rows.length / 2;
  for (let n = 1; n < rows.length; n *= 2)
    now = now.slice(0, half).flatMap((x, i) => (['low', 'high'] as const).map((h) => name(zip(h, x, now[i + half] as Expr))));
  return now;
};

/** Reduces the lanes to a scalar by a fixed pairwise tree: halves are combined until one value is left. */
export const across = (op: KReduce, x: Expr): Expr => {
  if (!arithmetic.includes(x.dtype)) return bad(`across.${op}: does not take ${say(x)}`);
  if ((x.lanes & (x.lanes - 1)) !== 0) return bad(`across.${op}: ${x.lanes} lanes are not a power of two`);
  return x.lanes === 1 ? x : { k: 'across', op, x, dtype: x.dtype, lanes: 1 };
};

const masked = (lanes: number, mask: Expr | undefined): Expr | undefined => {
  if (!mask) return undefined;
  if (mask.dtype !== 'bool' || (mask.lanes !== lanes && mask.lanes !== 1)) return bad(`mask: ${say(mask)} for ${lanes} lanes`);
  return isConst(mask, 1) ? undefined : splat(mask, lanes);
};
/** The normal form of an access: a ramp becomes its base. */
export const address = (at: Expr, lanes: number): Expr => {
  if (at.dtype !== 'index' || (at.lanes !== 1 && at.lanes !== lanes))
    return bad(`an access of ${lanes} lanes cannot use ${say(at)} as index`);
  return at.k === 'ramp' ? at.base : at;
};

/**
 * Elements of a buffer or array. A scalar index with `lanes` > 1 reads consecutive elements; an index vector gathers.
 * Lanes whose mask is false touch no memory and give 0.
 */
export const load = (from: Place, at: Expr | number, lanes?: number, mask?: Expr): Expr => {
  const i = typeof at === 'number' ? index(at) : at;
  const n = lanes ?? i.lanes;
  const m = masked(n, mask);
  const x = { k: 'load', from: from.name, index: address(i, n), dtype: from.dtype, lanes: n } as const;
  return m ? { ...x, mask: m } : x;
};
/** The mask of an access in normal form (undefined = all lanes). */
export const accessMask = masked;

/** Direct operands, in printed order. */
export const operands = (x: Expr): readonly Expr[] => {
  switch (x.k) {
    case 'const':
    case 'ref':
    case 'block':
    case 'thread':
    case 'place':
      return [];
    case 'unary':
    case 'cast':
    case 'bitcast':
    case 'splat':
    case 'lane':
    case 'across':
      return [x.x];
    case 'binary':
    case 'compare':
    case 'zip':
      return [x.x, x.y];
    case 'select':
      return [x.c, x.x, x.y];
    case 'fma':
    case 'dot2':
      return [x.x, x.y, x.z];
    case 'ramp':
      return [x.base];
    case 'load':
      return x.mask ? [x.index, x.mask] : [x.index];
  }
};

/** The same expression over other operands, constructed anew (so it folds again). */
export const rebuild = (x: Expr, by: (operand: Expr) => Expr): Expr => {
  switch (x.k) {
    case 'const':
    case 'ref':
    case 'block':
    case 'thread':
    case 'place':
      return x;
    case 'unary':
      return unary(x.op, by(x.x));
    case 'cast':
      return cast(by(x.x), x.dtype);
    case 'bitcast':
      return bitcast(by(x.x), x.dtype);
    case 'splat':
      return splat(by(x.x), x.lanes);
    case 'lane':
      return lane(by(x.x), x.i);
    case 'zip':
      return zip(x.half, by(x.x), by(x.y));
    case 'across':
      return across(x.op, by(x.x));
    case 'binary':
      return binary(x.op, by(x.x), by(x.y));
    case 'compare':
      return compare(x.cmp, by(x.x), by(x.y));
    case 'select':
      return select(by(x.c), by(x.x), by(x.y));
    case 'fma':
      return fma(by(x.x), by(x.y), by(x.z));
    case 'dot2':
      return dot2(by(x.x), by(x.y), by(x.z));
    case 'ramp':
      return ramp(by(x.base), x.lanes);
    case 'load':
      return load({ name: x.from, dtype: x.dtype }, by(x.index), x.lanes, x.mask && by(x.mask));
  }
};

/** Nodes below the roots that more than one path reaches and that have operands, operands first: what printers give a name. */
export const repeated = (roots: readonly Expr[]): readonly Expr[] => {
  const order: Expr[] = [];
  const uses = new Map<Expr, number>();
  const visit = (e: Expr): void => {
    const n = uses.get(e) ?? 0;
    uses.set(e, n + 1);
    if (n > 0) return;
    operands(e).forEach(visit);
    order.push(e);
  };
  roots.forEach(visit);
  return order.filter((e) => (uses.get(e) as number) > 1 && operands(e).length > 0);
};
