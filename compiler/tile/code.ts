/**
 * Turns expression graphs into statements. `bind` names what is used twice and moves what does not depend on the innermost
 * loop out to the loop it does depend on, so that templates can ask for values where they need them and still get loops
 * without repeated work:
 *
 *   for r { for i { store b2[r * 384 + i] = mul(load b0[r * 384 + i], exp(load b1[r])) } }
 *     ->  for r { let v0 = exp(load b1[r])   for i { ... mul(load b0[...], splat(v0)) } }
 *
 * What reads a mutable variable is never moved, for a loop may set it; its final value gets a name (`name`), which may be.
 */
import * as e from '../kernel/expr.ts';
import type { Expr, KType, Stmt } from '../kernel/types.ts';

interface Frame {
  readonly out: Stmt[];
  readonly bound: Expr[];
}

export interface Code {
  /** The values with shared and loop-invariant parts bound; what is returned may be used in the current body. */
  bind(roots: readonly Expr[]): readonly Expr[];
  /** Binds one value to a name in the current body; of a variable, its value now. */
  name(value: Expr): Expr;
  variable(value: Expr): Expr;
  set(variable: Expr, value: Expr): void;
  store(to: string, index: Expr, value: Expr, mask?: Expr): void;
  loop(from: Expr, to: Expr, step: number, body: (i: Expr) => void): void;
  when(cond: Expr, body: () => void, otherwise?: () => void): void;
  alloc(space: 'register' | 'shared', dtype: KType, size: number): e.Place;
  barrier(): void;
  /** The value that thread (thread xor by) has. */
  exchange(value: Expr, by: number): Expr;
  /** Appends a finished statement. */
  push(statement: Stmt): void;
  done(): readonly Stmt[];
}

const leaf = (x: Expr): boolean => x.k === 'const' || x.k === 'ref' || x.k === 'block' || x.k === 'thread';
const half = (x: Expr): boolean => x.dtype === 'f16' || x.dtype === 'bf16';
/** Index arithmetic is as cheap as the name that would replace it; a widened name is that name; halves live in casts only. */
const worthMoving = (x: Expr): boolean =>
  !leaf(x) && !half(x) && x.k !== 'ramp' && (x.dtype !== 'index' || x.k === 'load') && !(x.k === 'splat' && leaf(x.x));

