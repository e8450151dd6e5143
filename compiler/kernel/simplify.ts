/**
 * Kernel to kernel, same meaning, less to do. Three steps, each over the whole kernel:
 *
 *   fold    names become unique; pure lets are put in place of their names; constants fold, divisions and comparisons are
 *           decided by the ranges of loops and grid; loops of no or one round and decided branches disappear
 *   share   a pure expression used twice becomes a let in front of its first use; index arithmetic leaves the loops that
 *           do not change it
 *   prune   lets, variables and arrays that nobody reads disappear
 *
 *   for i = 0 to 64 step 1 { store y[rem(add(mul(j, 64), i), 64)] = ... }     ->     for i = 0 to 64 step 1 { store y[i] = ... }
 *
 * Loads stay where they are: no array changes its contents for an expression that moved.
 */
import * as e from './expr.ts';
import { type Facts, improve, type Range, rangeOf } from './range.ts';
import { share } from './share.ts';
import type { Expr, Kernel, Stmt } from './types.ts';

/** One object for equal expressions. */
const interner = (): ((x: Expr) => Expr) => {
  const ids = new Map<Expr, number>();
  const byKey = new Map<string, Expr>();
  const intern = (x: Expr): Expr => {
    if (ids.has(x)) return x;
    // operands first; building x over them may fold it to something else
    if (e.operands(x).some((o) => intern(o) !== o)) return intern(e.rebuild(x, intern));
    const own =
      x.k === 'const'
        ? `${Object.is(x.value, -0) ? '-0' : x.value}`
        : x.k === 'ref'
          ? x.name
          : x.k === 'block'
            ? x.axis
            : x.k === 'lane'
              ? x.i
              : x.k === 'load'
                ? x.from
                : 'op' in x
                  ? x.op
                  : 'cmp' in x
                    ? x.cmp
                    : '';
    const key = `${x.k} ${own} ${x.dtype} ${x.lanes} ${e
      .operands(x)
      .map((o) => ids.get(o))
      .join(' ')}`;
    const old = byKey.get(key);
    if (old) return old;
    byKey.set(key, x);
    ids.set(x, ids.size);
    return x;
  };
  return intern;
};

/** Neither reads memory nor a variable, and cannot fail: may be computed anywhere its names are known. */
export const purity = (variables: ReadonlySet<string>): ((x: Expr) => boolean) => {
  const known = new Map<Expr, boolean>();
  const pure = (x: Expr): boolean => {
    const old = known.get(x);
    if (old !== undefined) return old;
    const risky =
      x.k === 'load' ||
      (x.k === 'ref' && variables.has(x.name)) ||
      (x.k === 'binary' && (x.op === 'div' || x.op === 'rem') && x.dtype !== 'f32' && !(x.y.k === 'const' && x.y.value !== 0));
    const r = !risky && e.operands(x).every(pure);
    known.set(x, r);
    return r;
  };
  return pure;
};

