/**
 * Reductions along rows: lanes run along the reduced elements, one state a lane and unrolled vector. What is left of a row
 * behind the last whole vector is one more vector of which some lanes do not exist. With several threads a row is dealt out to
 * them, what is left is reduced element by element, and their states meet in shared memory.
 *
 *   sum of 257 elements, 16 lanes, 4 vectors in flight:   4 steps of 64, no step of 16, 1 of 1 element under a mask
 */
import type { Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type Affine, add, type Indices, indices, linear, number, scale, shift } from './affine.ts';
import type { Code } from './code.ts';
import { type Emitter, indexOf, shapeOf } from './emit.ts';
import { emitterOf, type Given, storeAll } from './job.ts';
import { elementState, fresh, meet, type State, tree, update } from './reduce-state.ts';
import { lastRun, type Reduction, type Work } from './reduce-work.ts';
import { position } from './space.ts';

/** Elements [from, to), by vectors of which the first `active` lanes exist. */
interface Tier {
  readonly from: number;
  readonly to: number;
  readonly lanes: number;
  readonly unroll: number;
  readonly active: number;
}
const floorTo = (n: number, step: number): number => n - (n % step);

/** Which vectors and single elements cover [0, n): unrolled vectors, vectors, and a masked vector or single elements. */
const tiers = (n: number, lanes: number, unroll: number, threads: number): readonly Tier[] => {
  const rest = lanes === 1 || threads > 1 ? { lanes: 1, active: 1 } : { lanes, active: n % lanes };
  return [
    { from: 0, to: floorTo(n, lanes * unroll), lanes, unroll, active: lanes },
    { from: floorTo(n, lanes * unroll), to: floorTo(n, lanes), lanes, unroll: 1, active: lanes },
    { from: floorTo(n, lanes), to: n, ...rest, unroll: 1 },
  ].filter((t) => t.from < t.to);
};

/** States of one reduction: `unroll` vectors of variables, and perhaps one of scalars for the elements left over. */
interface States {
  readonly reduction: Reduction;
  readonly wide: readonly State[];
  readonly narrow: State | undefined;
}

/** Finished results, which are asked for at the kept position of the current row or columns only. */
export const finished = (done: ReadonlyMap<Value, Expr>, o: Affine): Given => {
  return (v, ix) => {
    const x = done.get(v);
    if (x && linear(ix, shapeOf(v)).key !== o.key) throw new Error(`internal: the result %${v.id} of a reduction is read at another place`);
    return x;
  };
};

