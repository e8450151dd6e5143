/**
 * Index arithmetic with enough structure to see vectors. An index is c + sum(k * atom); an atom is a loop variable, the
 * lane number, or a quotient or remainder that could not be taken apart, each with a known range and a known divisor.
 * Flattening and unflattening cancel (`b * (p div b) + p rem b = p`), and a quotient loses what cannot reach its divisor:
 *
 *   i = 16 u + lane:   i div 384  ->  u div 24          (the same in all lanes)
 *                      i rem 384  ->  16 (u rem 24) + lane   (consecutive: a vector load)
 *
 * `view` says which of three kinds an index is for the lanes of a vector: the same, consecutive, or irregular. Negative
 * parts are subtracted last, so that a value that is not negative is computed without negative intermediate results, and
 * comparisons are made with all terms on the side where they are positive: targets with unsigned indices need both.
 */
import * as e from '../kernel/expr.ts';
import { printExpr } from '../kernel/print.ts';
import type { Expr } from '../kernel/types.ts';

interface Atom {
  readonly id: number;
  /** Made when first asked for: most quotients meet their remainder and are never computed. */
  readonly expr: () => Expr;
  readonly lanes: number;
  /** Whether it changes along the innermost loop. */
  readonly inner: boolean;
  readonly lo: number;
  readonly hi: number;
  /** Every value of the atom is a multiple of this. */
  readonly multiple: number;
  /** Quotient and remainder atoms: of what, by what. */
  readonly quotient?: { readonly of: Affine; readonly by: number };
  readonly remainder?: { readonly of: Affine; readonly by: number; readonly quotient: () => Atom };
}
interface Term {
  readonly atom: Atom;
  readonly k: number;
}

export interface Affine {
  readonly c: number;
  /** By ascending atom number; no k is 0. */
  readonly terms: readonly Term[];
  readonly lo: number;
  readonly hi: number;
  /** Equal indices have equal keys. */
  readonly key: string;
}

export type View = { readonly kind: 'same' | 'unit' | 'irregular'; readonly expr: Expr };

export interface Indices {
  readonly lanes: number;
  /** Where fewer elements are left than there are lanes: which lanes have one. Memory is touched under this mask. */
  readonly mask: Expr | undefined;
  /** 0, 1, ..., lanes - 1 across the lanes. */
  readonly lane: Affine;
  /** An index from an expression (scalar, or one value a lane) whose values lie in [lo, hi] and are multiples of `multiple`. */
  atom(expr: Expr, lo: number, hi: number, multiple?: number, inner?: boolean): Affine;
  div(a: Affine, by: number): Affine;
  rem(a: Affine, by: number): Affine;
  /** a < n, as a constant where ranges decide it, and as a scalar where the lanes cannot differ. */
  below(a: Affine, n: number): Expr;
  view(a: Affine): View;
  /** One index a lane (or a scalar), of dtype index. */
  expr(a: Affine): Expr;
  /** Quotients and remainders that had to be computed so far, along the innermost loop and outside of it. */
  readonly divisions: { readonly inner: number; readonly outer: number };
  /** Comparisons that ranges could not decide: those that may change along the innermost loop, by count, and the others. */
  readonly undecided: number;
  readonly open: readonly Condition[];
}

/** below(a, n), which stays the same along the innermost loop: a template may branch on it and assume the outcome. */
export interface Condition {
  readonly cond: Expr;
  /** Names the compared index in every `Indices` that has the same outer variables. */
  readonly what: string;
  readonly n: number;
}
/** What is known of indices from branches taken, by `what`. */
export type Assumptions = ReadonlyMap<string, { readonly lo: number; readonly hi: number }>;

const make = (c: number, terms: readonly Term[], lo: number, hi: number): Affine => ({
  c,
  terms,
  lo,
  hi,
  key: terms.length === 0 ? `${c}` : `${terms.map((t) => `${t.k}.${t.atom.id}`).join('+')}+${c}`,
});
export const number = (c: number): Affine => make(c, [], c, c);

const bounds = (c: number, terms: readonly Term[]): readonly [number, number] => {
  let [lo, hi] = [c, c];
  for (const { atom, k } of terms) {
    lo += k * (k > 0 ? atom.lo : atom.hi);
    hi += k * (k > 0 ? atom.hi : atom.lo);
  }
  return [lo, hi];
};

export const scale = (a: Affine, k: number): Affine => {
  if (k === 0) return number(0);
  if (k === 1) return a;
  const terms = a.terms.map((t) => ({ atom: t.atom, k: t.k * k }));
  return make(a.c * k, terms, k > 0 ? a.lo * k : a.hi * k, k > 0 ? a.hi * k : a.lo * k);
};
export const shift = (a: Affine, c: number): Affine => (c === 0 ? a : make(a.c + c, a.terms, a.lo + c, a.hi + c));

