/**
 * Sizes of axes: integers, or integer polynomials over named sizes in canonical form.
 *
 * A program is traced once over names (`B`, `N+1`, `3*D`) and bound to numbers before lowering, so every shape rule works
 * on both. Canonical form makes equality exact: `2*(N+1)` and `N+N+2` are the same polynomial. A quotient that is not a
 * polynomial (`D/H`) becomes a name of its own, `(D/H)`, that multiplies back: `(D/H)*H = D`.
 *
 *   parseDim('3*D+1')  ->  Poly { 'D': 3, '': 1 }        String(...)  ->  '3*D+1'
 */

export type Dim = number | Poly;

/** A non-constant polynomial. Keys are monomials: sorted names joined by `*`, `''` for the constant term. */
export class Poly {
  readonly terms: ReadonlyMap<string, number>;
  constructor(terms: ReadonlyMap<string, number>) {
    this.terms = terms;
  }
  toString(): string {
    const order = [...this.terms].sort(([a], [b]) => (a === '' ? 1 : b === '' ? -1 : a < b ? -1 : 1));
    const show = ([m, c]: [string, number]): string => (m === '' ? `${c}` : c === 1 ? m : c === -1 ? `-${m}` : `${c}*${m}`);
    return order.map(show).join('+').replaceAll('+-', '-');
  }
}

const terms = (d: Dim): ReadonlyMap<string, number> => (typeof d === 'number' ? new Map(d === 0 ? [] : [['', d]]) : d.terms);
/** Factors of a monomial; a quotient, which may hold `*` itself, is one factor. */
const factors = (monomial: string): string[] => monomial.match(/\((?:[^()]|\([^()]*\))*\)|[^*]+/g) ?? [];
/** A quotient's top and bottom: `(a/b)` or, with several factors below, `(a/(b*c))`. */
const quotientParts = (factor: string): RegExpMatchArray | null => factor.match(/^\(([^/()]+)\/\(?([^/()]+?)\)?\)$/);

const normal = (m: Map<string, number>): Dim => {
  for (const [k, v] of m) if (v === 0) m.delete(k);
  if (m.size === 0) return 0;
  if (m.size === 1 && m.has('')) return m.get('') as number;
  return new Poly(m);
};

/** Factors of a monomial with every `(a/b) * b` pair replaced by the factors of `a`. */
const cancel = (fs: string[]): string[] => {
  for (let i = 0; i < fs.length; i++) {
    const q = quotientParts(fs[i] as string);
    if (!q) continue;
    const rest = fs.filter((_, j) => j !== i);
    const bottom = factors(q[2] as string);
    if (bottom.every((b) => rest.includes(b))) {
      for (const b of bottom) rest.splice(rest.indexOf(b), 1);
      return cancel([...rest, ...factors(q[1] as string)]);
    }
  }
  return fs;
};

export const sym = (name: string): Dim => new Poly(new Map([[name, 1]]));

export const addDim = (a: Dim, b: Dim): Dim => {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  const m = new Map(terms(a));
  for (const [k, v] of terms(b)) m.set(k, (m.get(k) ?? 0) + v);
  return normal(m);
};

export const mulDim = (a: Dim, b: Dim): Dim => {
  if (typeof a === 'number' && typeof b === 'number') return a * b + 0; // no -0
  const m = new Map<string, number>();
  for (const [ka, va] of terms(a))
    for (const [kb, vb] of terms(b)) {
      const k = cancel([...factors(ka), ...factors(kb)])
        .sort()
        .join('*');
      m.set(k, (m.get(k) ?? 0) + va * vb);
    }
  return normal(m);
};

export const subDim = (a: Dim, b: Dim): Dim => addDim(a, mulDim(b, -1));
export const eqDim = (a: Dim, b: Dim): boolean => a === b || subDim(a, b) === 0;
export const prodDim = (ds: readonly Dim[]): Dim => ds.reduce<Dim>(mulDim, 1);
export const eqShape = (a: readonly Dim[], b: readonly Dim[]): boolean => a.length === b.length && a.every((d, i) => eqDim(d, b[i] as Dim));

