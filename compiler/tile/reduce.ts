/**
 * The reduce template: kept x reduced elements, reductions in stages, and what is made of their results. A reduction that
 * needs the result of another (variance after mean, the sum of a softmax after its maximum) belongs to a later stage; each
 * stage is one pass over the elements, which also stores the full-size outputs that need no later result.
 *
 *   for r { acc = -inf  for i { acc = max(acc, x) }            softmax: three passes over a row,
 *           acc = 0     for i { acc = acc + exp(x - max) }     which lies in the nearest cache after the first
 *                       for i { store exp(x - max) / sum } }
 *
 * Rowwise, lanes run along the reduced elements: one state a lane and unrolled copy, combined in a fixed tree, so that
 * the bits depend on the schedule alone. With several threads a row is dealt out to them and their states meet in shared
 * memory. Columnwise, lanes run along the kept elements and each lane reduces serially.
 */
import type { Node, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type Affine, add, type Indices, indices, linear, number, scale, shift } from './affine.ts';
import { type Code, code } from './code.ts';
import { type Emitter, indexOf, shapeOf, sizeOf } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import { emitterOf, type Given, type Job, lanesFor, rowBlocks, storeAll } from './job.ts';
import { type Monoid, monoidOf } from './monoid.ts';
import { isReduction, position, reductionSpace, type Space } from './space.ts';

export interface ReduceSchedule {
  readonly lanes: number;
  /** Vectors in flight, each with a state of its own. */
  readonly unroll: number;
  /** Rows (rowwise) or columns (columnwise) of one block. */
  readonly block: number;
  readonly threads: number;
}

interface Reduction {
  readonly node: Node;
  readonly value: Value;
  readonly operand: Value;
  readonly monoid: Monoid;
  readonly stage: number;
}
interface Work {
  readonly job: Job;
  readonly space: Space;
  readonly reductions: readonly Reduction[];
  /** Passes over the elements; the last may only store. */
  readonly passes: number;
  readonly full: readonly { readonly name: string; readonly value: Value; readonly stage: number }[];
  readonly kept: readonly { readonly name: string; readonly value: Value }[];
  readonly schedule: ReduceSchedule;
}

const floorTo = (n: number, step: number): number => n - (n % step);
const power = (n: number): number => 2 ** Math.floor(Math.log2(Math.max(1, n)));

/** Which vectors and single elements cover [0, n): unrolled vectors, vectors, elements. */
const tiers = (n: number, lanes: number, unroll: number): readonly { from: number; to: number; lanes: number; unroll: number }[] =>
  [
    { from: 0, to: floorTo(n, lanes * unroll), lanes, unroll },
    { from: floorTo(n, lanes * unroll), to: floorTo(n, lanes), lanes, unroll: 1 },
    { from: floorTo(n, lanes), to: n, lanes: 1, unroll: 1 },
  ].filter((t) => t.from < t.to);

const lastRun = (s: Space, kept: boolean): number => s.runs.filter((r) => r.kept === kept).at(-1)?.size ?? 1;

const reduceSchedule = (job: Job, space: Space): ReduceSchedule => {
  const { target } = job;
  const along = lastRun(space, !space.rowwise);
  const ops = job.group.nodes.filter((n) => n.inputs.length > 1 || isReduction(n)).length;
  const parallel = target.maxThreads > 1;
  const lanes = Math.min(lanesFor(target, along), parallel ? 4 : 64);
  const unroll = parallel ? 1 : ops > 12 ? 1 : 4;
  if (parallel && space.rowwise)
    return { lanes, unroll, block: 1, threads: Math.min(256, target.maxThreads, Math.max(32, power(along / lanes))) };
  if (parallel) return { lanes, unroll, block: lanes * Math.min(64, target.maxThreads), threads: Math.min(64, target.maxThreads) };
  if (!space.rowwise) return { lanes, unroll, block: lanes * unroll, threads: 1 };
  const elements = Math.min(16384, Math.max(2048, (space.kept * space.reduced) / 16));
  return { lanes, unroll, block: Math.max(1, Math.floor(elements / Math.max(1, space.reduced))), threads: 1 };
};

const workOf = (job: Job): Work => {
  const stage = new Map<Value, number>();
  const reductions: Reduction[] = [];
  for (const node of job.group.nodes) {
    const before = Math.max(0, ...node.inputs.map((v) => stage.get(v) ?? 0));
    const value = node.outputs[0] as Value;
    stage.set(value, isReduction(node) ? before + 1 : before);
    if (isReduction(node)) reductions.push({ node, value, operand: node.inputs[0] as Value, monoid: monoidOf(node), stage: before });
  }
  const space = reductionSpace((reductions[0] as Reduction).node);
  const outputs = job.outputs.map((o) => ({ ...o, stage: stage.get(o.value) ?? 0 }));
  const full = outputs.filter((o) => sizeOf(o.value) !== space.kept);
  const passes = 1 + Math.max(...reductions.map((r) => r.stage), ...full.map((o) => o.stage));
  return {
    job,
    space,
    reductions,
    passes,
    full,
    kept: outputs.filter((o) => sizeOf(o.value) === space.kept),
    schedule: reduceSchedule(job, space),
  };
};

