/**
 * How a contraction is cut up, as a plain record: what makes one legal, and the ranking of all that are. The ranking reads only sizes,
 * strides and the target, so it is the same on every run; the sums are added in the order of k whatever is chosen, so a schedule
 * changes the speed and never the bits. What a schedule is expected to cost is in gemm-cost.ts.
 *
 *   chooseGemm(m 1024, n 1024, k 1024, both operands with k consecutive, on AVX-512, 2 workers)
 *   { bm: 342, bn: 512, bk: 256, tm: 9, tn: 2, lanes: 16 }
 */
import type { Schedule, Target } from '../target.ts';
import { gemmCost } from './gemm-cost.ts';
import { hintsOfB, rowsOfPanel } from './gemm-pack.ts';
import { type GemmOperand, type GemmSpec, productsAtOnce } from './gemm-spec.ts';
import { type Chooser, misread } from './schedules.ts';

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
const list = (from: number, to: number): readonly number[] => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

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

/** Steps along k: products, or pairs of them. */
const depthOf = (spec: GemmSpec, target: Target): number => Math.max(1, cuts(spec.k, productsAtOnce(spec, target)));
const widestOf = (target: Target): number => Math.max(1, 2 ** Math.floor(Math.log2(target.vectorBytes / 4)));

/** Products of a panel: as many as leave a register tile's rows in the nearest cache, in equal panels. */
const depths = (spec: GemmSpec, target: Target, tm: number): readonly number[] => {
  const limit = limits(target);
  const k = depthOf(spec, target);
  // a panel that holds all rows of a block is only as deep as leaves room for some 500 rows and columns
  const room = rowsOfPanel(spec.a, { bm: 2, tm: 1 }) > 1 ? limit.panels / (4 * 1024) : Number.POSITIVE_INFINITY;
  const deep = Math.max(16, Math.floor(Math.min(limit.rows / (4 * tm), room) / 16) * 16);
  const cut = (most: number): number => {
    const panels = k <= most * 1.25 ? 1 : cuts(k, most);
    return panels === 1 ? k : Math.min(k, up(cuts(k, panels), 16));
  };
  return [...new Set([1, 2, 4, 8, 16, 32, 64].map((d) => cut(Math.max(16, Math.floor(deep / d)))))];
};

/** Whether the arrays of a block fit. The smallest block need not: something must always be possible. */
const fits = (spec: GemmSpec, target: Target, { bm, bn, bk, tm, tn, lanes }: GemmSchedule): boolean => {
  if (bm === tm && bn === tn * lanes) return bk <= (depths(spec, target, tm)[0] as number);
  const limit = limits(target);
  // the next panel of b arrives while this one is used
  const held = productsAtOnce(spec, target) === 1 && hintsOfB(spec.b, { bm, tm, tn, lanes }) > 0 ? 2 : 1;
  const panels = bk * (bn * held + rowsOfPanel(spec.a, { bm, tm })) * 4;
  return panels <= limit.panels && (bk >= depthOf(spec, target) || bm * bn * 4 <= limit.tile);
};

/** The schedule that a record is, or why it is none for this contraction on this target. */
export const readGemm = (spec: GemmSpec, target: Target, record: Schedule): GemmSchedule | string => {
  const fault = misread(record, ['bm', 'bn', 'bk', 'tm', 'tn', 'lanes']);
  if (fault !== undefined) return fault;
  const s = record as unknown as GemmSchedule; // the six names were just checked
  const { bm, bn, bk, tm, tn, lanes } = s;
  if (!Number.isInteger(Math.log2(lanes)) || lanes > widestOf(target)) return `the target has no vectors of ${lanes} lanes`;
  if (tm * tn + tn + 1 > target.registers) return `${tm} x ${tn} vectors and their operands do not fit ${target.registers} registers`;
  if (bm % tm !== 0 || bn % (tn * lanes) !== 0) return `${bm} x ${bn} is no whole number of tiles of ${tm} x ${tn * lanes}`;
  if (bm > up(spec.m, tm) || bn > up(spec.n, tn * lanes) || bk > depthOf(spec, target)) return 'a block is larger than the whole';
  return fits(spec, target, s) ? s : 'the arrays of a block do not fit the cache';
};

