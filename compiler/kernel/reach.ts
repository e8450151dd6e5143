/**
 * What a range of blocks may touch: intervals of every index, by the text of a kernel. Sound, and exact where an index grows with the block, as it does along
 * the outer axis of nearly every tensor. A device that binds no more than a piece of a large tensor runs such a range at a time (backends/webgpu);
 * and where no index can leave 32 bits, it may count in them.
 *
 *   for i = mul(block.0, 4096) to min(add(mul(block.0, 4096), 4096), 100000) step 1 { store y[i] = load x[sub(99999, i)] }
 *   reach(k, 2, 3)     x: [79520, 91808), y: [8192, 20480)     the largest address is 100000
 */
import type { Compare } from '../graph/types.ts';
import { each, exprs } from './exprs.ts';
import type { Expr, Kernel, Stmt } from './types.ts';

/** Elements [from, to) of a buffer. */
export interface Span {
  readonly from: number;
  readonly to: number;
}
export interface Reach {
  /** By buffer, those of its loads and stores, in no order; they may overlap. One that is not touched has none. */
  readonly spans: ReadonlyMap<string, readonly Span[]>;
  /** Of the addresses that are computed on the way, as far as their text bounds them: the largest, or the most negative without its sign. */
  readonly largest: number;
}

/** Both ends belong to it. */
type Range = readonly [number, number];
const anything: Range = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
/** An end that is not known less another one is no number: then nothing is known. */
const sure = (r: Range): Range => (r.some(Number.isNaN) ? anything : r);
const around = (...xs: readonly number[]): Range => [Math.min(...xs), Math.max(...xs)];
const product = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);

/** Division of addresses, whose operands are at least 0 where the result counts; either way of rounding is inside. */
const quotient = ([a, b]: Range, by: number): Range => [Math.floor(a / by), b < 0 ? Math.ceil(b / by) : Math.floor(b / by)];
const remainder = ([a, b]: Range, by: number): Range => {
  if (a < 0) return [1 - by, by - 1];
  return Math.floor(a / by) === Math.floor(b / by) ? [a % by, b % by] : [0, Math.min(b, by - 1)];
};

/** The numbers of blocks `first` to `last`, x fastest, along an axis. */
const along = ({ grid: [x, y] }: Kernel, axis: 0 | 1 | 2, first: number, last: number): Range => {
  const plane = x * y;
  if (axis === 2) return [Math.floor(first / plane), Math.floor(last / plane)];
  const every = axis === 1 ? x : 1;
  const size = axis === 1 ? y : x;
  return remainder([Math.floor(first / every), Math.floor(last / every)], size);
};

/** Whether a comparison holds for all numbers of two ranges (true), for none (false), or for some. */
const holds: { readonly [C in Compare]: (x: Range, y: Range) => boolean | undefined } = {
  lt: ([a, b], [c, d]) => (b < c ? true : a >= d ? false : undefined),
  le: ([a, b], [c, d]) => (b <= c ? true : a > d ? false : undefined),
  gt: (x, y) => holds.lt(y, x),
  ge: (x, y) => holds.le(y, x),
  eq: ([a, b], [c, d]) => (b < c || d < a ? false : a === b && c === d && a === c ? true : undefined),
  ne: (x, y) => {
    const same = holds.eq(x, y);
    return same === undefined ? undefined : !same;
  },
};

const opposite: { readonly [C in Compare]: Compare } = { lt: 'ge', ge: 'lt', le: 'gt', gt: 'le', eq: 'ne', ne: 'eq' };
/** Where a number lies that compares so with one of a range. */
const beside: { readonly [C in Compare]: (y: Range) => Range } = {
  lt: ([, b]) => [Number.NEGATIVE_INFINITY, b - 1],
  le: ([, b]) => [Number.NEGATIVE_INFINITY, b],
  gt: ([a]) => [a + 1, Number.POSITIVE_INFINITY],
  ge: ([a]) => [a, Number.POSITIVE_INFINITY],
  eq: (y) => y,
  ne: () => anything,
};

