/**
 * The gemm template: batch x M x N results, each the sum of K products, then an epilogue. One block makes a tile of bm x bn
 * results. For each panel of bk products it packs its columns of b, then for each register tile packs tm rows of a and runs
 * the micro-kernel: tm x tn vector accumulators, one fma each a product. Between panels the accumulators rest in a tile of
 * the block. Every sum is one chain of fma in the order of k (of pairs of it, for bf16 operands on targets that add two products at
 * once: gemm-pack-pairs.ts): its bits depend on neither schedule nor threads.
 *
 *   for kp                        panels of k
 *     panelB = b[kp, n tile]
 *     for i                       register tiles down the block
 *       panelA = a[i, kp]         (for all i at once where the rows of a are consecutive in memory)
 *       for j                     and across
 *         acc = tile[i, j]; for p: acc[r][v] = fma(panelA[r, p], panelB[p, v], acc[r][v]); tile[i, j] = acc
 *         after the last panel: epilogue for every vector of the register tile
 */
import { body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import type { Target } from '../target.ts';
import { startOf, unflatten } from './batch.ts';
import { finish } from './gemm-finish.ts';
import { ahead, type Panel, packA, packB, pitchOfB, sizeOfA } from './gemm-pack.ts';
import { packPairsA, packPairsB } from './gemm-pack-pairs.ts';
import { chooseGemm, type GemmSchedule } from './gemm-schedule.ts';
import { type GemmSpec, type Lowering, productsAtOnce } from './gemm-spec.ts';

const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

/** Lowers a contraction for targets of one thread a block. m and n are at least 1; k = 0 gives zeros. */
export const lowerGemm = (spec: GemmSpec, target: Target, schedule: GemmSchedule = chooseGemm(spec, target)): Lowering => {
  const { m, n, acc } = spec;
  const atOnce = productsAtOnce(spec, target);
  /** Steps along k. */
  const depth = Math.ceil(spec.k / atOnce);
  const { bm, bn, bk, tm, tn, lanes } = schedule;
  const width = tn * lanes;
  const panels = Math.max(1, Math.ceil(depth / bk));
  const k = body([spec.a.buffer, spec.b.buffer]);

  const batch = unflatten(e.block(2), spec.batch).map((x) => k.let('batch', x));
  const [startA, startB] = [startOf(k, spec.a, batch), startOf(k, spec.b, batch)];
  const top = k.let('top', e.mul(e.block(1), bm));
  const left = k.let('left', e.mul(e.block(0), bn));
  const rows = m % bm === 0 ? e.index(bm) : k.let('rows', e.min(e.sub(e.index(m), top), bm));
  const columns = n % bn === 0 ? e.index(bn) : k.let('columns', e.min(e.sub(e.index(n), left), bn));

  const packed = atOnce === 2 ? 'bf16' : acc;
  const placeA = k.alloc('panelA', 'register', packed, sizeOfA(spec.a, schedule) * atOnce);
  const placeB = k.alloc('panelB', 'register', packed, pitchOfB(schedule) * bn * atOnce);
  // without panels to wait for, the tile holds one register tile on its way to the epilogue
  const tile = k.alloc('tile', 'register', acc, panels > 1 ? bm * bn : tm * width);
  const slot = (i: Expr, j: Expr): Expr => (panels > 1 ? e.add(e.mul(i, bn), e.mul(j, tm)) : e.index(0));
  if (panels > 1) k.for('z', 0, bm * bn, lanes, (z) => k.store(tile, z, e.constant(0, acc, lanes)));

  const multiplyAdd = (x: Expr, y: Expr, z: Expr): Expr =>
    atOnce === 2 ? e.dot2(x, y, z) : acc === 'f32' ? e.fma(x, y, z) : e.add(e.mul(x, y), z);
  const factor = (place: e.Place, at: Expr): Expr => (atOnce === 2 ? e.load(place, e.mul(at, 2), 2) : e.splat(e.load(place, at), lanes));

  const done = (i: Expr, j: Expr, at: Expr): void =>
    finish(k, spec, batch, {
      place: tile,
      at,
      rows: tm,
      width,
      lanes,
      row: k.let('row0', e.add(top, i)),
      column: (v) => e.add(left, e.add(j, v)),
      whole: { rows: m % tm === 0, columns: n % width === 0 },
    });

  const panel = (from: Expr): void => {
    const count = panels === 1 ? e.index(depth) : depth % bk === 0 ? e.index(bk) : k.let('count', e.min(e.sub(e.index(depth), from), bk));
    const common = { spec, schedule, from, depth: count };
    const [panelOfA, panelOfB]: readonly [Panel, Panel] = [
      { ...common, start: startA },
      { ...common, start: startB },
    ];
    const partB = (atOnce === 2 ? packPairsB : packB)(k, panelOfB, left, placeB);
    const partA = (atOnce === 2 ? packPairsA : packA)(k, panelOfA, top, placeA);
    partA.packBlock(rows);
    k.for('i', 0, rows, tm, (i) => {
      partA.packTile(i);
      k.for('j', 0, columns, width, (j) => {
        const at = k.let('at', slot(i, j));
        const place = (r: number, v: number): Expr => e.add(at, r * width + v * lanes);
        const sums = list(tm).map((r) =>
          list(tn).map((v) => k.var('acc', panels > 1 ? e.load(tile, place(r, v), lanes) : e.constant(0, acc, lanes))),
        );
        const hint = atOnce === 1 ? ahead(k, panelOfA, panelOfB, top, left, i, j) : undefined;
        k.for('p', 0, count, 1, (p) => {
          const right = list(tn).map((v) => k.let('y', e.load(partB.panel, e.mul(partB.at(j, v, p), atOnce), lanes * atOnce)));
          for (const r of list(tm)) {
            const x = k.let('x', factor(partA.panel, partA.at(i, r, p)));
            for (const v of list(tn)) {
              const sum = (sums[r] as readonly Expr[])[v] as Expr;
              k.set(sum, multiplyAdd(x, right[v] as Expr, sum));
            }
          }
          hint?.(p);
        });
        for (const r of list(tm)) for (const v of list(tn)) k.store(tile, place(r, v), (sums[r] as readonly Expr[])[v] as Expr);
        if (panels === 1) done(i, j, at);
        else k.if(e.compare('ge', e.add(from, bk), depth), () => done(i, j, at));
      });
    });
  };
  if (panels === 1) panel(e.index(0));
  else k.for('kp', 0, depth, bk, panel);

  const count = spec.batch.reduce((p, d) => p * d, 1);
  return { grid: [Math.ceil(n / bn), Math.ceil(m / bm), count], threads: 1, body: k.done() };
};