/** Register tiles that may be good: as many rows as the registers hold, or some less, which may leave fewer idle at the edge. */
const tiles = (spec: GemmSpec, target: Target): readonly Pick<GemmSchedule, 'tm' | 'tn' | 'lanes'>[] => {
  const { m, n } = spec;
  const lanes = Math.min(widestOf(target), 2 ** Math.ceil(Math.log2(Math.max(1, n))));
  return list(1, Math.min(3, cuts(n, lanes))).flatMap((tn) => {
    const most = Math.min(mostRows[productsAtOnce(spec, target)], Math.max(1, Math.floor((target.registers - tn - 1) / tn)));
    const rows = m <= most ? [m] : list(Math.max(1, Math.floor(most * 0.55)), most);
    return rows.filter((tm) => tm * tn + tn + 1 <= target.registers || (tm === 1 && tn === 1)).map((tm) => ({ tm, tn, lanes }));
  });
};

/** Block sizes, in tiles, that cut `all` into equal parts, the largest first. */
const parts = (all: number): readonly number[] => {
  const sizes = new Set<number>([1]);
  for (let n = 1; n <= Math.min(all, 4096); n = n < 16 ? n + 1 : Math.ceil(n * 1.25)) sizes.add(cuts(all, n));
  return [...sizes].sort((a, b) => b - a);
};

/** Calls `found` with every schedule of the space and the time that the model expects of it. */
const visit = (spec: GemmSpec, target: Target, found: (s: GemmSchedule, time: number) => void): void => {
  const cost = gemmCost(spec, target);
  for (const tile of tiles(spec, target)) {
    const [rows, columns] = [parts(cuts(spec.m, tile.tm)), parts(cuts(spec.n, tile.tn * tile.lanes))];
    for (const bk of depths(spec, target, tile.tm))
      for (const r of rows)
        for (const c of columns) {
          const s = { bm: r * tile.tm, bn: c * tile.tn * tile.lanes, bk, ...tile };
          if (fits(spec, target, s)) found(s, cost(s));
        }
  }
};

/** The legal schedule that the model expects to end first when `target.workers` threads share the blocks. */
export const chooseGemm = (spec: GemmSpec, target: Target): GemmSchedule => {
  let best: GemmSchedule | undefined;
  let least = Number.POSITIVE_INFINITY;
  visit(spec, target, (s, time) => {
    if (time < least) [least, best] = [time, s];
  });
  if (!best) throw new Error('internal: a contraction without a legal schedule');
  return best;
};

/** All legal schedules of the space, what the model expects to end first at the head: it is what `chooseGemm` gives. */
export const rankGemm = (spec: GemmSpec, target: Target): readonly GemmSchedule[] => {
  const all: { readonly s: GemmSchedule; readonly time: number }[] = [];
  visit(spec, target, (s, time) => all.push({ s, time }));
  return all.sort((a, b) => a.time - b.time).map(({ s }) => s);
};

const operandText = ({ dtype, batch, outer, inner }: GemmOperand): string => `${dtype}[${[...batch, outer, inner].join(' ')}]`;

/** `gemm 6x 257x64x257 f32[64 384 1] f32[64 384 1] then mul`: what is multiplied, and what is done with the sums. */
export const gemmKey = ({ batch, m, n, k, a, b }: GemmSpec, after: readonly string[]): string =>
  `gemm ${batch.map((d) => `${d}x `).join('')}${m}x${n}x${k} ${operandText(a)} ${operandText(b)}${after.length > 0 ? ` then ${after.join(' ')}` : ''}`;

export const gemmChooser = (spec: GemmSpec, target: Target, key: string): Chooser<GemmSchedule> => ({
  key,
  first: () => chooseGemm(spec, target),
  ranking: () => rankGemm(spec, target),
  read: (record) => readGemm(spec, target, record),
});