const merge = (a: readonly Term[], b: readonly Term[]): readonly Term[] => {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const out: Term[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [x, y] = [a[i], b[j]];
    if (x && (!y || x.atom.id < y.atom.id)) {
      out.push(x);
      i++;
    } else if (y && (!x || y.atom.id < x.atom.id)) {
      out.push(y);
      j++;
    } else if (x && y) {
      if (x.k + y.k !== 0) out.push({ atom: x.atom, k: x.k + y.k });
      i++;
      j++;
    }
  }
  return out;
};

/** Sum. A remainder that meets its quotient, both with fitting factors, becomes the whole again. */
export const add = (a: Affine, b: Affine): Affine => {
  if (a.terms.length === 0) return shift(b, a.c);
  if (b.terms.length === 0) return shift(a, b.c);
  const terms = merge(a.terms, b.terms);
  const c = a.c + b.c;
  for (const t of terms) {
    const r = t.atom.remainder;
    const q = r && terms.find((u) => u.atom.quotient && u.k === t.k * r.by && u.atom === r.quotient());
    if (r && q) {
      const rest = terms.filter((u) => u !== t && u !== q);
      return add(make(c, rest, ...bounds(c, rest)), scale(r.of, t.k));
    }
  }
  const [lo, hi] = bounds(c, terms);
  return make(c, terms, Math.max(lo, a.lo + b.lo), Math.min(hi, a.hi + b.hi));
};
/** The same index where it is known, from outside, to lie in [lo, hi] (behind a guard). */
export const within = (a: Affine, lo: number, hi: number): Affine => make(a.c, a.terms, Math.max(a.lo, lo), Math.min(a.hi, hi));

const gcd = (a: number, b: number): number => {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
};
const mod = (a: number, n: number): number => a - Math.floor(a / n) * n;

/** a = whole * by + coarse + fine, with 0 <= fine < step, and coarse a multiple of step, which divides `by`. */
interface Parts {
  readonly whole: Affine;
  readonly coarse: Affine;
  readonly fine: Affine;
  readonly step: number;
}
const reach = (t: Term): number => Math.abs(t.k) * t.atom.multiple;

const takeApart = (a: Affine, by: number): Parts => {
  const exact = a.terms.filter((t) => t.k % by === 0);
  const rest = a.terms.filter((t) => t.k % by !== 0);
  const c = mod(a.c, by);
  const terms = exact.map((t) => ({ atom: t.atom, k: t.k / by }));
  const whole = make((a.c - c) / by, terms, ...bounds((a.c - c) / by, terms));
  const [lo, hi] = bounds(c, rest);
  // with no exact part, what is known of `a` from outside holds for the rest as well
  const known = exact.length === 0 ? make(c, rest, Math.max(lo, a.lo - (a.c - c)), Math.min(hi, a.hi - (a.c - c))) : make(c, rest, lo, hi);
  const turns = Math.floor(known.lo / by);
  if (turns === Math.floor(known.hi / by))
    return { whole: shift(whole, turns), coarse: number(0), fine: shift(known, -turns * by), step: by };
  const order = [...rest].sort((x, y) => reach(y) - reach(x));
  let step = by;
  for (let cut = 1; cut <= order.length; cut++) {
    step = gcd(step, reach(order[cut - 1] as Term));
    const big = order.slice(0, cut).sort((x, y) => x.atom.id - y.atom.id);
    const small = order.slice(cut).sort((x, y) => x.atom.id - y.atom.id);
    const fine = make(mod(c, step), small, ...bounds(mod(c, step), small));
    if (fine.lo < 0 || fine.hi >= step) continue;
    const cc = c - mod(c, step);
    const [blo, bhi] = bounds(cc, big);
    const floorTo = (x: number): number => x - mod(x, step);
    return { whole, coarse: make(cc, big, Math.max(blo, floorTo(known.lo)), Math.min(bhi, floorTo(known.hi))), fine, step };
  }
  return { whole, coarse: known, fine: number(0), step: 1 };
};

/**
 * Index arithmetic for code that computes `lanes` elements at a time, of which the first `active` exist: ranges are those of the
 * elements that exist.
 */
