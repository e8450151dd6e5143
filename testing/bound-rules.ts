/**
 * How far an operation may move a float, by primitive: the rows of the table with which bound.ts walks a program. A row is given the exact
 * result and each operand with its bound, and gives the bound of the result before that is stored: forward error analysis (Higham,
 * Accuracy and Stability of Numerical Algorithms, chapters 2 to 4) in arithmetic of unit roundoff u. A primitive without a row does not
 * compile.
 *
 *   mul: (r, a, b) => rounded(r, |a.x| b.e + |b.x| a.e + a.e b.e)          E(x y) = |x| E(y) + |y| E(x) + E(x) E(y), and one rounding
 *
 * Where an error may turn a discrete outcome (a comparison, floor, argmax), the bound is the distance to the other outcomes; it is
 * infinite where there is none, as for an integer.
 */
import { known } from '../compiler/graph/dim.ts';
import { apply, type Tensor64 } from '../compiler/graph/interpret.ts';
import { isFloat, type Op, type OpOf, type Prim } from '../compiler/graph/types.ts';
import { foldCast } from '../compiler/kernel/scalar.ts';

/** A float64 value, and the bound on what another run of the same program may have there. */
export interface Bounded {
  readonly value: Tensor64;
  readonly error: Float64Array;
}

/** One element of an operand: its value and bound. */
export interface Num {
  readonly x: number;
  readonly e: number;
}
/** The bound of one element of the result `r`, before the rounding of the result itself. `exact` primitives do not round. */
export type Pointwise = (r: number, a: Num, b: Num, c: Num) => number;

export const sure = (e: number): number => (e > 0 ? Number.POSITIVE_INFINITY : 0);
/** The largest distance from r to f on the box around the operands, for f monotonic in each of them. */
const corners = (f: (x: number, y: number) => number, r: number, a: Num, b: Num): number =>
  Math.max(...[a.x - a.e, a.x + a.e].flatMap((x) => [b.x - b.e, b.x + b.e].map((y) => Math.abs(f(x, y) - r))));

/** Whether a comparison of a and b may come out otherwise. */
const close = (a: Num, b: Num): boolean => a.e + b.e > 0 && !(Math.abs(a.x - b.x) > a.e + b.e);
/** The error of the larger, or of either where each may be it. */
const larger: Pointwise = (_, a, b) => (a.x - a.e > b.x + b.e ? a.e : b.x - b.e > a.x + a.e ? b.e : Math.max(a.e, b.e));
const smaller: Pointwise = (r, a, b, c) => larger(r, { x: -a.x, e: a.e }, { x: -b.x, e: b.e }, c);
const flips: Pointwise = (_, a, b) => (a.e > 0 || b.e > 0 ? 1 : 0);

/** Half of the smallest float32. */
const half = 2 ** -150;

/** Float rules of the pointwise primitives, in arithmetic of unit roundoff u in which what is smaller than `least` may be lost. */
export const pointwiseOf = (u: number, least = 2 * half) => {
  /** 4 u of the largest result there may be. */
  const library = (r: number, e: number): number => e + 4 * u * (Math.abs(r) + e) + 2 * least;
  const rounded = (r: number, e: number): number => e + u * (Math.abs(r) + e) + least;
  const lipschitz =
    (slope: number): Pointwise =>
    (r, a) =>
      library(r, slope * a.e);
  return {
    neg: (_, a) => a.e,
    abs: (_, a) => a.e,
    stopGradient: (_, a) => a.e,
    exp: (r, a) => library(r, r * Math.expm1(a.e)),
    log: (r, a) => (a.e < a.x ? library(r, -Math.log1p(-a.e / a.x)) : a.e === 0 ? 0 : Number.POSITIVE_INFINITY),
    sin: lipschitz(1),
    cos: lipschitz(1),
    tanh: lipschitz(1),
    erf: lipschitz(2 / Math.sqrt(Math.PI)),
    sqrt: (r, a) => (a.e === 0 || a.e < a.x ? rounded(r, r - Math.sqrt(a.x - a.e)) : Number.POSITIVE_INFINITY),
    // computed as 1 / sqrt(x) too, after rewriting: three roundings
    rsqrt: (r, a) => (a.e === 0 || a.e < a.x ? library(r, 1 / Math.sqrt(a.x - a.e) - r) : Number.POSITIVE_INFINITY),
    sign: (_, a) => (a.e > 0 && Math.abs(a.x) <= a.e ? 2 : 0),
    floor: (r, a) => (a.e > 0 && (Math.floor(a.x - a.e) !== r || Math.floor(a.x + a.e) !== r) ? a.e + 1 : 0),
    add: (r, a, b) => rounded(r, a.e + b.e),
    sub: (r, a, b) => rounded(r, a.e + b.e),
    mul: (r, a, b) => rounded(r, Math.abs(a.x) * b.e + Math.abs(b.x) * a.e + a.e * b.e),
    div: (r, a, b) => {
      const d = Math.abs(b.x) - b.e;
      return d > 0 ? rounded(r, (a.e + Math.abs(r) * b.e) / d) : b.e === 0 && a.e === 0 ? 0 : Number.POSITIVE_INFINITY;
    },
    // x ** y is monotonic in each where x > 0. pow(x, 2) and pow(x, -1) may be x x and 1 / x: fewer roundings
    pow: (r, a, b) => (a.e < a.x ? library(r, corners(Math.pow, r, a, b)) : a.e + b.e === 0 ? library(r, 0) : Number.POSITIVE_INFINITY),
    max: larger,
    min: smaller,
    rem: (_, a, b) => {
      if (a.e === 0 && b.e === 0) return 0;
      const q = Math.trunc(a.x / b.x);
      const moved = a.e + Math.abs(q) * b.e;
      // the quotient stays the same unless x is within `moved` of a multiple of y; the remainder of either is below |y|
      const r = Math.abs(a.x - q * b.x);
      const same = r > moved && Math.abs(b.x) - r > moved + b.e;
      return same ? moved : 2 * (Math.abs(b.x) + b.e);
    },
    not: flips,
    and: flips,
    or: flips,
    xor: flips,
    shiftLeft: (_, a, b) => sure(a.e + b.e),
    shiftRight: (_, a, b) => sure(a.e + b.e),
    compare: (_, a, b) => (close(a, b) ? 1 : 0),
    select: (r, c, a, b) => (c.e > 0 ? Math.max(Math.abs(a.x - r) + a.e, Math.abs(b.x - r) + b.e) : c.x ? a.e : b.e),
  } as const satisfies { readonly [P in Prim]?: Pointwise };
};

