/**
 * How a contraction is cut up, as a plain record, and the model that chooses it. The choice reads only sizes, strides and
 * the target, so it is the same on every run; the sums are added in the order of k whatever is chosen, so a schedule
 * changes the speed and never the bits.
 *
 *   chooseGemm(m 1024, n 1024, k 1024, both operands with k consecutive, on AVX-512, 2 workers)
 *   { bm: 520, bn: 256, bk: 352, tm: 13, tn: 2, lanes: 16 }
 */
import type { Target } from '../target.ts';
import { hintsOfB, rowsOfPanel } from './gemm-pack.ts';
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

const up = (x: number, to: number): number => Math.ceil(x / to) * to;
const cuts = (x: number, by: number): number => Math.ceil(x / by);

/** Rows of a register tile at most. Measured on Zen 4: above 11 rows of pairs, spills of their broadcast words cost a fifth of the speed. */
const mostRows = { 1: 14, 2: 11 } as const;

/** What fits where, in bytes. A block's arrays are locals: all of them stay far below the stack of a thread, 16 MiB. */
const limits = ({ cacheBytes: { l1, l2 } }: Target) => ({
  /** The rows of a register tile, read once for each strip of b. */
  rows: 0.6 * l1,
  panels: Math.min(0.7 * l2, 2 << 20),
  /** Read and written once a panel only. */
  tile: Math.min(0.7 * l2, 2 << 20),
});

/**
 * Time to bring one element into a packed panel, in vector fma. Copies run as fast as the memory gives, which is what decides
 * for an operand that no near cache holds; a panel that turns the operand costs shuffles, or moves of single elements.
 */
const packCost = (o: GemmOperand, elements: number, turns: boolean, target: Target): number => {
  const moves = o.outer === 1 || (!turns && o.inner === 1) ? 0.2 : o.inner === 1 ? 0.4 : 1;
  return moves + (4 * elements > target.cacheBytes.l2 ? 0.7 : 0.1);
};

/** The rows of the register tile: as many as the registers hold, or a few less where that wastes fewer rows at the edge. */
const chooseRows = (m: number, most: number, tn: number): number => {
  if (m <= most) return m;
  let best = most;
  const cost = (tm: number): number => cuts(m, tm) * (tm * tn + 1.5);
  for (let tm = most - 1; tm >= Math.max(1, Math.floor(most * 0.55)); tm--) if (cost(tm) < cost(best)) best = tm;
  return best;
};

/** Block sizes, in tiles, that cut `tiles` into equal parts, the largest first. */
const parts = (tiles: number): readonly number[] => {
  const sizes = new Set<number>();
  for (let n = 1; n <= Math.min(tiles, 4096); n = n < 64 ? n + 1 : 2 * n) sizes.add(cuts(tiles, n));
  return [...sizes, 1];
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
  const limit = limits(target);
  // a panel that holds all rows of a block is only as deep as leaves room for some 500 rows and columns
  const room = rowsOfPanel(spec.a, { bm: 2, tm: 1 }) > 1 ? limit.panels / (4 * 1024) : Number.POSITIVE_INFINITY;
  const deep = Math.max(16, Math.floor(Math.min(limit.rows / (4 * tm), room) / 16) * 16);
  const panels = k <= deep * 1.25 ? 1 : cuts(k, deep);
  const bk = panels === 1 ? Math.max(1, k) : Math.min(k, up(cuts(k, panels), 16));
  const [costA, costB] = [packCost(spec.a, m * k, false, target), packCost(spec.b, n * k, true, target)];
  let best: GemmSchedule = { bm: tm, bn: width, bk, tm, tn, lanes };
  let least = Number.POSITIVE_INFINITY;
  for (const rows of parts(cuts(m, tm))) {
    for (const columns of parts(cuts(n, width))) {
      const [bm, bn] = [rows * tm, columns * width];
      // the next panel of b arrives while this one is used
      const held = atOnce === 1 && hintsOfB(spec.b, { bm, tm, tn, lanes }) > 0 ? 2 : 1;
      const fits = bk * (bn * held + rowsOfPanel(spec.a, { bm, tm })) * 4 <= limit.panels && (panels === 1 || bm * bn * 4 <= limit.tile);
      if (!fits && rows * columns > 1) continue;
      const blocks = count * cuts(m, bm) * cuts(n, bn);
      const products = rows * columns * k * tm * tn;
      const sums = (bm * bn * (panels + 2)) / lanes;
      const block = products + k * (bm * costA + bn * costB) + sums + 400;
      const time = cuts(blocks, target.workers) * block;
      if (time < least) [least, best] = [time, { bm, bn, bk, tm, tn, lanes }];
    }
  }
  return best;
};