/** States of one reduction: `unroll` vectors of variables, and perhaps one of scalars for the elements left over. */
interface States {
  readonly reduction: Reduction;
  readonly wide: readonly (readonly Expr[])[];
  readonly narrow: readonly Expr[] | undefined;
}
const fresh = (c: Code, m: Monoid, lanes: number): readonly Expr[] =>
  m.types.map((t, i) => c.variable(e.constant(m.identity[i] as number, t, lanes)));
const update = (c: Code, m: Monoid, state: readonly Expr[], x: readonly Expr[]): void => {
  const next = m.combine(
    state,
    x.map((y) => e.splat(y, (state[0] as Expr).lanes)),
  );
  // all new values are computed before any variable changes
  const named = next.length === 1 ? next : c.bind(next).map((y) => c.name(y));
  named.forEach((y, i) => {
    c.set(state[i] as Expr, y);
  });
};
const tree = (m: Monoid, states: readonly (readonly Expr[])[]): readonly Expr[] => {
  if (states.length === 1) return states[0] as readonly Expr[];
  const half = Math.ceil(states.length / 2);
  return m.combine(tree(m, states.slice(0, half)), tree(m, states.slice(half)));
};
/** Position as i32, for argmax. */
const ordinal = (ix: Indices, j: Affine): Expr => {
  const view = ix.view(j);
  return view.kind === 'unit' ? e.ramp(e.cast(view.expr, 'i32'), ix.lanes) : e.cast(view.expr, 'i32');
};

/** Finished results, which are asked for at the kept position of the current row or columns only. */
const finished = (done: ReadonlyMap<Value, Expr>, o: Affine): Given => {
  return (v, ix) => {
    const x = done.get(v);
    if (x && linear(ix, shapeOf(v)).key !== o.key) throw new Error(`internal: the result %${v.id} of a reduction is read at another place`);
    return x;
  };
};

/** Combines the states of the block's threads through shared memory; every thread gets the result. */
const meet = (c: Code, m: Monoid, state: readonly Expr[], threads: number): readonly Expr[] => {
  if (threads === 1) return state;
  const arrays = m.types.map((t) => c.alloc('shared', t, threads));
  const write = (at: Expr, xs: readonly Expr[]): void => xs.forEach((x, i) => c.store((arrays[i] as e.Place).name, at, x));
  const read = (at: Expr): readonly Expr[] => arrays.map((a) => e.load(a, at));
  write(e.thread, state);
  c.barrier();
  for (let half = threads / 2; half >= 1; half /= 2) {
    c.when(e.lt(e.thread, half), () =>
      write(
        e.thread,
        m.combine(read(e.thread), read(e.add(e.thread, half))).map((x) => c.name(x)),
      ),
    );
    c.barrier();
  }
  const all = read(e.index(0)).map((x) => c.name(x));
  c.barrier();
  return all;
};