/** Of an operation of P: a row is looked up by its primitive, which TypeScript does not correlate. */
export type Structure<P extends Prim> = (
  op: P extends Prim ? OpOf<P> & Op : never,
  ins: readonly Bounded[],
  out: Tensor64,
) => ArrayLike<number>;

const same = (b: Bounded, data: Float64Array): Tensor64 => ({ type: { dtype: 'f32', shape: b.value.type.shape }, data });
/** The same movement of elements, of their bounds; indices stay what they are. */
const moved =
  (indices: readonly number[] = []): Structure<Prim> =>
  (op, ins, out) => {
    // an index that is not certain may bring any element
    if (indices.some((i) => ins[i]?.error.some((e) => e > 0))) return new Float64Array(out.data.length).fill(Number.POSITIVE_INFINITY);
    const of = ins.map((b, i) => (indices.includes(i) ? b.value : same(b, b.error)));
    const plain: Op = op.prim === 'pad' ? { ...op, value: 0 } : op;
    return (apply(plain, of, [{ dtype: 'f32', shape: out.type.shape }])[0] as Tensor64).data;
  };

/** The smallest float32, and bf16, that no machine takes for zero. */
export const normal = 2 ** -126;
/** Machines that add products of bf16 pairs by one instruction may read a subnormal factor as zero. */
const flushed = (b: Bounded): Bounded =>
  b.value.type.dtype === 'bf16'
    ? {
        value: b.value,
        error: b.error.map((e, i) =>
          Math.abs(b.value.data[i] as number) - e < normal ? Math.max(e, Math.abs(b.value.data[i] as number)) : e,
        ),
      }
    : b;

/**
 * Sums: E of the terms and g(n) of their size, n being the number of roundings a term may go through. Sums of bf16 products may lose
 * what is subnormal, in every step; where arithmetic may lose what is smaller than `least`, so may all sums.
 */
const sums =
  (
    u: number,
    least: number,
    count: (op: Op, ins: readonly Bounded[], out: Tensor64) => number,
    indices: readonly number[] = [],
  ): Structure<Prim> =>
  (op, operands, out) => {
    const pairs = op.prim === 'dot' && u === 2 ** -24 && operands.some((b) => b.value.type.dtype === 'bf16');
    const ins = pairs ? operands.map(flushed) : operands;
    const uncertain = (b: Bounded): boolean => b.error.some((e) => e > 0);
    const wrong = (all: boolean): Float64Array => new Float64Array(out.data.length).fill(all ? Number.POSITIVE_INFINITY : 0);
    if (!isFloat(out.type.dtype) || indices.some((i) => uncertain(ins[i] as Bounded))) return wrong(ins.some(uncertain));
    const total = (of: (b: Bounded) => Float64Array): ArrayLike<number> => {
      const terms = ins.map((b, i) => (indices.includes(i) ? b.value : same(b, of(b))));
      const type = { dtype: 'f32', shape: out.type.shape } as const;
      return (apply(op.prim === 'dot' ? { ...op, dtype: 'f32' } : op, terms, [type])[0] as Tensor64).data;
    };
    const absolute = (b: Bounded): Float64Array => Float64Array.from(b.value.data, Math.abs);
    const sizes = total((b) => absolute(b).map((v, i) => v + (b.error[i] as number)));
    // for a sum that is the sum of errors; for products, (|x| + ex)(|y| + ey) - |x| |y|
    const plain = op.prim === 'dot' ? total(absolute) : total((b) => b.error);
    const n = count(op, ins, out) + 1;
    const g = (n * u) / (1 - n * u);
    return Float64Array.from(sizes, (s, i) => {
      const p = plain[i] as number;
      // the difference of two float64 sums of n terms has lost n of their last places
      const e = op.prim === 'dot' ? Math.max(0, s - p) + n * 2 ** -52 * s : p;
      return e + g * s + (pairs || least >= normal ? 2 * n * normal : least);
    });
  };