/** One row. `arrays` hold what passes leave to later ones. */
export const rowwise = (w: Work, c: Code, row: Expr, arrays: readonly e.Place[]): void => {
  const { space, schedule: s } = w;
  const done = new Map<Value, Expr>();
  const inner = lastRun(space, false);
  const kept = (lanes: number, active: number): { readonly ix: Indices; readonly o: Affine } => {
    const ix = indices(lanes, new Map(), active);
    return { ix, o: ix.atom(row, 0, space.kept - 1) };
  };
  const cover = tiers(inner, s.lanes, s.unroll, s.threads);
  const widest = Math.max(...cover.map((t) => t.unroll));
  /** The results of the reductions of a stage, made by a pass over the row. */
  const sweep = (stage: number): ReadonlyMap<Value, Expr> => {
    const states = w.reductions
      .filter((r) => r.stage === stage)
      .map(
        (reduction): States => ({
          reduction,
          wide: Array.from({ length: cover.some((t) => t.lanes > 1) ? widest : 0 }, () => fresh(c, reduction.monoid, s.lanes)),
          narrow: cover.some((t) => t.lanes === 1) ? fresh(c, reduction.monoid, 1) : undefined,
        }),
      );
    const outs = w.full.filter((o) => o.stage === stage);
    const step = (t: Tier, i: Expr, outer: Expr | undefined): void => {
      const { ix, o } = kept(t.lanes, t.active);
      const stride = t.lanes * t.unroll;
      const base = add(
        outer ? scale(ix.atom(outer, 0, space.reduced / inner - 1), inner) : number(0),
        ix.atom(i, t.from, Math.max(t.from, t.to - stride), stride),
      );
      const js = Array.from({ length: t.unroll }, (_, u) => add(shift(base, u * t.lanes), ix.lane));
      const ps = js.map((j) => position(ix, space, o, j));
      // made of the loop's variable even where that can have one value only: what does not change in a loop is moved out of it
      const places = js.map((_, u) => e.add(outer ? e.add(e.mul(outer, inner), i) : i, u * t.lanes));
      const reduced = finished(done, o);
      const em: Emitter = emitterOf(w.job, ix, (v, at) => {
        const k = w.rows.findIndex((r) => r.value === v && r.stage < stage);
        if (k < 0) return reduced(v, at);
        const key = linear(at, shapeOf(v)).key;
        const u = ps.findIndex((p) => p.key === key);
        return u < 0 ? undefined : e.load(arrays[k] as e.Place, places[u] as Expr, ix.lanes, ix.mask);
      });
      const xs = states.flatMap((st) =>
        js.map((j, u) => ({ st, u, j, x: em.at(st.reduction.operand, indexOf(ix, st.reduction.operand, ps[u] as Affine)) })),
      );
      const left = w.rows.flatMap((r, k) =>
        r.stage === stage
          ? ps.map((p, u) => ({ to: (arrays[k] as e.Place).name, at: places[u] as Expr, x: em.at(r.value, indexOf(ix, r.value, p)) }))
          : [],
      );
      const bound = c.bind([...xs, ...left].map(({ x }) => x).concat(ix.mask ?? []));
      const mask = ix.mask && bound.at(-1);
      left.forEach(({ to, at }, n) => {
        c.store(to, at, e.splat(bound[xs.length + n] as Expr, ix.lanes), mask);
      });
      xs.forEach(({ st, u, j }, n) => {
        const { monoid } = st.reduction;
        const state = (t.lanes === 1 ? st.narrow : st.wide[u]) as State;
        update(c, monoid, state, elementState(monoid, ix, bound[n] as Expr, j, ix.lanes, mask));
      });
      ps.forEach((p) => {
        storeAll(
          c,
          ix,
          em,
          outs.map((out) => ({ ...out, ix: indexOf(ix, out.value, p) })),
        );
      });
    };
    const pass = (outer: Expr | undefined): void => {
      for (const t of cover) {
        const stride = t.lanes * t.unroll;
        const start = s.threads > 1 ? e.add(e.mul(e.thread, stride), t.from) : e.index(t.from);
        c.loop(start, e.index(t.to), stride * s.threads, (i) => step(t, i, outer));
      }
    };
    if (space.reduced === inner || space.reduced === 0) pass(undefined);
    else c.loop(e.index(0), e.index(space.reduced / inner), 1, pass);
    const results = new Map<Value, Expr>();
    for (const { reduction, wide, narrow } of states) {
      const { monoid } = reduction;
      const name = (state: State): State => state.map((x) => c.name(x));
      const lanes = wide.length > 0 ? name(monoid.across(name(tree(monoid, wide)))) : undefined;
      const state = lanes && narrow ? monoid.combine(lanes, narrow) : (lanes ?? narrow ?? []);
      results.set(reduction.value, c.name(monoid.result(meet(c, monoid, name(state), s.threads, w.job.target.subgroup))));
    }
    return results;
  };
  /** The same by a shorter way, as long as that is finite. */
  const shortly = (stage: number, ways: ReadonlyMap<Value, Value>): ReadonlyMap<Value, Expr> => {
    const { ix, o } = kept(1, 1);
    const em = emitterOf(w.job, ix, finished(done, o));
    const found = c.bind([...ways.values()].map((v) => em.at(v, indexOf(ix, v, o)))).map((x) => c.variable(x));
    const endless = found.map((x) => e.not(e.lt(e.unary('abs', x), Number.POSITIVE_INFINITY)));
    c.when(
      endless.reduce((x, y) => e.or(x, y)),
      () => {
        const written = sweep(stage);
        [...ways.keys()].forEach((v, i) => {
          c.set(found[i] as Expr, written.get(v) as Expr);
        });
      },
    );
    return new Map([...ways.keys()].map((v, i) => [v, c.name(found[i] as Expr)]));
  };
  for (let stage = 0; stage < w.passes; stage++) {
    const ways = w.shortcuts.get(stage);
    for (const [v, x] of ways ? shortly(stage, ways) : sweep(stage)) done.set(v, x);
  }
  const { ix, o } = kept(1, 1);
  const em = emitterOf(w.job, ix, finished(done, o));
  const store = (): void =>
    storeAll(
      c,
      ix,
      em,
      w.kept.map((out) => ({ ...out, ix: indexOf(ix, out.value, o) })),
    );
  if (s.threads > 1 && w.kept.length > 0) c.when(e.compare('eq', e.thread, 0), store);
  else store();
};
