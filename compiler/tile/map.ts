/**
 * The map template: all outputs have the same number of elements, and element p of each is a function of p. The space is
 * cut into rows of `inner` elements; lanes run along a row, and a row whose length is not a multiple of the lanes ends in
 * single elements. A block owns a fixed number of elements, whatever machine it runs on.
 *
 * The row length is a choice: the whole space as one row where every access is flat or vectors never straddle an axis,
 * otherwise a suffix of the axes, so that what does not change along a row is computed once a row. Each candidate is
 * emitted once and judged by the loads that would be irregular and the divisions that would remain.
 *
 *   z = add(x, broadcast(c)), f32[2056 384]:   inner 384, lanes 16, 42 rows a block
 */
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type Affine, type Assumptions, add, type Indices, indices, number, scale } from './affine.ts';
import { type Code, code } from './code.ts';
import { indexOf, shapeOf, sizeOf } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import { emitterOf, type Job, lanesFor, rowBlocks, storeAll } from './job.ts';

export interface MapSchedule {
  /** Elements of a row; rows follow one another in memory. */
  readonly inner: number;
  readonly lanes: number;
  /** Elements of a row that one block computes, and rows that it computes. */
  readonly chunk: number;
  readonly rows: number;
  readonly threads: number;
}

/** What the accesses of one vector cost beyond its loads and stores, in rough instructions. */
const cost = (job: Job, n: number, inner: number, lanes: number, threads: number): number => {
  const ix = indices(lanes);
  const em = emitterOf(job, ix);
  const row = ix.atom(e.ref('r', 'index'), 0, n / inner - 1);
  const col = ix.atom(e.ref('i', 'index'), 0, inner - lanes, lanes, true);
  const p = add(scale(row, inner), add(col, ix.lane));
  for (const o of job.outputs) em.at(o.value, indexOf(ix, o.value, p));
  const vectors = Math.max(1, inner / lanes);
  const tail = (inner % lanes) + 4;
  const idle = threads > 1 ? Math.max(0, (threads * lanes) / inner - 1) * 8 : 0;
  const { inner: each, outer } = ix.divisions;
  return em.irregular * 16 * lanes + each * 3 + ix.undecided * 8 + (outer * 3 + tail) / vectors + idle;
};

/** Row lengths worth trying: products of trailing axes of any shape that the space, or a part of a concatenation, takes inside the group. */
const suffixes = (job: Job, n: number): readonly number[] => {
  const found = new Set<number>();
  const joined = job.group.nodes.some((m) => m.op.prim === 'concat');
  for (const v of [...job.outputs.map((o) => o.value), ...job.group.nodes.flatMap((m) => m.outputs)]) {
    if (sizeOf(v) !== n && !joined) continue;
    let suffix = 1;
    for (const d of [...shapeOf(v)].reverse()) {
      suffix *= d;
      if (d !== 1 && suffix < n && n % suffix === 0) found.add(suffix);
    }
  }
  return [...found].slice(0, 12);
};

/** Elements of a block where the space is one row: 32 KiB of float32. */
const flatChunk = 8192;

const mapSchedule = (job: Job): MapSchedule => {
  const { target } = job;
  const first = job.outputs[0]?.value;
  const n = first ? sizeOf(first) : 0;
  const threads = Math.min(256, target.maxThreads);
  const widest = threads > 1 ? Math.min(4, lanesFor(target, n)) : lanesFor(target, n);
  let inner = n;
  if (widest > 1) {
    let best = cost(job, n, n, widest, threads);
    for (const suffix of best <= 1 ? [] : suffixes(job, n)) {
      const c = cost(job, n, suffix, Math.min(widest, lanesFor(target, suffix)), threads);
      if (c < best) [best, inner] = [c, suffix];
    }
  }
  const lanes = Math.min(widest, lanesFor(target, inner));
  if (threads > 1) {
    const chunk = Math.min(threads * lanes * 4, Math.ceil(inner / lanes) * lanes);
    return { inner, lanes, chunk, rows: Math.max(1, Math.floor((threads * lanes * 4) / chunk)), threads };
  }
  // one row: equal text for all sizes
  if (inner === n && lanes > 1) return { inner, lanes, chunk: flatChunk, rows: 1, threads: 1 };
  // small spaces are cut finer, so that several workers have something to do
  const elements = Math.ceil(Math.min(16384, Math.max(2048, n / 16)) / lanes) * lanes;
  const chunk = Math.min(elements, Math.ceil(inner / lanes) * lanes);
  return { inner, lanes, chunk, rows: Math.max(1, Math.floor(elements / chunk)), threads: 1 };
};