const fold = (kernel: Kernel): { readonly body: readonly Stmt[]; readonly variables: ReadonlySet<string> } => {
  const intern = interner();
  const used = new Set(kernel.buffers.map((b) => b.name));
  const ranges = new Map<string, Range>();
  const variables = new Set<string>();
  const pure = purity(variables);
  const facts: Facts = {
    leaf: (x) => {
      if (x.k === 'block') return { min: 0, max: kernel.grid[x.axis] - 1 };
      if (x.k === 'thread') return { min: 0, max: kernel.threads - 1 };
      return x.k === 'ref' ? ranges.get(x.name) : undefined;
    },
    known: new Map(),
  };
  const fresh = (name: string): string => {
    let n = name;
    for (let i = 1; used.has(n); i++) n = `${name}_${i}`;
    used.add(n);
    return n;
  };

  /** What the names of the source mean here: an expression, or the new name of an array. */
  interface Scope {
    readonly values: Map<string, Expr>;
    readonly places: Map<string, string>;
    readonly done: Map<Expr, Expr>;
  }
  const inner = (s: Scope): Scope => ({ values: new Map(s.values), places: new Map(s.places), done: new Map() });

  const settle = (x: Expr): Expr => {
    const y = intern(x);
    const better = improve(y, facts);
    return better ? deep(better) : y;
  };
  const settled = new Map<Expr, Expr>();
  /** Interns and improves every node of an expression that improve made. */
  const deep = (x: Expr): Expr => {
    const old = settled.get(x);
    if (old) return old;
    const y = settle(e.rebuild(x, deep));
    settled.set(x, y);
    return y;
  };
  const expr = (s: Scope, x: Expr): Expr => {
    const old = s.done.get(x);
    if (old) return old;
    const y =
      x.k === 'ref'
        ? (s.values.get(x.name) as Expr)
        : x.k === 'load'
          ? settle(e.load({ name: s.places.get(x.from) as string, dtype: x.dtype }, expr(s, x.index), x.lanes, x.mask && expr(s, x.mask)))
          : settle(e.rebuild(x, (o) => expr(s, o)));
    s.done.set(x, y);
    return y;
  };

  const block = (outer: Scope, body: readonly Stmt[]): Stmt[] => {
    const s = inner(outer);
    return body.flatMap((x) => stmt(s, x));
  };
  const bind = (s: Scope, name: string, x: Expr): void => {
    s.values.set(name, x);
  };
  const stmt = (s: Scope, x: Stmt): readonly Stmt[] => {
    switch (x.s) {
      case 'let': {
        const value = expr(s, x.value);
        if (pure(value)) {
          bind(s, x.name, value);
          return [];
        }
        const name = fresh(x.name);
        ranges.set(name, rangeOf(value, facts));
        bind(s, x.name, intern(e.ref(name, value.dtype, value.lanes)));
        return [{ s: 'let', name, value }];
      }
      case 'var': {
        const value = expr(s, x.value);
        const name = fresh(x.name);
        variables.add(name);
        bind(s, x.name, intern(e.ref(name, value.dtype, value.lanes)));
        return [{ s: 'var', name, value }];
      }
      case 'set':
        return [{ s: 'set', name: (s.values.get(x.name) as e.ExprOf<'ref'>).name, value: expr(s, x.value) }];
      case 'alloc': {
        const name = fresh(x.name);
        s.places.set(x.name, name);
        return [{ ...x, name }];
      }
      case 'store': {
        const mask = x.mask && expr(s, x.mask);
        if (mask && e.isConst(mask, 0)) return [];
        const y = {
          s: 'store',
          to: s.places.get(x.to) as string,
          index: e.address(expr(s, x.index), x.value.lanes),
          value: expr(s, x.value),
        } as const;
        return [mask && !e.isConst(mask, 1) ? { ...y, mask } : y];
      }
      case 'for': {
        const [from, to] = [expr(s, x.from), expr(s, x.to)];
        const [a, b] = [rangeOf(from, facts), rangeOf(to, facts)];
        if (b.max <= a.min) return [];
        const one = inner(s);
        // exactly one round: the name is a value, and the body joins the one around it, since names are unique
        if (a.min === a.max && pure(from) && b.min > a.min && b.max <= a.min + x.step) {
          bind(one, x.name, from);
          return block(one, x.body);
        }
        const name = fresh(x.name);
        const last = a.min === a.max && Number.isFinite(b.max) ? a.min + Math.floor((b.max - 1 - a.min) / x.step) * x.step : b.max - 1;
        ranges.set(name, { min: a.min, max: last });
        bind(one, x.name, intern(e.ref(name, 'index')));
        const body = block(one, x.body);
        return body.length === 0 ? [] : [{ s: 'for', name, from, to, step: x.step, kind: x.kind, body }];
      }
      case 'if': {
        const cond = expr(s, x.cond);
        if (cond.k === 'const') return block(s, cond.value ? x.then : x.else);
        const [then, otherwise] = [block(s, x.then), block(s, x.else)];
        return then.length + otherwise.length === 0 ? [] : [{ s: 'if', cond, then, else: otherwise }];
      }
      case 'barrier':
        return [x];
    }
  };
  const top: Scope = { values: new Map(), places: new Map(kernel.buffers.map((b) => [b.name, b.name])), done: new Map() };
  return { body: block(top, kernel.body), variables };
};

/** Statements whose result nobody reads, taken out until none is left. */
const prune = (body: readonly Stmt[], buffers: ReadonlySet<string>): readonly Stmt[] => {
  const read = new Set<string>(buffers);
  const seen = new Set<Expr>();
  const use = (x: Expr): void => {
    if (seen.has(x)) return;
    seen.add(x);
    if (x.k === 'ref') read.add(x.name);
    if (x.k === 'load') read.add(x.from);
    e.operands(x).forEach(use);
  };
  const walk = (stmts: readonly Stmt[]): void => {
    for (const s of stmts) {
      if ('value' in s) use(s.value);
      if (s.s === 'store') [s.index, ...(s.mask ? [s.mask] : [])].forEach(use);
      if (s.s === 'for') {
        [s.from, s.to].forEach(use);
        walk(s.body);
      }
      if (s.s === 'if') {
        use(s.cond);
        walk(s.then);
        walk(s.else);
      }
    }
  };
  walk(body);
  let removed = false;
  const keep = (stmts: readonly Stmt[]): readonly Stmt[] =>
    stmts.flatMap((s): readonly Stmt[] => {
      const name = s.s === 'let' || s.s === 'var' || s.s === 'set' || s.s === 'alloc' ? s.name : s.s === 'store' ? s.to : undefined;
      if (name !== undefined && !read.has(name)) {
        removed = true;
        return [];
      }
      if (s.s === 'for') {
        const inside = keep(s.body);
        if (inside.length === 0) removed = true;
        return inside.length === 0 ? [] : [{ ...s, body: inside }];
      }
      if (s.s !== 'if') return [s];
      const [then, otherwise] = [keep(s.then), keep(s.else)];
      if (then.length + otherwise.length === 0) {
        removed = true;
        return [];
      }
      return [{ ...s, then, else: otherwise }];
    });
  const kept = keep(body);
  return removed ? prune(kept, buffers) : kept;
};

/** The simplified kernel. It computes the same bits, for any input on which the original is well defined. */
export const simplifyKernel = (kernel: Kernel): Kernel => {
  const names = new Set(kernel.buffers.map((b) => b.name));
  const { body, variables } = fold(kernel);
  return { ...kernel, body: share(prune(body, names), purity(variables), names) };
};
