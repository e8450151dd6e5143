/**
 * Reductions down columns: lanes run along the kept elements and each lane reduces serially. A block owns a strip of columns
 * whose states lie in arrays, and reads its rows one after another, so that memory is read from its first element to its last:
 *
 *   for i in strip { acc[i] = 0 }
 *   for j in rows { for i in strip { acc[i] = acc[i] + x[j, i] } }
 *   for i in strip { store y[i] = acc[i] }
 *
 * With several threads a lane keeps its states in variables instead and neighbours read neighbouring columns. Where columns are too few for the
 * device, several threads share each of them, and their states meet in shared memory, in the order of their numbers.
 */
import type { Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type Affine, add, type Indices, indices, linear, scale } from './affine.ts';
import type { Code } from './code.ts';
import { type Emitter, indexOf, shapeOf } from './emit.ts';
import { emitterOf, storeAll } from './job.ts';
import { finished } from './reduce-row.ts';
import { elementState, fresh, identityOf, meetBy, type State, update } from './reduce-state.ts';
import { lastRun, type Reduction, type Work } from './reduce-work.ts';
import { position } from './space.ts';

/** Columns i, i + 1, ... of one vector: where they are kept, and where in the strip. */
interface Columns {
  readonly ix: Indices;
  readonly o: Affine;
  readonly local: Expr;
}

/** One strip of the columns of one `outer` position, from column `from` on. */
export const strip = (w: Work, c: Code, outer: Expr, from: Expr): void => {
  const { space, schedule: s } = w;
  const inner = lastRun(space, true);
  const whole = inner - (inner % s.lanes);
  const made = new Map(w.reductions.map((r) => [r, r.monoid.types.map((t) => c.alloc('register', t, s.block))]));
  const arrays = (r: Reduction): readonly e.Place[] => made.get(r) as readonly e.Place[];
  const load = (r: Reduction, { ix, local }: Columns): State => arrays(r).map((a) => e.load(a, local, ix.lanes));
  const store = (r: Reduction, { local }: Columns, x: State): void => {
    arrays(r).forEach((a, k) => {
      c.store(a.name, local, x[k] as Expr);
    });
  };
  /** Every vector of the strip; the last one of a row may be short. */
  const each = (visit: (at: Columns) => void): void => {
    const columns = (i: Expr, lo: number, hi: number, active: number): Columns => {
      const ix = indices(s.lanes, new Map(), active);
      const base = add(scale(ix.atom(outer, 0, space.kept / inner - 1), inner), ix.atom(i, lo, hi, s.lanes));
      return { ix, o: add(base, ix.lane), local: e.sub(i, from) };
    };
    const end = inner > s.block ? e.min(e.add(from, s.block), whole) : e.index(whole);
    if (whole > 0) c.loop(from, end, s.lanes, (i) => visit(columns(i, 0, whole - s.lanes, s.lanes)));
    if (whole === inner) return;
    // a loop of one step: its variable keeps the loads of states where they are
    const rest = (): void => c.loop(e.index(whole), e.index(inner), s.lanes, (i) => visit(columns(i, whole, whole, inner - whole)));
    if (inner > s.block) c.when(e.lt(whole, e.add(from, s.block)), rest);
    else rest();
  };
  const done = new Map<Value, Reduction>();
  const emitter = (at: Columns): Emitter =>
    emitterOf(w.job, at.ix, (v, ix) => {
      const r = done.get(v);
      if (r && linear(ix, shapeOf(v)).key !== at.o.key)
        throw new Error(`internal: the result %${v.id} of a reduction is read at another place`);
      return r?.monoid.result(load(r, at));
    });
  for (let stage = 0; stage < w.passes; stage++) {
    const mine = w.reductions.filter((r) => r.stage === stage);
    each((at) => {
      for (const r of mine) store(r, at, identityOf(r.monoid, s.lanes));
    });
    // row by row, so that memory is read from its first element to its last
    c.loop(e.index(0), e.index(space.reduced), 1, (jr) =>
      each((at) => {
        const { ix, o } = at;
        const em = emitter(at);
        const j = ix.atom(jr, 0, space.reduced - 1);
        const bound = c.bind(mine.map((r) => em.at(r.operand, indexOf(ix, r.operand, position(ix, space, o, j)))));
        mine.forEach((r, n) => {
          const x = elementState(r.monoid, ix, bound[n] as Expr, j, s.lanes, undefined);
          const old = load(r, at).map((y) => c.name(y));
          const state = c.bind(r.monoid.combine(old, x));
          store(
            r,
            at,
            state.map((y) => c.name(y)),
          );
        });
      }),
    );
    for (const r of mine) done.set(r.value, r);
  }
  each((at) => {
    storeAll(
      c,
      at.ix,
      emitter(at),
      w.kept.map((out) => ({ ...out, ix: indexOf(at.ix, out.value, at.o) })),
    );
  });
};

