/**
 * The gemm template for targets of several threads a block: the threads of a block copy a panel of each operand to shared memory, meet, and
 * add its products to sums in registers, a few rows and vectors of columns each. A sum is one chain in the order of k here too, so its bits
 * are those of every other schedule.
 *
 *   for kp                            panels of k
 *     panelA = a[m tile, kp]; panelB = b[kp, n tile]
 *     barrier
 *     for p: acc[r][v] = fma(panelA[p, r], panelB[p, v], acc[r][v])
 *     barrier
 *   epilogue for every vector of the register tile
 */
import { body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import { startOf, unflatten } from './batch.ts';
import { finish } from './gemm-finish.ts';
import type { SharedSchedule } from './gemm-shared-schedule.ts';
import type { GemmOperand, GemmSpec, Lowering } from './gemm-spec.ts';
import {
  across,
  lanesOf,
  lineOf,
  ownOf,
  panel,
  products,
  type SharedTile,
  type Staged,
  stage,
  threadsOf,
  turned,
  zeros,
} from './shared-tile.ts';

/** m and n are at least 1; k = 0 gives zeros. */
export const lowerGemmShared = (spec: GemmSpec, { bm, bn, bk, tm, tn }: SharedSchedule): Lowering => {
  const { m, n, acc } = spec;
  const t: SharedTile = { rows: bm, columns: bn, tm, tn, lanes: lanesOf(tn) };
  const threads = threadsOf(t);
  const k = body([spec.a.buffer, spec.b.buffer]);
  const batch = unflatten(e.block(2), spec.batch).map((x) => k.let('batch', x));
  const staged = (o: GemmOperand): Staged => ({
    place: { name: o.buffer, dtype: o.dtype },
    start: startOf(k, o, batch),
    outer: o.outer,
    inner: o.inner,
  });
  const [a, b] = [staged(spec.a), staged(spec.b)];
  const top = k.let('top', e.mul(e.block(1), bm));
  const left = k.let('left', e.mul(e.block(0), bn));
  const panelA = panel(k, 'panelA', acc, bk, bm, turned(a));
  const panelB = panel(k, 'panelB', acc, bk, bn, turned(b));
  const own = ownOf(k, t);
  const sums = zeros(k, t, acc);
  const part = (from: e.Operand): void => {
    const deep = { first: typeof from === 'number' ? e.index(from) : from, size: spec.k };
    stage(k, panelA, a, { first: top, size: m }, deep, threads);
    stage(k, panelB, b, { first: left, size: n }, deep, threads);
    if (threads > 1) k.barrier();
    products(k, t, own, lineOf(k, panelA, own, tm), panelB, bk, sums);
  };
  if (spec.k > 0 && spec.k <= bk) part(0);
  else
    k.for('kp', 0, spec.k, bk, (kp) => {
      part(kp);
      if (threads > 1) k.barrier();
    });
  const tile = k.alloc('tile', 'register', acc, tm * tn);
  sums.forEach((row, r) => row.forEach((sum, v) => k.store(tile, r * tn + v * t.lanes, sum)));
  finish(k, spec, batch, {
    place: tile,
    at: e.index(0),
    rows: tm,
    width: tn,
    lanes: t.lanes,
    row: k.let('row0', e.add(top, own.row)),
    column: (v) => e.add(e.add(left, own.column), e.mul(v, across(t))),
    whole: { rows: m % bm === 0, columns: n % bn === 0 },
  });
  const count = spec.batch.reduce((p, d) => p * d, 1);
  return { grid: [Math.ceil(n / bn), Math.ceil(m / bm), count], threads, body: k.done() };
};
