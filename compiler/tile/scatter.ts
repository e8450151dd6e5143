/**
 * The scatter template: y = x plus every slice of u at its index. A block owns a range of rows of y (positions along the
 * scattered axis): it copies x there, then goes through the whole index list in order and adds the slices that fall into
 * its range. Nobody else writes these rows, so there are no atomics and the order of additions is fixed.
 *
 * Where blocks have several threads, they share the columns of the slices, each the same ones in every row; of short slices a thread
 * has rows of its own.
 *
 *   y[t] = x[t];  for i in list order { t = index[i]; if first <= t < last { y[t] += u[i] } }
 */
import type { Node, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type Affine, add, type Indices, indices, linear, number, unlinear } from './affine.ts';
import { code } from './code.ts';
import { held, shapeOf, sizeOf, stored } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import { emitterOf, type Job, lanesFor, rowBlocks } from './job.ts';
import { alongRow } from './map.ts';

export const lowerScatter = (job: Job): Lowering => {
  const node = job.group.nodes.find((n) => n.op.prim === 'scatterAdd') as Node;
  const axis = node.op.prim === 'scatterAdd' ? node.op.axis : 0;
  const [x, list, u] = node.inputs as [Value, Value, Value];
  const y = node.outputs[0] as Value;
  const shape = shapeOf(y);
  const before = shape.slice(0, axis);
  const after = shape.slice(axis + 1);
  const product = (ns: readonly number[]): number => ns.reduce((a, b) => a * b, 1);
  const [outer, rows, inner] = [product(before), shape[axis] as number, product(after)];
  const name = (job.outputs[0] as Job['outputs'][number]).name;
  const { target } = job;
  const lanes = target.maxThreads > 1 ? Math.min(4, lanesFor(target, inner)) : lanesFor(target, inner);
  const threads = Math.min(target.maxThreads, 32 * Math.max(1, Math.min(8, Math.floor(inner / lanes / 32))));
  /** Whether threads own columns; else they own rows. */
  const across = threads > 1 && inner >= 16 * lanes;
  // rows of an owner: enough elements to be worth the walk through the list; on a device of many threads, enough owners for all processors
  const share =
    threads > 1 ? rows / Math.max(1, (4 * target.workers * (across ? 1 : threads)) / outer) : Math.max(16384 / inner, rows / 64);
  const block = Math.max(1, Math.ceil(share));
  const grid = rowBlocks(outer);
  const c = code();
  const owner = threads === 1 || across ? e.block(0) : c.name(e.add(e.mul(e.block(0), threads), e.thread));
  const first = e.mul(owner, block);
  const end = e.min(e.add(first, block), rows);
  const type = y.type.dtype;

  /** Index vector (before, middle, after) where the middle is given as one or several axes. */
  const full = (ix: Indices, middle: readonly Affine[], i: Expr, width: number): readonly Affine[] => {
    const last = width === 1 ? inner - 1 : inner - (inner % lanes) - width;
    const column = inner === 1 ? number(0) : add(ix.atom(i, 0, last, width), ix.lane);
    return [...unlinear(ix, ix.atom(grid.id, 0, outer - 1), before), ...middle, ...unlinear(ix, column, after)];
  };
  const along = (visit: (width: number, i: Expr) => void): void =>
    alongRow(c, inner, lanes, { from: e.index(0), to: e.index(inner), whole: true }, across ? threads : 1, visit);
  const run = (): void => {
    c.loop(first, end, 1, (r) =>
      along((width, i) => {
        const ix = indices(width);
        const at = full(ix, [ix.atom(r, 0, rows - 1)], i, width);
        const [value, where] = c.bind([emitterOf(job, ix).at(x, at), ix.view(linear(at, shape)).expr]) as [Expr, Expr];
        c.store(name, where, stored(e.splat(value, width), type));
      }),
    );
    c.loop(e.index(0), e.index(sizeOf(list)), 1, (n) => {
      const scalar = indices(1);
      const k = scalar.atom(n, 0, sizeOf(list) - 1);
      const [t] = c.bind([emitterOf(job, scalar).at(list, unlinear(scalar, k, shapeOf(list)))]) as [Expr];
      const [lo, hi] = [e.cast(first, 'i32'), e.cast(end, 'i32')];
      c.when(e.and(e.compare('ge', t, lo), e.compare('lt', t, hi)), () => {
        const row = c.name(e.cast(t, 'index'));
        along((width, i) => {
          const ix = indices(width);
          const from = full(ix, unlinear(ix, ix.atom(n, 0, sizeOf(list) - 1), shapeOf(list)), i, width);
          const [value, where] = c.bind([
            emitterOf(job, ix).at(u, from),
            ix.view(linear(full(ix, [ix.atom(row, 0, rows - 1)], i, width), shape)).expr,
          ]) as [Expr, Expr];
          const old = e.cast(e.load({ name, dtype: type }, where, width), held(type));
          c.store(name, where, stored(e.add(old, e.splat(value, width)), type));
        });
      });
    });
  };
  if (grid.exact) run();
  else c.when(e.lt(grid.id, outer), run);
  return { grid: [Math.ceil(rows / block / (across ? 1 : threads)), grid.y, grid.z], threads, body: c.done() };
};