/** The columns of one thread of a block, each with its states in variables. */
export const columns = (w: Work, c: Code, outer: Expr, from: Expr): void => {
  const { space, schedule: s } = w;
  const inner = lastRun(space, true);
  const whole = inner - (inner % s.lanes);
  /** Column i and those behind it, of which this thread has every so many-th element from one on. */
  const column = (
    i: Expr,
    lanes: number,
    [lo, hi, multiple]: readonly [number, number, number],
    part: Expr,
    stored: (store: () => void) => void,
  ): void => {
    const ix = indices(lanes);
    const base = add(scale(ix.atom(outer, 0, space.kept / inner - 1), inner), ix.atom(i, lo, hi, multiple));
    const o = add(base, ix.lane);
    const done = new Map<Value, Expr>();
    const em = emitterOf(w.job, ix, finished(done, o));
    for (let stage = 0; stage < w.passes; stage++) {
      const states = w.reductions.filter((r) => r.stage === stage).map((r) => ({ r, state: fresh(c, r.monoid, lanes) }));
      c.loop(part, e.index(space.reduced), s.parts, (jr) => {
        const j = ix.atom(jr, 0, space.reduced - 1);
        const bound = c.bind(states.map(({ r }) => em.at(r.operand, indexOf(ix, r.operand, position(ix, space, o, j)))));
        states.forEach(({ r, state }, n) => {
          update(c, r.monoid, state, elementState(r.monoid, ix, bound[n] as Expr, j, lanes));
        });
      });
      for (const { r, state } of states) {
        const all = s.parts > 1 ? meetBy(c, r.monoid, state, s.parts, s.block) : state;
        done.set(r.value, c.name(r.monoid.result(all)));
      }
    }
    stored(() =>
      storeAll(
        c,
        ix,
        em,
        w.kept.map((out) => ({ ...out, ix: indexOf(ix, out.value, o) })),
      ),
    );
  };
  if (s.parts > 1) {
    const mine = c.name(e.add(from, e.rem(e.thread, s.block)));
    // all threads meet: those behind the last column have it, too, and store nothing
    const i = inner % s.block === 0 ? mine : c.name(e.min(mine, inner - 1));
    const part = c.name(e.div(e.thread, s.block));
    const first = e.compare('eq', part, 0);
    column(i, 1, [0, inner - 1, 1], part, (store) => c.when(inner % s.block === 0 ? first : e.and(first, e.lt(mine, inner)), store));
    return;
  }
  for (const t of [
    { from: 0, to: whole, lanes: s.lanes },
    { from: whole, to: inner, lanes: 1 },
  ].filter((t) => t.from < t.to)) {
    const start = inner > s.block ? e.max(from, t.from) : e.index(t.from);
    const end = inner > s.block ? e.min(e.add(from, s.block), t.to) : e.index(t.to);
    c.loop(e.add(start, e.mul(e.thread, t.lanes)), end, t.lanes * s.threads, (i) =>
      column(i, t.lanes, [t.from, t.to - t.lanes, t.from % t.lanes === 0 ? t.lanes : 1], e.index(0), (store) => store()),
    );
  }
};