/** Exact quotient; `undefined` when a number does not divide (0 divides nothing), or when the quotient is not expressible. */
export const divDim = (a: Dim, b: Dim): Dim | undefined => {
  if (b === 0) return undefined;
  if (eqDim(a, b)) return 1;
  if (typeof a === 'number' && typeof b === 'number') return a % b === 0 ? a / b + 0 : undefined;
  const bottom = [...terms(b)];
  if (bottom.length !== 1) return undefined;
  const [kb, vb] = bottom[0] as [string, number];
  const m = new Map<string, number>();
  for (const [ka, va] of terms(a)) {
    if (va % vb !== 0) return quotient(a, b);
    const rest = factors(ka);
    for (const f of factors(kb)) {
      const i = rest.indexOf(f);
      if (i < 0) return quotient(a, b);
      rest.splice(i, 1);
    }
    const k = rest.join('*');
    m.set(k, (m.get(k) ?? 0) + va / vb);
  }
  return normal(m);
};

/** `D/H` as a name of its own; only for monomials, so that it can cancel again. */
const quotient = (a: Dim, b: Dim): Dim | undefined => {
  const [ta, tb] = [[...terms(a)], [...terms(b)]];
  const simple = ta.length === 1 && tb.length === 1 && ta[0]?.[1] === 1 && tb[0]?.[1] === 1 && !`${a}${b}`.includes('/');
  return simple ? sym(`${b}`.includes('*') ? `(${a}/(${b}))` : `(${a}/${b})`) : undefined;
};

/** Replaces names by sizes; names that are not in `env` stay. Throws nothing: a quotient that does not divide stays a name. */
export const bindDim = (d: Dim, env: ReadonlyMap<string, Dim>): Dim => {
  if (typeof d === 'number') return d;
  const name = (f: string): Dim => {
    const q = quotientParts(f);
    if (!q) return env.get(f) ?? sym(f);
    const of = (s: string | undefined): Dim => prodDim(factors(s as string).map(name));
    return divDim(of(q[1]), of(q[2])) ?? sym(f);
  };
  let r: Dim = 0;
  for (const [k, v] of d.terms)
    r = addDim(
      r,
      factors(k).reduce<Dim>((acc, f) => mulDim(acc, name(f)), v),
    );
  return r;
};

/** Names occurring in a dim: `3*D+(N/H)` -> D, N, H. */
export const dimNames = (d: Dim): string[] =>
  typeof d === 'number' ? [] : [...new Set([...d.terms.keys()].flatMap((k) => k.match(/[A-Za-z_]\w*/g) ?? []))];

/** The number of a bound dim; throws a plain Error (a compiler bug) if names remain. */
export const known = (d: Dim): number => {
  if (typeof d !== 'number') throw new Error(`internal: the size ${d} is not bound to a number`);
  return d;
};

/** Parses what `String(dim)` prints and what users write: `+ - * /` over names, integers and parentheses. */
export const parseDim = (text: string, env?: ReadonlyMap<string, Dim>): Dim => {
  const toks = text.match(/[A-Za-z_]\w*|\d+|[-+*/()]/g) ?? [];
  let i = 0;
  const fail = (): never => {
    throw new Error(`not a size: '${text}'`);
  };
  const atom = (): Dim => {
    const t = toks[i++] ?? fail();
    if (t === '(') {
      const d = sum();
      if (toks[i++] !== ')') fail();
      return d;
    }
    if (t === '-') return mulDim(atom(), -1);
    if (/^\d/.test(t)) return Number(t);
    return /^[A-Za-z_]/.test(t) ? (env?.get(t) ?? sym(t)) : fail();
  };
  const product = (): Dim => {
    let d = atom();
    while (toks[i] === '*' || toks[i] === '/') d = toks[i++] === '*' ? mulDim(d, atom()) : (divDim(d, atom()) ?? fail());
    return d;
  };
  const sum = (): Dim => {
    let d = product();
    while (toks[i] === '+' || toks[i] === '-') d = toks[i++] === '+' ? addDim(d, product()) : subDim(d, product());
    return d;
  };
  const d = sum();
  return i === toks.length && toks.join('') === text.replace(/\s+/g, '') ? d : fail();
};

export const showShape = (s: readonly Dim[]): string => `[${s.map(String).join(' ')}]`;