export const indices = (lanes: number, assumed: Assumptions = new Map(), active = lanes): Indices => {
  let next = 0;
  const divisions = { inner: 0, outer: 0 };
  let undecided = 0;
  const open: Condition[] = [];
  const atoms = new Map<string, Atom>();
  const exprs = new Map<string, Expr>();
  const byExpr = new Map<Expr, Affine>();
  const one = (atom: Atom): Affine => make(0, [{ atom, k: 1 }], atom.lo, atom.hi);
  const memo = (key: string, create: () => Omit<Atom, 'id'>): Atom => {
    const old = atoms.get(key);
    if (old) return old;
    const atom = { ...create(), id: next++ };
    atoms.set(key, atom);
    return atom;
  };
  const atom: Indices['atom'] = (expr, lo, hi, multiple = 1, inner = false) => {
    if (lo === hi) return number(lo);
    const old = byExpr.get(expr);
    if (old) return old;
    const a = one({ id: next++, expr: () => expr, lanes: expr.lanes, inner, lo, hi, multiple });
    byExpr.set(expr, a);
    return a;
  };
  const ramp = e.ramp(e.index(0), lanes);
  // never a plain number, even for one element: the loads of a vector are vectors
  const laneAtom: Atom | undefined =
    lanes === 1 ? undefined : { id: next++, expr: () => ramp, lanes, inner: true, lo: 0, hi: active - 1, multiple: 1 };
  const lane = laneAtom ? one(laneAtom) : number(0);

  const sum = (c: number, terms: readonly Term[]): Expr => {
    const product = (t: Term, k: number): Expr => e.mul(t.atom.expr(), k);
    const up = terms.filter((t) => t.k > 0).map((t) => product(t, t.k));
    const down = terms.filter((t) => t.k < 0).map((t) => product(t, -t.k));
    const plus = up.length === 0 || (c > 0 && down.length > 0) ? [...up, e.index(Math.max(c, 0))] : up;
    const total = down.reduce(
      (x, y) => e.sub(x, y),
      plus.reduce((x, y) => e.add(x, y)),
    );
    if (c > 0 && plus === up) return e.add(total, c);
    return c < 0 ? e.sub(total, -c) : total;
  };
  /** Scalar terms first and the lanes last, so that scalar arithmetic stays scalar. */
  const expr: Indices['expr'] = (a) => {
    const old = exprs.get(a.key);
    if (old) return old;
    const scalar = a.terms.filter((t) => t.atom.lanes === 1);
    const vector = a.terms.filter((t) => t.atom.lanes > 1);
    const lowest = bounds(a.c, scalar)[0];
    const build = (): Expr => {
      if (vector.length === 0) return sum(a.c, scalar);
      if (vector.length === 1 && vector[0]?.atom === laneAtom && vector[0]?.k === 1 && lowest >= 0) return e.ramp(sum(a.c, scalar), lanes);
      if (scalar.length > 0 && lowest >= 0 && vector.every((t) => t.k > 0)) return e.add(sum(0, vector), sum(a.c, scalar));
      return e.splat(sum(a.c, a.terms), lanes);
    };
    const made = build();
    exprs.set(a.key, made);
    return made;
  };
  const view: Indices['view'] = (a) => {
    const vector = a.terms.filter((t) => t.atom.lanes > 1);
    if (vector.length === 0) return { kind: 'same', expr: expr(a) };
    if (vector.length === 1 && vector[0]?.atom === laneAtom && vector[0]?.k === 1) {
      const base = a.terms.filter((t) => t.atom !== laneAtom);
      return { kind: 'unit', expr: expr(make(a.c, base, ...bounds(a.c, base))) };
    }
    return { kind: 'irregular', expr: expr(a) };
  };
  // behind a guard the dividend may be out of range: keep it from going below 0, where division is undefined
  const dividend = (a: Affine): Expr => (bounds(a.c, a.terms)[0] < 0 ? e.max(expr(a), 0) : expr(a));

  const later = (a: Affine, build: () => Expr): Pick<Atom, 'expr' | 'lanes' | 'inner'> => {
    let made: Expr | undefined;
    const inner = a.terms.some((t) => t.atom.inner);
    const expr = (): Expr => {
      if (!made) divisions[inner ? 'inner' : 'outer']++;
      made ??= build();
      return made;
    };
    return { expr, lanes: Math.max(1, ...a.terms.map((t) => t.atom.lanes)), inner };
  };

  const quotientAtom = (a: Affine, by: number): Atom => {
    const only = a.c === 0 && a.terms.length === 1 && a.terms[0]?.k === 1 ? a.terms[0].atom.quotient : undefined;
    if (only) return quotientAtom(only.of, only.by * by);
    return memo(`${a.key}/${by}@${a.lo},${a.hi}`, () => {
      const [lo, hi] = [Math.max(0, Math.floor(a.lo / by)), Math.max(0, Math.floor(a.hi / by))];
      return { ...later(a, () => e.div(dividend(a), by)), lo, hi, multiple: 1, quotient: { of: a, by } };
    });
  };
  const remainderAtom = (a: Affine, by: number, multiple: number): Atom =>
    memo(`${a.key}%${by}@${a.lo},${a.hi}`, () => {
      const fits = by % multiple === 0 ? multiple : 1;
      return {
        ...later(a, () => e.rem(dividend(a), by)),
        lo: 0,
        hi: by - fits,
        multiple: fits,
        remainder: { of: a, by, quotient: () => quotientAtom(a, by) },
      };
    });
  /** The coarse part divided by the largest number that leaves whole factors. */
  const coarse = (p: Parts, by: number): { readonly of: Affine; readonly by: number; readonly h: number } => {
    const h = p.coarse.terms.reduce((g, t) => gcd(g, t.k), gcd(p.step, p.coarse.c));
    const terms = p.coarse.terms.map((t) => ({ atom: t.atom, k: t.k / h }));
    return { of: make(p.coarse.c / h, terms, Math.ceil(p.coarse.lo / h), Math.floor(p.coarse.hi / h)), by: by / h, h };
  };
  const div: Indices['div'] = (a, by) => {
    if (by === 1) return a;
    const p = takeApart(a, by);
    if (p.coarse.terms.length === 0) return p.whole;
    const q = coarse(p, by);
    return add(p.whole, one(quotientAtom(q.of, q.by)));
  };
  const rem: Indices['rem'] = (a, by) => {
    if (by === 1) return number(0);
    const p = takeApart(a, by);
    if (p.coarse.terms.length === 0) return p.fine;
    const q = coarse(p, by);
    return add(p.fine, scale(one(remainderAtom(q.of, q.by, p.step / q.h)), q.h));
  };
  const below: Indices['below'] = (a, n) => {
    if (a.hi < n) return e.bool(true);
    if (a.lo >= n) return e.bool(false);
    const p = n > 0 ? takeApart(a, n) : undefined;
    // fine < step and everything else a multiple of step, as n is: fine cannot change the answer
    const terms =
      p && p.coarse.terms.length > 0
        ? a.terms.filter((t) => !p.fine.terms.some((f) => f.atom === t.atom))
        : p
          ? a.terms.filter((t) => t.k % n === 0)
          : a.terms;
    const c = p ? a.c - p.fine.c : a.c;
    const bound = n - c;
    const left = sum(
      Math.max(-bound, 0),
      terms.filter((t) => t.k > 0),
    );
    const right = sum(
      Math.max(bound, 0),
      terms.filter((t) => t.k < 0).map((t) => ({ atom: t.atom, k: -t.k })),
    );
    const cond = e.lt(left, right);
    if (terms.some((t) => t.atom.inner)) {
      undecided++;
      return cond;
    }
    if (a.c < 0 || a.terms.some((t) => t.k < 0 || t.atom.inner)) return cond;
    const what = printExpr(expr(a));
    const known = assumed.get(what);
    if (known && known.hi < n) return e.bool(true);
    if (known && known.lo >= n) return e.bool(false);
    open.push({ cond, what, n });
    return cond;
  };
  return {
    lanes,
    mask: active < lanes ? e.lt(ramp, active) : undefined,
    lane,
    atom,
    div,
    rem,
    below,
    view,
    expr,
    divisions,
    get undecided() {
      return undecided;
    },
    open,
  };
};

/** Row-major position of index vector `ix` in `shape`. */
export const linear = (ix: readonly Affine[], shape: readonly number[]): Affine => {
  let stride = 1;
  let sum = number(0);
  for (let i = shape.length - 1; i >= 0; i--) {
    sum = add(scale(ix[i] as Affine, stride), sum);
    stride *= shape[i] as number;
  }
  return sum;
};

/** Index vector of row-major position `p` in `shape`; `p` lies inside. */
export const unlinear = (s: Indices, p: Affine, shape: readonly number[]): readonly Affine[] => {
  // nothing lies inside an empty shape; whoever asks never runs
  if (shape.includes(0)) return shape.map(() => number(0));
  const out: Affine[] = [];
  let rest = p;
  let left = shape.reduce((x, y) => x * y, 1);
  for (let i = shape.length - 1; i >= 0; i--) {
    const n = shape[i] as number;
    left /= n;
    out.unshift(n === 1 ? number(0) : left === 1 ? rest : s.rem(rest, n));
    if (n !== 1) rest = s.div(rest, n);
  }
  return out;
};