const rowwise = (w: Work, c: Code, row: Expr): void => {
  const { space, schedule: s } = w;
  const done = new Map<Value, Expr>();
  const inner = lastRun(space, false);
  const context = (lanes: number): { ix: Indices; o: Affine; em: Emitter } => {
    const ix = indices(lanes);
    const o = ix.atom(row, 0, space.kept - 1);
    return { ix, o, em: emitterOf(w.job, ix, finished(done, o)) };
  };
  const cover = tiers(inner, s.lanes, s.unroll);
  for (let stage = 0; stage < w.passes; stage++) {
    const states = w.reductions
      .filter((r) => r.stage === stage)
      .map((reduction): States => {
        const wide = Array.from({ length: s.lanes > 1 && inner >= s.lanes ? Math.max(...cover.map((t) => t.unroll)) : 0 }, () =>
          fresh(c, reduction.monoid, s.lanes),
        );
        return { reduction, wide, narrow: inner % s.lanes !== 0 || s.lanes === 1 ? fresh(c, reduction.monoid, 1) : undefined };
      });
    const outs = w.full.filter((o) => o.stage === stage);
    const pass = (outer: Expr | undefined): void => {
      for (const t of cover) {
        const stride = t.lanes * t.unroll;
        const start = s.threads > 1 ? e.add(e.mul(e.thread, stride), t.from) : e.index(t.from);
        c.loop(start, e.index(t.to), stride * s.threads, (i) => {
          const { ix, o, em } = context(t.lanes);
          const base = add(
            outer ? scale(ix.atom(outer, 0, space.reduced / inner - 1), inner) : number(0),
            ix.atom(i, t.from, t.to - stride, stride),
          );
          const js = Array.from({ length: t.unroll }, (_, u) => add(shift(base, u * t.lanes), ix.lane));
          const ps = js.map((j) => position(ix, space, o, j));
          const xs = states.flatMap((st) =>
            js.map((j, u) => ({ st, u, j, x: em.at(st.reduction.operand, indexOf(ix, st.reduction.operand, ps[u] as Affine)) })),
          );
          const bound = c.bind(xs.map(({ x }) => x));
          xs.forEach(({ st, u, j }, n) => {
            const { monoid } = st.reduction;
            const state = t.lanes === 1 ? (st.narrow as readonly Expr[]) : (st.wide[u] as readonly Expr[]);
            update(c, monoid, state, monoid.element(bound[n] as Expr, ordinal(ix, j)));
          });
          ps.forEach((p) => {
            storeAll(
              c,
              ix,
              em,
              outs.map((out) => ({ ...out, ix: indexOf(ix, out.value, p) })),
            );
          });
        });
      }
    };
    if (space.reduced === inner || space.reduced === 0) pass(undefined);
    else c.loop(e.index(0), e.index(space.reduced / inner), 1, pass);
    for (const { reduction, wide, narrow } of states) {
      const { monoid } = reduction;
      const lanes = wide.length > 0 ? monoid.across(tree(monoid, wide).map((x) => c.name(x))).map((x) => c.name(x)) : undefined;
      const state = lanes && narrow ? monoid.combine(lanes, narrow) : (lanes ?? narrow ?? []);
      done.set(
        reduction.value,
        c.name(
          monoid.result(
            meet(
              c,
              monoid,
              state.map((x) => c.name(x)),
              s.threads,
            ),
          ),
        ),
      );
    }
  }
  const { ix, o, em } = context(1);
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

const columnwise = (w: Work, c: Code, outer: Expr, from: Expr): void => {
  const { space, schedule: s } = w;
  const inner = lastRun(space, true);
  for (const t of tiers(inner, s.lanes, s.unroll)) {
    const stride = t.lanes * t.unroll;
    const start = inner > s.block ? e.max(from, t.from) : e.index(t.from);
    const end = inner > s.block ? e.min(e.add(from, s.block), t.to) : e.index(t.to);
    c.loop(s.threads > 1 ? e.add(start, e.mul(e.thread, stride)) : start, end, stride * s.threads, (i) => {
      const ix = indices(t.lanes);
      const base = add(
        scale(ix.atom(outer, 0, space.kept / inner - 1), inner),
        ix.atom(i, t.from, t.to - stride, t.from % stride === 0 ? stride : 1),
      );
      const os = Array.from({ length: t.unroll }, (_, u) => add(shift(base, u * t.lanes), ix.lane));
      const done = os.map(() => new Map<Value, Expr>());
      const ems = os.map((o, u) => emitterOf(w.job, ix, finished(done[u] as Map<Value, Expr>, o)));
      for (let stage = 0; stage < w.passes; stage++) {
        const states = w.reductions.filter((r) => r.stage === stage).map((r) => ({ r, each: os.map(() => fresh(c, r.monoid, t.lanes)) }));
        c.loop(e.index(0), e.index(space.reduced), 1, (jr) => {
          const j = ix.atom(jr, 0, space.reduced - 1);
          const xs = states.flatMap(({ r, each }) =>
            os.map((o, u) => ({
              r,
              state: each[u] as readonly Expr[],
              x: (ems[u] as Emitter).at(r.operand, indexOf(ix, r.operand, position(ix, space, o, j))),
            })),
          );
          const bound = c.bind(xs.map(({ x }) => x));
          xs.forEach(({ r, state }, n) => {
            update(c, r.monoid, state, r.monoid.element(bound[n] as Expr, ordinal(ix, j)));
          });
        });
        for (const { r, each } of states)
          each.forEach((state, u) => (done[u] as Map<Value, Expr>).set(r.value, c.name(r.monoid.result(state))));
      }
      os.forEach((o, u) => {
        storeAll(
          c,
          ix,
          ems[u] as Emitter,
          w.kept.map((out) => ({ ...out, ix: indexOf(ix, out.value, o) })),
        );
      });
    });
  }
};

export const lowerReduce = (job: Job): Lowering => {
  const w = workOf(job);
  const { space, schedule: s } = w;
  const c = code();
  if (space.rowwise) {
    const grid = rowBlocks(Math.ceil(space.kept / s.block));
    const first = e.mul(grid.id, s.block);
    const rows = (): void => {
      if (s.block === 1) rowwise(w, c, first);
      else
        c.loop(first, space.kept <= s.block ? e.index(space.kept) : e.min(e.add(first, s.block), space.kept), 1, (r) => rowwise(w, c, r));
    };
    if (grid.exact) rows();
    else c.when(e.lt(first, space.kept), rows);
    return { grid: [1, grid.y, grid.z], threads: s.threads, body: c.done() };
  }
  const inner = lastRun(space, true);
  const grid = rowBlocks(space.kept / inner);
  const columns = (): void => columnwise(w, c, grid.id, e.mul(e.block(0), s.block));
  if (grid.exact) columns();
  else c.when(e.lt(grid.id, space.kept / inner), columns);
  return { grid: [Math.ceil(inner / s.block), grid.y, grid.z], threads: s.threads, body: c.done() };
};
