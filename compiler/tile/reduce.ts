/**
 * The reduce template: kept x reduced elements, reductions in stages, and what is made of their results (reduce-work.ts).
 * Rowwise, lanes run along the reduced elements (reduce-row.ts); columnwise, along the kept elements (reduce-column.ts).
 *
 *   for r { acc = -inf  for i { acc = max(acc, x) }                    softmax: three passes over a row,
 *           acc = 0     for i { keep e = exp(x - max), acc = acc + e }  which lies in the nearest cache after the first
 *                       for i { store e / sum } }
 *
 * One state a lane and unrolled copy, combined in a fixed tree, so that the bits depend on the schedule alone.
 */
import * as e from '../kernel/expr.ts';
import { code } from './code.ts';
import type { Lowering } from './gemm-spec.ts';
import { type Job, rowBlocks } from './job.ts';
import { columns, strip } from './reduce-column.ts';
import { rowwise } from './reduce-row.ts';
import { lastRun, workOf } from './reduce-work.ts';

export const lowerReduce = (job: Job): Lowering => {
  const w = workOf(job);
  const { space, schedule: s } = w;
  const c = code();
  if (space.rowwise) {
    const grid = rowBlocks(Math.ceil(space.kept / s.block));
    const first = e.mul(grid.id, s.block);
    const arrays = w.rows.map(() => c.alloc('register', 'f32', Math.ceil(space.reduced / s.lanes) * s.lanes));
    const rows = (): void => {
      if (s.block === 1) rowwise(w, c, first, arrays);
      else
        c.loop(first, space.kept <= s.block ? e.index(space.kept) : e.min(e.add(first, s.block), space.kept), 1, (r) =>
          rowwise(w, c, r, arrays),
        );
    };
    if (grid.exact) rows();
    else c.when(e.lt(first, space.kept), rows);
    return { grid: [1, grid.y, grid.z], threads: s.threads, body: c.done() };
  }
  const inner = lastRun(space, true);
  const grid = rowBlocks(space.kept / inner);
  const cut = s.threads > 1 ? columns : strip;
  const all = (): void => cut(w, c, grid.id, e.mul(e.block(0), s.block));
  if (grid.exact) all();
  else c.when(e.lt(grid.id, space.kept / inner), all);
  return { grid: [Math.ceil(inner / s.block), grid.y, grid.z], threads: s.threads, body: c.done() };
};