/** `prefix` starts every name, so that code of several builders can stand in one kernel. */
export const code = (prefix = ''): Code => {
  const frames: Frame[] = [{ out: [], bound: [] }];
  const depths = new Map<string, number>();
  const names = new Map<Expr, Expr>();
  const counts = new Map<string, number>();
  const variables = new Set<string>();
  /** Nothing is moved out of frames below this one: their condition may protect it. */
  let floor = 0;
  const fresh = (kind: string): string => {
    const n = counts.get(kind) ?? 0;
    counts.set(kind, n + 1);
    return `${prefix}${kind}${n}`;
  };
  const top = (): Frame => frames[frames.length - 1] as Frame;
  const bindAt = (x: Expr, depth: number, original: Expr): Expr => {
    const frame = frames[depth] as Frame;
    const name = fresh('v');
    frame.out.push({ s: 'let', name, value: x });
    depths.set(name, depth);
    const r = e.ref(name, x.dtype, x.lanes);
    names.set(original, r);
    frame.bound.push(original);
    return r;
  };
  const nested = (body: () => void): readonly Stmt[] => {
    frames.push({ out: [], bound: [] });
    body();
    const f = frames.pop() as Frame;
    for (const x of f.bound) names.delete(x);
    return f.out;
  };
  const bind: Code['bind'] = (roots) => {
    const uses = new Map<Expr, number>();
    const count = (x: Expr): void => {
      const n = uses.get(x) ?? 0;
      uses.set(x, n + 1);
      if (n === 0 && !names.has(x)) for (const y of e.operands(x)) count(y);
    };
    for (const r of roots) count(r);
    const done = new Map<Expr, { readonly x: Expr; readonly depth: number }>();
    const place = (x: Expr): { readonly x: Expr; readonly depth: number } => {
      const old = done.get(x);
      if (old) return old;
      const made = ((): { readonly x: Expr; readonly depth: number } => {
        const named = names.get(x);
        if (named?.k === 'ref') return { x: named, depth: depths.get(named.name) ?? 0 };
        if (x.k === 'ref') return { x, depth: variables.has(x.name) ? frames.length - 1 : (depths.get(x.name) ?? 0) };
        if (leaf(x)) return { x, depth: 0 };
        const below = e.operands(x).map((y) => [y, place(y)] as const);
        const depth = Math.max(floor, ...below.map(([, p]) => p.depth));
        let changed = false;
        const now = new Map<Expr, Expr>();
        for (const [y, p] of below) {
          const moved = p.depth < depth && worthMoving(p.x) ? bindAt(p.x, p.depth, y) : p.x;
          if (moved !== p.x) done.set(y, { x: moved, depth: p.depth });
          now.set(y, moved);
          changed ||= moved !== y;
        }
        const rebuilt = changed ? e.rebuild(x, (y) => now.get(y) as Expr) : x;
        if ((uses.get(x) ?? 0) > 1 && !leaf(rebuilt) && !half(rebuilt) && !(rebuilt.k === 'splat' && leaf(rebuilt.x)))
          return { x: bindAt(rebuilt, depth, x), depth };
        return { x: rebuilt, depth };
      })();
      done.set(x, made);
      return made;
    };
    return roots.map((r) => {
      const p = place(r);
      if (p.depth < frames.length - 1 && worthMoving(p.x)) {
        const moved = bindAt(p.x, p.depth, r);
        done.set(r, { x: moved, depth: p.depth });
        return moved;
      }
      return p.x;
    });
  };
  return {
    bind,
    name: (value) =>
      value.k === 'const' || (value.k === 'ref' && !variables.has(value.name)) ? value : bindAt(value, frames.length - 1, value),
    variable: (value) => {
      const name = fresh('acc');
      top().out.push({ s: 'var', name, value });
      depths.set(name, frames.length - 1);
      variables.add(name);
      return e.ref(name, value.dtype, value.lanes);
    },
    set: (variable, value) => {
      if (variable.k === 'ref') top().out.push({ s: 'set', name: variable.name, value });
    },
    store: (to, index, value, mask) => {
      top().out.push(mask ? { s: 'store', to, index, value, mask } : { s: 'store', to, index, value });
    },
    loop: (from, to, step, body) => {
      // a loop that never runs has no body: what would be moved out of it may not exist
      if (from.k === 'const' && to.k === 'const' && from.value >= to.value) return;
      const name = fresh('i');
      depths.set(name, frames.length);
      const inner = nested(() => body(e.ref(name, 'index')));
      top().out.push({ s: 'for', name, from, to, step, kind: 'serial', body: inner });
    },
    when: (cond, body, otherwise) => {
      const saved = floor;
      floor = frames.length;
      const inner = nested(body);
      const other = otherwise ? nested(otherwise) : [];
      floor = saved;
      top().out.push({ s: 'if', cond, body: inner, otherwise: other });
    },
    alloc: (space, dtype, size) => {
      const name = fresh('m');
      top().out.push({ s: 'alloc', name, space, dtype, size });
      return { name, dtype };
    },
    barrier: () => {
      top().out.push({ s: 'barrier', of: 'block' });
    },
    exchange: (value, by) => {
      const name = fresh('x');
      top().out.push({ s: 'exchange', name, value, by });
      depths.set(name, frames.length - 1);
      return e.ref(name, value.dtype, value.lanes);
    },
    push: (statement) => {
      top().out.push(statement);
    },
    done: () => (frames[0] as Frame).out,
  };
};