const perOutput = (_: Op, ins: readonly Bounded[], out: Tensor64): number =>
  (ins[0] as Bounded).value.data.length / Math.max(1, out.data.length);
const depth = (op: Op, ins: readonly Bounded[]): number =>
  op.prim === 'dot' ? op.contract[0].reduce((n, a) => n * known((ins[0] as Bounded).value.type.shape[a] ?? 1), 1) : 0;

const argmax: Structure<'argmax'> = (op, ins, out) => {
  const { value, error } = ins[0] as Bounded;
  const shape = value.type.shape.map(known);
  const n = shape[op.axis] as number;
  const inner = shape.slice(op.axis + 1).reduce((a, b) => a * b, 1);
  return Float64Array.from(out.data, (k, o) => {
    const start = Math.floor(o / inner) * n * inner + (o % inner);
    const at = (i: number): Num => ({ x: value.data[start + i * inner] as number, e: error[start + i * inner] as number });
    const best = at(k);
    return Array.from({ length: n }, (_, i) => i).some((i) => i !== k && close(best, at(i))) ? Number.POSITIVE_INFINITY : 0;
  });
};

const zero: Structure<Prim> = (_, __, out) => new Float64Array(out.data.length);
/** A number that f32 holds is not rounded. */
const constant =
  (u: number): Structure<Prim> =>
  (_, __, out) =>
    Float64Array.from(out.data, (v) =>
      isFloat(out.type.dtype) && !(out.type.dtype === 'f32' && Math.fround(v) === v) ? u * Math.abs(v) + half : 0,
    );
const inlined: Structure<Prim> = (op) => {
  throw new Error(`internal: ${op.prim} is inlined before`);
};

const cast =
  (u: number): Structure<'cast'> =>
  (op, ins, out) => {
    const { value, error } = ins[0] as Bounded;
    const from = value.type.dtype;
    const to = op.dtype;
    return Float64Array.from(out.data, (r, i) => {
      const [x, e] = [value.data[i] as number, error[i] as number];
      if (isFloat(to)) return isFloat(from) ? e : e + u * (Math.abs(x) + e);
      if (e === 0) return 0;
      if (to === 'bool') return Math.abs(x) > e ? 0 : 1;
      const [low, high] = [x - e, x + e].map((v) => foldCast(v, 'f64', to));
      return isFloat(from) && low === r && high === r ? 0 : Number.POSITIVE_INFINITY;
    });
  };

export const structureOf = (u: number, least = 2 * half) =>
  ({
    const: constant(u),
    array: constant(u),
    iota: zero,
    cast: cast(u),
    broadcast: moved(),
    reshape: moved(),
    transpose: moved(),
    slice: moved(),
    pad: moved(),
    concat: moved(),
    reverse: moved(),
    gather: moved([1]),
    scatterAdd: sums(u, least, (_, ins) => (ins[1] as Bounded).value.data.length, [1]),
    dot: sums(u, least, depth),
    reduceSum: sums(u, least, perOutput),
    cumsum: sums(u, least, (_, ins) => (ins[0] as Bounded).value.data.length),
    reduceMax: moved(),
    // the largest error, whichever element is the smallest
    reduceMin: (op, ins, out) => moved()({ prim: 'reduceMax', axes: op.axes }, ins, out),
    argmax,
    randomBits: (_, ins, out) => new Float64Array(out.data.length).fill(sure(Math.max(0, ...(ins[0] as Bounded).error))),
    call: inlined,
    scan: inlined,
    reshard: inlined,
    axisIndex: inlined,
    perShard: inlined,
    collective: inlined,
    start: inlined,
    wait: inlined,
  }) as const satisfies { readonly [P in Exclude<Prim, keyof ReturnType<typeof pointwiseOf>>]: Structure<P> };
