/**
 * What is known of an index: its smallest and largest value, and its linear form (a sum of multiples of atoms). With both,
 * most of the divisions that views leave behind disappear. Only `index` is treated: it does not wrap.
 *
 *   i in 0..63:   div(add(mul(j, 64), i), 64) = j      rem(add(mul(j, 64), i), 64) = i
 *                 add(mul(div(x, 64), 64), rem(x, 64)) = x
 */
import * as e from './expr.ts';
import type { Expr } from './types.ts';

export interface Range {
  readonly min: number;
  readonly max: number;
}
/** Ranges of the leaves (references, blocks, the thread), and what followed from them so far. */
export interface Facts {
  readonly leaf: (x: Expr) => Range | undefined;
  readonly known: Map<Expr, Range>;
}

const anywhere: Range = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);

export const rangeOf = (x: Expr, facts: Facts): Range => {
  if (x.dtype !== 'index') return anywhere;
  const old = facts.known.get(x);
  if (old) return old;
  const r = (() => {
    switch (x.k) {
      case 'const':
        return { min: x.value, max: x.value };
      case 'ref':
      case 'block':
      case 'thread':
        return facts.leaf(x) ?? anywhere;
      case 'splat':
        return rangeOf(x.x, facts);
      case 'lane':
        return rangeOf(x.x, facts);
      case 'ramp': {
        const b = rangeOf(x.base, facts);
        return { min: b.min, max: b.max + x.lanes - 1 };
      }
      case 'select': {
        const [a, b] = [rangeOf(x.x, facts), rangeOf(x.y, facts)];
        return { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };
      }
      case 'binary': {
        const [a, b] = [rangeOf(x.x, facts), rangeOf(x.y, facts)];
        switch (x.op) {
          case 'add':
            return { min: a.min + b.min, max: a.max + b.max };
          case 'sub':
            return { min: a.min - b.max, max: a.max - b.min };
          case 'mul': {
            const all = [times(a.min, b.min), times(a.min, b.max), times(a.max, b.min), times(a.max, b.max)];
            return { min: Math.min(...all), max: Math.max(...all) };
          }
          case 'min':
            return { min: Math.min(a.min, b.min), max: Math.min(a.max, b.max) };
          case 'max':
            return { min: Math.max(a.min, b.min), max: Math.max(a.max, b.max) };
          // both operands are >= 0 here, by the rules of K
          case 'div':
            return b.min > 0
              ? { min: b.max === Number.POSITIVE_INFINITY ? 0 : Math.floor(Math.max(a.min, 0) / b.max), max: Math.floor(a.max / b.min) }
              : { min: 0, max: Math.max(a.max, 0) };
          case 'rem':
            return { min: 0, max: Math.min(Math.max(a.max, 0), b.max - 1) };
          default:
            return anywhere;
        }
      }
      default:
        return anywhere;
    }
  })();
  facts.known.set(x, r);
  return r;
};

/** sum of coefficient * atom, plus a constant. Atoms are compared by identity: intern first. */
export interface Linear {
  readonly terms: ReadonlyMap<Expr, number>;
  readonly constant: number;
}

export const linearOf = (x: Expr): Linear => {
  const terms = new Map<Expr, number>();
  let constant = 0;
  const visit = (y: Expr, factor: number): void => {
    if (y.k === 'const') constant += factor * y.value;
    else if (y.k === 'binary' && y.op === 'add') {
      visit(y.x, factor);
      visit(y.y, factor);
    } else if (y.k === 'binary' && y.op === 'sub') {
      visit(y.x, factor);
      visit(y.y, -factor);
    } else if (y.k === 'binary' && y.op === 'mul' && y.y.k === 'const') visit(y.x, factor * y.y.value);
    else terms.set(y, (terms.get(y) ?? 0) + factor);
  };
  visit(x, 1);
  for (const [a, c] of terms) if (c === 0) terms.delete(a);
  return { terms, constant };
};

/** The sum as an expression again. */
export const fromLinear = (l: Linear): Expr => {
  let sum: Expr | undefined;
  for (const [a, c] of l.terms) {
    if (c < 0) continue;
    const t = e.mul(a, c);
    sum = sum ? e.add(sum, t) : t;
  }
  if (l.constant > 0 || !sum) sum = sum ? e.add(sum, l.constant) : e.index(Math.max(0, l.constant));
  for (const [a, c] of l.terms) if (c < 0) sum = e.sub(sum, e.mul(a, -c));
  return l.constant < 0 ? e.sub(sum, -l.constant) : sum;
};

