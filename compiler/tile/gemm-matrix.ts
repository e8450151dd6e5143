/**
 * The gemm template for matrix units (kernel/matrix.ts): operands are bf16 or f16, sums float32. Panels of both come to shared memory by copies that run
 * beside the work, `stages` of them on their way or in use at a time; each warp adds products of 16 x 16 to wm x wn sums in its registers. A sum is one
 * chain of steps of 16 products in the order of k, so its bits are those of every other schedule of this template.
 *
 *   begin stages - 1 panels
 *   for kp                                          panels of k
 *     wait for this one; barrier; begin the next in the place of the last
 *     for 16 products: x = left fragments, y = right fragments; sums[i][j] += x[i] y[j]
 *   for pass                                        sixteen rows of each warp at a time
 *     tile = sums; barrier; epilogue for every vector of the tile, neighbouring threads at neighbouring columns; barrier
 */
import { body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import { startOf, unflatten } from './batch.ts';
import { finishVector } from './gemm-finish.ts';
import type { MatrixSchedule } from './gemm-matrix-schedule.ts';
import type { GemmOperand, GemmSpec, Lowering } from './gemm-spec.ts';
import { fragmentsOf, linesOf, matrixPanel, type StagedMatrix, stageMatrix } from './matrix-tile.ts';

const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

/** Numbers of a row of the tile behind its columns, which spread what a warp writes over the banks. */
const spread = 8;
/** Columns of one vector of the epilogue. */
const lanes = 4;

/** m and n are at least 1; k = 0 gives zeros. */
export const lowerGemmMatrix = (spec: GemmSpec, { bm, bn, bk, wm, wn, stages }: MatrixSchedule): Lowering => {
  const { m, n } = spec;
  const of = spec.a.dtype as KMatrix;
  const over = bn / wn;
  const threads = warp * over * (bm / wm);
  const k = body([spec.a.buffer, spec.b.buffer]);
  const batch = unflatten(e.block(2), spec.batch).map((x) => k.let('batch', x));
  const staged = (o: GemmOperand): StagedMatrix => ({
    place: { name: o.buffer, dtype: o.dtype },
    start: startOf(k, o, batch),
    outer: o.outer,
    inner: o.inner,
    ...linesOf(o),
  });
  const [a, b] = [staged(spec.a), staged(spec.b)];
  const top = k.let('top', e.mul(e.block(1), bm));
  const left = k.let('left', e.mul(e.block(0), bn));
  const panelA = matrixPanel(k, 'panelA', of, { width: bm, depth: bk, deep: a.deep }, stages);
  const panelB = matrixPanel(k, 'panelB', of, { width: bn, depth: bk, deep: b.deep }, stages);
  const own = k.let('warp', e.div(e.thread, warp));
  const [row, column] = [k.let('row', e.mul(e.div(own, over), wm)), k.let('column', e.mul(e.rem(own, over), wn))];
  const sums = list(wm / side).map(() => list(wn / side).map(() => k.var('acc', e.f32(0, 8))));

  const bring = (from: Expr, slot: Expr): void => {
    const deep = { first: from, size: spec.k };
    stageMatrix(k, panelA, e.mul(slot, panelA.size), a, { first: top, size: m }, deep, threads);
    stageMatrix(k, panelB, e.mul(slot, panelB.size), b, { first: left, size: n }, deep, threads);
  };
  const ahead = stages - 1;
  k.for('s', 0, ahead, 1, (slot) => {
    const from = k.let('from', e.mul(slot, bk));
    if ((ahead - 1) * bk < spec.k) bring(from, slot);
    else k.if(e.lt(from, spec.k), () => bring(from, slot));
    k.commit();
  });
  k.for('kp', 0, spec.k, bk, (kp) => {
    k.wait(ahead - 1);
    k.barrier();
    const panel = k.let('panel', e.div(kp, bk));
    const next = k.let('next', e.add(kp, ahead * bk));
    if (ahead * bk < spec.k) k.if(e.lt(next, spec.k), () => bring(next, k.let('slot', e.rem(e.add(panel, ahead), stages))));
    k.commit();
    const slot = k.let('slot', e.rem(panel, stages));
    const xs = fragmentsOf(k, panelA, 'x', row, e.mul(slot, panelA.size));
    const ys = fragmentsOf(k, panelB, 'y', column, e.mul(slot, panelB.size));
    k.for(
      'step',
      0,
      bk / side,
      1,
      (step) => {
        const y = sums[0]?.map((_, j) => ys(j, step)) ?? [];
        sums.forEach((line, i) => {
          const x = xs(i, step);
          line.forEach((sum, j) => k.mma(sum, of, x, y[j] as Expr));
        });
      },
      'unroll',
    );
  });

  const pitch = bn + spread;
  const tile = k.alloc('tile', 'shared', 'f32', side * (bm / wm) * pitch);
  // where the sums of a thread lie in the sixteen rows of its warp
  const corner = e.add(e.mul(e.div(own, over), side * pitch), column);
  const places = k.let('places', e.add(e.add(e.mul(e.place('row'), pitch), e.place('column')), corner));
  const keep = (line: readonly Expr[]): void => line.forEach((sum, j) => k.store(tile, e.add(places, j * side), sum));
  const finish = (pass: Expr): void =>
    k.for('made', 0, (side * (bm / wm) * bn) / lanes, threads, (from) => {
      const v = k.let('v', e.add(from, e.thread));
      const line = k.let('line', e.div(v, bn / lanes));
      const over = k.let('over', e.mul(e.rem(v, bn / lanes), lanes));
      const at = k.let('at', e.add(top, e.add(e.mul(e.div(line, side), wm), e.add(e.mul(pass, side), e.rem(line, side)))));
      const where = { row: at, column: k.let('col', e.add(left, over)), lanes, whole: n % bn === 0 };
      const vector = (): void => finishVector(k, spec, batch, where, tile, e.add(e.mul(line, pitch), over));
      if (m % bm === 0) vector();
      else k.if(e.lt(at, m), vector);
    });
  k.for('pass', 0, wm / side, 1, (pass) => {
    sums.forEach((line, i) => {
      if (sums.length === 1) keep(line);
      else k.if(e.compare('eq', pass, e.index(i)), () => keep(line));
    });
    k.barrier();
    finish(pass);
    if (sums.length > 1) k.barrier();
  });
  const count = spec.batch.reduce((p, d) => p * d, 1);
  return { grid: [Math.ceil(n / bn), Math.ceil(m / bm), count], threads, body: k.done() };
};
