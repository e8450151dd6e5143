/**
 * How a contraction is cut up, as a plain record, and the model that chooses it. The choice reads only sizes, strides and
 * the target, so it is the same on every run; the sums are added in the order of k whatever is chosen, so a schedule
 * changes the speed and never the bits.
 *
 *   chooseGemm(m 1024, n 1024, k 1024, both operands with k consecutive, on AVX-512, 2 workers)
 *   { bm: 208, bn: 64, bk: 256, tm: 13, tn: 2, lanes: 16 }
 */
import type { Target } from '../target.ts';
import { rowsOfPanel } from './gemm-pack.ts';
import { type GemmOperand, type GemmSpec, productsAtOnce } from './gemm-spec.ts';

export interface GemmSchedule {
  /** A block makes bm x bn results, of bk products (pairs of them, for bf16) at a time. bm is a multiple of tm, bn of tn * lanes. */
  readonly bm: number;
  readonly bn: number;
  readonly bk: number;
  /** The register tile: tm rows of tn vectors of `lanes` columns. */
  readonly tm: number;
  readonly tn: number;
  readonly lanes: number;
}

/** Bytes of a block's own arrays: kept far below the stack of a thread. */
const panelBytes = 168 * 1024;
const tileBytes = 80 * 1024;
const up = (x: number, to: number): number => Math.ceil(x / to) * to;
const cuts = (x: number, by: number): number => Math.ceil(x / by);

/** Rows of a register tile at most. Measured on Zen 4: above 11 rows of pairs, spills of their broadcast words cost a fifth of the speed. */
const mostRows = { 1: 14, 2: 11 } as const;

/** Cycles to bring one element into a packed panel: copied by vectors, or moved one by one when the panel turns it. */
const packCost = (o: GemmOperand, vector: 'outer' | 'either'): number =>
  o.outer === 1 || (vector === 'either' && o.inner === 1) ? 0.3 : 0.9;

/** The rows of the register tile: as many as the registers hold, or a few less where that wastes fewer rows at the edge. */
const chooseRows = (m: number, most: number, tn: number): number => {
  if (m <= most) return m;
  let best = most;
  const cost = (tm: number): number => cuts(m, tm) * (tm * tn + 1.5);
  for (let tm = most - 1; tm >= Math.max(1, Math.floor(most * 0.55)); tm--) if (cost(tm) < cost(best)) best = tm;
  return best;
};

/** The legal schedule that the model expects to end first when `target.workers` threads share the blocks. */
export const chooseGemm = (spec: GemmSpec, target: Target): GemmSchedule => {
  const { m, n } = spec;
  const atOnce = productsAtOnce(spec, target);
  const k = cuts(spec.k, atOnce);
  const count = spec.batch.reduce((p, d) => p * d, 1);
  const widest = Math.max(1, 2 ** Math.floor(Math.log2(target.vectorBytes / 4)));
  const lanes = Math.min(widest, 2 ** Math.ceil(Math.log2(Math.max(1, n))));
  const tn = n > lanes ? 2 : 1;
  const tm = chooseRows(m, Math.min(mostRows[atOnce], Math.max(1, Math.floor((target.registers - tn - 1) / tn))), tn);
  const width = tn * lanes;
  // a panel that holds all rows of a block is as deep as leaves room for a wide one
  const deep = rowsOfPanel(spec.a, { bm: 2, tm: 1 }) > 1 ? 144 : 320;
  const panels = k <= deep * 1.25 ? 1 : cuts(k, deep);
  const bk = panels === 1 ? Math.max(1, k) : Math.min(k, up(cuts(k, panels), 16));
  let best: GemmSchedule = { bm: tm, bn: width, bk, tm, tn, lanes };
  let least = Number.POSITIVE_INFINITY;
  // with all rows in one block, b is packed once: what matters where b is a large weight and m a few hundred tokens
  for (const rows of new Set([1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, Math.min(32, cuts(m, tm))])) {
    for (const columns of [1, 2, 3, 4, 6, 8]) {
      const [bm, bn] = [rows * tm, columns * width];
      const spare = (rows > 1 && bm >= m + tm) || (columns > 1 && bn >= n + width);
      const fits = bk * (bn + rowsOfPanel(spec.a, { bm, tm })) * 4 <= panelBytes && (panels === 1 || bm * bn * 4 <= tileBytes);
      if (spare || (!fits && rows * columns > 1)) continue;
      const blocks = count * cuts(m, bm) * cuts(n, bn);
      const products = (rows * columns * k * tm * tn) / 2;
      const sums = (bm * bn * (panels + 2)) / lanes;
      const block = products + k * (bm * packCost(spec.a, 'either') + bn * packCost(spec.b, 'outer')) + sums + 200;
      const time = cuts(blocks, target.workers) * block;
      if (time < least) [least, best] = [time, { bm, bn, bk, tm, tn, lanes }];
    }
  }
  return best;
};