/** Of blocks [first, first + count), x fastest. */
export const reach = (k: Kernel, first: number, count: number): Reach => {
  const names = new Map<string, Range>();
  const spans = new Map<string, Span[]>();
  const sizes = new Map(k.buffers.map((b) => [b.name, b.size]));
  let largest = 0;
  /** Ranges of expressions, as long as the names in them mean the same. */
  let known = new Map<Expr, Range>();
  /** What names stand for, except variables. */
  const meaning = new Map<string, Expr>();
  const bind = (name: string, r: Range): void => {
    const old = names.get(name);
    if (old && (old[0] !== r[0] || old[1] !== r[1])) known = new Map();
    names.set(name, r);
  };
  const note = ([a, b]: Range): void => {
    for (const x of [a, b]) if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x));
  };
  const range = (e: Expr): Range => {
    if (e.dtype !== 'index') return anything;
    const old = known.get(e);
    if (old) return old;
    const made = sure(own(e));
    known.set(e, made);
    note(made);
    return made;
  };
  const binary = (e: Expr & { readonly k: 'binary' }): Range => {
    const [x, y] = [range(e.x), range(e.y)];
    const by = y[0] === y[1] && y[0] > 0 ? y[0] : undefined;
    switch (e.op) {
      case 'add':
        return [x[0] + y[0], x[1] + y[1]];
      case 'sub':
        return [x[0] - y[1], x[1] - y[0]];
      case 'mul':
        return around(product(x[0], y[0]), product(x[0], y[1]), product(x[1], y[0]), product(x[1], y[1]));
      case 'min':
        return [Math.min(x[0], y[0]), Math.min(x[1], y[1])];
      case 'max':
        return [Math.max(x[0], y[0]), Math.max(x[1], y[1])];
      case 'div':
        return by === undefined ? anything : quotient(x, by);
      case 'rem':
        return by === undefined ? anything : remainder(x, by);
      default:
        return anything;
    }
  };
  const own = (e: Expr): Range => {
    switch (e.k) {
      case 'const':
        return [e.value, e.value];
      case 'ref':
        return names.get(e.name) ?? anything;
      case 'block':
        return along(k, e.axis, first, first + count - 1);
      case 'thread':
        return [0, k.threads - 1];
      case 'binary':
        return binary(e);
      case 'select':
        return around(...range(e.x), ...range(e.y));
      case 'splat':
      case 'lane':
        return range(e.x);
      case 'zip':
        return around(...range(e.x), ...range(e.y));
      case 'ramp': {
        const [a, b] = range(e.base);
        return [a, b + e.lanes - 1];
      }
      default:
        return anything;
    }
  };
  /** Whether a condition can be `wanted`, in some block and lane. */
  const may = (e: Expr, wanted: boolean): boolean => {
    if (e.k === 'const') return (e.value !== 0) === wanted;
    if (e.k === 'splat') return may(e.x, wanted);
    if (e.k === 'unary' && e.op === 'not') return may(e.x, !wanted);
    if (e.k === 'binary' && (e.op === 'and' || e.op === 'or')) {
      const [x, y] = [may(e.x, wanted), may(e.y, wanted)];
      return (e.op === 'and') === wanted ? x && y : x || y;
    }
    if (e.k === 'compare' && e.x.dtype === 'index') return holds[e.cmp](range(e.x), range(e.y)) !== !wanted;
    const named = e.k === 'ref' ? meaning.get(e.name) : undefined;
    return !named || may(named, wanted);
  };
  /** Where names lie as a condition is `wanted`; not those of variables, which may have changed since it was asked. */
  const narrowed = (e: Expr, wanted: boolean): readonly (readonly [name: string, Range])[] => {
    if (e.k === 'splat') return narrowed(e.x, wanted);
    if (e.k === 'unary' && e.op === 'not') return narrowed(e.x, !wanted);
    if (e.k === 'binary' && e.op === (wanted ? 'and' : 'or')) return [...narrowed(e.x, wanted), ...narrowed(e.y, wanted)];
    if (e.k === 'compare' && e.x.k === 'ref' && e.x.dtype === 'index' && e.x.lanes === 1 && names.has(e.x.name))
      return [[e.x.name, beside[wanted ? e.cmp : opposite[e.cmp]](range(e.y))]];
    const named = e.k === 'ref' ? meaning.get(e.name) : undefined;
    return named ? narrowed(named, wanted) : [];
  };
  /** Runs `f` where a condition is `wanted`; not at all where it cannot be. */
  const where = (e: Expr, wanted: boolean, f: () => void): void => {
    if (!may(e, wanted)) return;
    const narrow = narrowed(e, wanted);
    const before = { known, largest, ranges: narrow.map(([name]) => [name, names.get(name) as Range] as const) };
    known = new Map();
    for (const [name, [from, to]] of narrow) {
      const [a, b] = names.get(name) as Range;
      names.set(name, [Math.max(a, from), Math.min(b, to)]);
    }
    const empty = narrow.some(([name]) => {
      const [a, b] = names.get(name) as Range;
      return a > b;
    });
    if (!empty) f();
    for (const [name, r] of before.ranges) names.set(name, r);
    // both sides of a select are computed, whichever is taken
    ({ known, largest } = before);
  };
  /**
   * Lanes that are masked off are asked for nothing: what lies outside is left out. Of a select, which a guard makes of an address, each side counts where it
   * is taken.
   */
  const touch = (buffer: string, address: Expr, lanes: number): void => {
    const size = sizes.get(buffer);
    if (size === undefined) return;
    const [a, b] = range(address);
    const index = (address.k === 'ref' && meaning.get(address.name)) || address;
    if (index.k === 'select') {
      where(index.c, true, () => touch(buffer, index.x, lanes));
      where(index.c, false, () => touch(buffer, index.y, lanes));
      return;
    }
    const [from, to] = [Math.max(0, a), Math.min(size, b + (index.lanes === 1 ? lanes : 1))];
    if (from < to) spans.set(buffer, [...(spans.get(buffer) ?? []), { from, to }]);
  };

  const walk = (body: readonly Stmt[]): void => {
    for (const s of body) {
      each(exprs(s), (x) => {
        if (x.k === 'load') touch(x.from, x.index, x.lanes);
      });
      if (s.s === 'let') {
        bind(s.name, range(s.value));
        meaning.set(s.name, s.value);
      } else if (s.s === 'var') {
        bind(s.name, anything);
        names.delete(s.name);
        meaning.delete(s.name);
      } else if (s.s === 'store') touch(s.to, s.index, s.value.lanes);
      else if (s.s === 'copy') touch(s.from, s.index, s.lanes);
      else if (s.s === 'tensorMap') spans.set(s.from, [{ from: 0, to: sizes.get(s.from) ?? 0 }]);
      else if (s.s === 'for') {
        const [from, to] = [range(s.from), range(s.to)];
        // the counter passes the bound by a step at most
        note([from[0], to[1] - 1 + s.step]);
        if (from[0] >= to[1]) continue;
        const steps = from[0] === from[1] ? Math.floor((to[1] - 1 - from[0]) / s.step) * s.step : to[1] - 1 - from[0];
        bind(s.name, sure([from[0], from[0] + steps]));
        walk(s.body);
      } else if (s.s === 'if') {
        if (may(s.cond, true)) walk(s.body);
        if (may(s.cond, false)) walk(s.otherwise);
      }
    }
  };
  walk(k.body);
  return { spans, largest };
};