/** (x div c) * c + (x rem c) = x, wherever the sum has both with fitting factors. */
const rejoin = (l: Linear): Linear | undefined => {
  for (const [r, a] of l.terms) {
    if (r.k !== 'binary' || r.op !== 'rem' || r.y.k !== 'const') continue;
    const c = r.y.value;
    for (const [d, b] of l.terms) {
      if (d.k !== 'binary' || d.op !== 'div' || d.x !== r.x || d.y.k !== 'const' || d.y.value !== c || b !== a * c) continue;
      const whole = linearOf(r.x);
      const terms = new Map(l.terms);
      terms.delete(r);
      terms.delete(d);
      for (const [t, f] of whole.terms) terms.set(t, (terms.get(t) ?? 0) + a * f);
      for (const [t, f] of terms) if (f === 0) terms.delete(t);
      const joined = { terms, constant: l.constant + a * whole.constant };
      return rejoin(joined) ?? joined;
    }
  }
  return undefined;
};

/** x div c or x rem c for a sum x >= 0: its multiples of c leave the division. */
const split = (x: Expr & { readonly k: 'binary' }, c: number, facts: Facts): Expr | undefined => {
  const l = linearOf(x.x);
  // not >= 0: the bound may also be unknown
  if (!(rangeOf(x.x, facts).min >= 0)) return undefined;
  const whole = new Map([...l.terms].filter(([, f]) => f % c === 0).map(([t, f]) => [t, f / c]));
  const rest = { terms: new Map([...l.terms].filter(([, f]) => f % c !== 0)), constant: ((l.constant % c) + c) % c };
  const quotient = { terms: whole, constant: (l.constant - rest.constant) / c };
  if (whole.size === 0 && quotient.constant === 0 && rest.terms.size > 0) {
    // nothing to take out; but all of it may be smaller than c
    return rangeOf(x.x, facts).max < c ? (x.op === 'div' ? e.index(0) : x.x) : undefined;
  }
  const left = fromLinear(rest);
  const r = rangeOf(left, facts);
  if (!(r.min >= 0)) return undefined;
  const small = r.max < c;
  if (x.op === 'rem') return small ? left : e.rem(left, c);
  return small ? fromLinear(quotient) : e.add(fromLinear(quotient), e.div(left, c));
};

/** A cheaper expression of equal value, by ranges and linear forms; undefined where there is none. Operands are interned. */
export const improve = (x: Expr, facts: Facts): Expr | undefined => {
  if (x.k === 'compare' && x.x.dtype === 'index') {
    const [a, b] = [rangeOf(x.x, facts), rangeOf(x.y, facts)];
    const yes = {
      lt: a.max < b.min,
      le: a.max <= b.min,
      gt: a.min > b.max,
      ge: a.min >= b.max,
      eq: a.min === b.max && a.max === b.min,
      ne: a.max < b.min || a.min > b.max,
    };
    const no = { lt: a.min >= b.max, le: a.min > b.max, gt: a.max <= b.min, ge: a.max < b.min, eq: yes.ne, ne: yes.eq };
    return yes[x.cmp] ? e.bool(true, x.lanes) : no[x.cmp] ? e.bool(false, x.lanes) : undefined;
  }
  if (x.dtype !== 'index' || x.k === 'const') return undefined;
  const all = rangeOf(x, facts);
  if (all.min === all.max) return e.constant(all.min, 'index', x.lanes);
  if (x.k !== 'binary') return undefined;
  if (x.op === 'min' || x.op === 'max') {
    const [a, b] = [rangeOf(x.x, facts), rangeOf(x.y, facts)];
    const [low, high] = [a.max <= b.min, b.max <= a.min];
    return low ? (x.op === 'min' ? x.x : x.y) : high ? (x.op === 'min' ? x.y : x.x) : undefined;
  }
  if (x.lanes !== 1) return undefined;
  if ((x.op === 'div' || x.op === 'rem') && x.y.k === 'const' && x.y.value > 0) {
    const c = x.y.value;
    if (x.x.k === 'binary' && x.x.y.k === 'const') {
      if (x.op === 'div' && x.x.op === 'div') return e.div(x.x.x, x.x.y.value * c);
      if (x.op === 'rem' && x.x.op === 'rem' && x.x.y.value % c === 0) return e.rem(x.x.x, c);
    }
    return split(x, c, facts);
  }
  if (x.op === 'add') {
    const joined = rejoin(linearOf(x));
    return joined && fromLinear(joined);
  }
  return undefined;
};
