/**
 * The cumsum template: serial along the axis, parallel over everything else. Lanes run along the axes behind it, where
 * there are any. The sums of f16 and bf16 values are kept in f32. Where blocks have several threads, each of them has a vector
 * of its own, of any row; neighbours have neighbours.
 *
 *   cumsum along axis 0 of [256 384]:   for i (columns, 16 lanes) { acc = 0  for j { acc += x[j, i]  store y[j, i] = acc } }
 */
import type { Node, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { add, indices, linear, number, scale } from './affine.ts';
import { code } from './code.ts';
import { held, indexOf, rounded, shapeOf, stored } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import { emitterOf, type Job, lanesFor, rowBlocks } from './job.ts';
import { alongRow } from './map.ts';

export const lowerCumsum = (job: Job): Lowering => {
  const node = job.group.nodes.find((n) => n.op.prim === 'cumsum') as Node;
  const axis = node.op.prim === 'cumsum' ? node.op.axis : 0;
  const [x, y] = [node.inputs[0] as Value, node.outputs[0] as Value];
  const shape = shapeOf(y);
  const length = shape[axis] as number;
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1);
  const c = code();
  const sums = (row: Expr, i: Expr, width: number): void => {
    const acc = c.variable(e.constant(0, held(y.type.dtype), width));
    c.loop(e.index(0), e.index(length), 1, (j) => {
      const ix = indices(width);
      const last = inner - (inner % width) - width;
      const column = inner === 1 ? number(0) : add(ix.atom(i, 0, last, width), ix.lane);
      const p = add(scale(ix.atom(row, 0, outer - 1), length * inner), add(scale(ix.atom(j, 0, length - 1), inner), column));
      const em = emitterOf(job, ix);
      const [value, where] = c.bind([em.at(x, indexOf(ix, x, p)), ix.view(linear(indexOf(ix, y, p), shape)).expr]) as [Expr, Expr];
      c.set(acc, e.add(acc, e.splat(value, width)));
      c.store((job.outputs[0] as Job['outputs'][number]).name, where, stored(rounded(acc, y.type.dtype), y.type.dtype));
    });
  };
  if (job.target.maxThreads > 1) {
    const widest = Math.min(4, lanesFor(job.target, inner));
    const lanes = inner % widest === 0 ? widest : 1;
    const vectors = inner / lanes;
    const threads = Math.min(64, job.target.maxThreads);
    const grid = rowBlocks(Math.ceil((outer * vectors) / threads));
    const own = c.name(e.add(e.mul(grid.id, threads), e.thread));
    c.when(e.lt(own, outer * vectors), () => sums(c.name(e.div(own, vectors)), c.name(e.mul(e.rem(own, vectors), lanes)), lanes));
    return { grid: [1, grid.y, grid.z], threads, body: c.done() };
  }
  const grid = rowBlocks(outer);
  const run = (): void =>
    alongRow(c, inner, lanesFor(job.target, inner), { from: e.index(0), to: e.index(inner), whole: true }, 1, (width, i) =>
      sums(grid.id, i, width),
    );
  if (grid.exact) run();
  else c.when(e.lt(grid.id, outer), run);
  return { grid: [1, grid.y, grid.z], threads: 1, body: c.done() };
};