/** Loops over elements [from, to) of a row by vectors, then over what is left of the row by single elements. */
export const alongRow = (
  c: Code,
  inner: number,
  lanes: number,
  range: { readonly from: Expr; readonly to: Expr; readonly whole: boolean },
  threads: number,
  visit: (lanes: number, i: Expr) => void,
): void => {
  const vectors = inner - (inner % lanes);
  const mine = (x: Expr, width: number): Expr => (threads > 1 ? e.add(x, e.mul(e.thread, width)) : x);
  if (vectors > 0) {
    const to = range.whole ? e.index(vectors) : e.min(range.to, vectors);
    c.loop(mine(range.from, lanes), to, lanes * threads, (i) => visit(lanes, i));
  }
  if (vectors < inner) {
    const from = range.whole ? e.index(vectors) : e.max(range.from, vectors);
    c.loop(mine(from, 1), range.whole ? e.index(inner) : e.min(range.to, inner), threads, (i) => visit(1, i));
  }
};

export const lowerMap = (job: Job): Lowering => {
  const s = mapSchedule(job);
  const n = sizeOf((job.outputs[0] as Job['outputs'][number]).value);
  const rows = n / s.inner;
  const c = code();
  const chunks = Math.max(1, Math.ceil(s.inner / s.chunk));
  const grid = rowBlocks(Math.max(1, Math.ceil(rows / s.rows)));
  const from = chunks === 1 ? e.index(0) : e.mul(e.block(0), s.chunk);
  const range = { from, to: e.add(from, s.chunk), whole: chunks === 1 };
  const at = (ix: Indices, r: Expr, i: Expr): Affine => {
    const last = ix.lanes === 1 ? s.inner - 1 : s.inner - (s.inner % s.lanes) - ix.lanes;
    const first = rows === 1 ? number(0) : scale(ix.atom(r, 0, rows - 1), s.inner);
    return add(first, add(ix.atom(i, 0, last, ix.lanes, true), ix.lane));
  };
  const storeAt = (ix: Indices, p: Affine): void =>
    storeAll(
      c,
      ix,
      emitterOf(job, ix),
      job.outputs.map((o) => ({ name: o.name, value: o.value, ix: indexOf(ix, o.value, p) })),
    );
  const plain = (r: Expr, assumed: Assumptions): void =>
    alongRow(c, s.inner, s.lanes, range, s.threads, (lanes, i) => {
      const ix = indices(lanes, assumed);
      storeAt(ix, at(ix, r, i));
    });
  if (s.chunk === flatChunk && rows === 1 && s.threads === 1) {
    const whole = n - (n % s.lanes);
    const [start, stop] = [e.mul(e.block(0), s.chunk), e.add(e.mul(e.block(0), s.chunk), s.chunk)];
    c.loop(start, e.min(stop, whole), s.lanes, (i) => {
      const ix = indices(s.lanes);
      storeAt(ix, at(ix, e.index(0), i));
    });
    // what is left is one short vector, of the last block
    if (whole < n)
      c.when(e.lt(whole, stop), () => {
        const ix = indices(s.lanes, new Map(), n - whole);
        storeAt(ix, add(number(whole), ix.lane));
      });
    return { grid: [Math.ceil(n / s.chunk), 1, 1], threads: 1, body: c.done(), flat: true };
  }
  const guarded = job.group.nodes.some((m) => m.op.prim === 'pad' || m.op.prim === 'concat');
  /** Which part of a concatenation a row belongs to is asked once a row, and each answer has a loop of its own. */
  const row = (r: Expr, assumed: Assumptions = new Map(), branches = 8): void => {
    const ix = indices(s.lanes, assumed);
    if (guarded && branches > 1) {
      const em = emitterOf(job, ix);
      const p = at(ix, r, e.ref('i', 'index'));
      for (const o of job.outputs) em.at(o.value, indexOf(ix, o.value, p));
    }
    const ask = ix.open[0];
    if (!ask) {
      plain(r, assumed);
      return;
    }
    const { lo, hi } = assumed.get(ask.what) ?? { lo: 0, hi: Number.MAX_SAFE_INTEGER };
    const left = Math.floor(branches / 2);
    c.when(
      ask.cond,
      () => row(r, new Map([...assumed, [ask.what, { lo, hi: Math.min(hi, ask.n - 1) }]]), left),
      () => row(r, new Map([...assumed, [ask.what, { lo: Math.max(lo, ask.n), hi }]]), left),
    );
  };
  if (rows === 1) row(e.index(0));
  else {
    const first = e.mul(grid.id, s.rows);
    const all = (): void => c.loop(first, e.min(e.add(first, s.rows), rows), 1, (r) => row(r));
    if (grid.exact) all();
    else c.when(e.lt(first, rows), all);
  }
  return { grid: [chunks, grid.y, grid.z], threads: s.threads, body: c.done() };
};
