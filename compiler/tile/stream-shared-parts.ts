/**
 * What attention is made of where a block has several threads: a tile of weights, rows x columns, that the threads make together
 * (shared-tile.ts) and leave in shared memory, and results, rows x width, that each keeps a part of in registers.
 *
 *   weigh    sums[i][j] = sum over d of a[i][d] b[j][d]            both staged in panels of d
 *   mix      sums[i][d] += sum over j of scores[i][j] rows[j][d]   rows staged in panels of j
 *
 * How large the tiles are decides in which order weights are added, so it is no choice: it follows from sizes and the target.
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import type { Target } from '../target.ts';
import { startOf } from './batch.ts';
import { finish } from './gemm-finish.ts';
import type { GemmSpec } from './gemm-spec.ts';
import {
  across,
  lanesOf,
  lineOf,
  type Own,
  ownOf,
  panel,
  pitchOf,
  products,
  type SharedPanel,
  type SharedTile,
  type Staged,
  type Sums,
  stage,
  threadsOf,
  turned,
  zeros,
} from './shared-tile.ts';
import type { Writer } from './stream-out.ts';
import type { Rows } from './stream-parts.ts';

export interface SharedStream {
  /** The tile of weights. */
  readonly weights: SharedTile;
  /** Steps of a panel. */
  readonly depth: number;
}

/** Sums of one thread: tm x tn of the tile of weights. */
const [tm, tn] = [4, 4] as const;
const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
const power = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));

/** Columns of results of one thread, of `width` in all. */
const columnsOf = (weights: SharedTile, width: number): number => {
  const n = Math.ceil(width / across(weights));
  return n <= 2 ? n : Math.ceil(n / 4) * 4;
};
export const resultsOf = (weights: SharedTile, width: number): SharedTile => {
  const n = columnsOf(weights, width);
  return { ...weights, columns: n * across(weights), tn: n, lanes: lanesOf(n) };
};

const widest = (weights: SharedTile, widths: readonly number[]): number =>
  Math.max(weights.columns, ...widths.map((w) => resultsOf(weights, w).columns));
const pitchOfScores = (weights: SharedTile): number => pitchOf(weights.columns, true);

/** Words of shared memory, `extra` of them the affair of the caller. */
const words = (weights: SharedTile, depth: number, widths: readonly number[], extra: number): number =>
  weights.rows * pitchOfScores(weights) + depth * (pitchOf(weights.rows, true) + pitchOf(widest(weights, widths), true)) + extra;

/**
 * Tiles for `rows` rows against `columns` of them, `count` times: the largest that fit and leave every processor something to do, or the
 * largest that fit at all. `widths` are those of results; `extra` words of shared memory a tile are kept free.
 */
export const sharedStream = (
  target: Target,
  size: { readonly rows: number; readonly columns: number; readonly count: number; readonly widths: readonly number[] },
  extra: (weights: SharedTile) => number,
): SharedStream => {
  const fits = [64, 32, 16, 8, 4].flatMap((rows) =>
    [64, 32, 16].flatMap((columns) => {
      const weights: SharedTile = { rows, columns, tm, tn, lanes: lanesOf(tn) };
      const depth = [16, 8, 4].find((d) => 4 * words(weights, d, size.widths, extra(weights)) <= target.sharedBytes);
      const large = (rows >= 2 * size.rows && rows > 4) || (columns >= 2 * size.columns && columns > 16);
      return depth === undefined || large || threadsOf(weights) > Math.min(256, target.maxThreads)
        ? []
        : [{ weights, depth: Math.min(depth, power(Math.max(...size.widths))) }];
    }),
  );
  const busy = fits.find((s) => Math.ceil(size.rows / s.weights.rows) * size.count >= 2 * target.workers);
  const chosen = busy ?? fits[0];
  if (!chosen) throw new Error('internal: attention without tiles that fit');
  return chosen;
};

/** One set of rows, where it starts for this block. */
export interface Operand {
  readonly rows: Rows;
  readonly start: Expr;
}
export const operandOf = (k: Body, rows: Rows, batch: readonly Expr[]): Operand => ({ rows, start: startOf(k, rows, batch) });

/** Its rows as the width of a panel, its elements as the depth; and the other way round. */
const byRows = ({ rows, start }: Operand): Staged => ({ place: rows.place, start, outer: rows.row, inner: rows.element });
const byElements = ({ rows, start }: Operand): Staged => ({ place: rows.place, start, outer: rows.element, inner: rows.row });

export interface Weaver {
  readonly own: Own;
  readonly scores: e.Place;
  /** Where a row of the weights starts. */
  line(row: Expr): Expr;
  weigh(a: Operand, firstA: Expr, b: Operand, firstB: Expr): Sums;
  /** The first column of this thread's vector v of the weights. */
  column(v: number): Expr;
  /** Leaves f of this thread's sums as weights; r and v count its rows and vectors. */
  keep(sums: Sums, f: (x: Expr, r: number, v: number) => Expr): void;
  /** Adds to sums of `resultsOf` the rows from `first` on, `many` of them at most; ends at a barrier. */
  mix(sums: Sums, rows: Operand, first: Expr, many: Expr): void;
  /** Writes this thread's part of results: `count` rows of `width` in all, the tile's first is row `first`; f(r) is a factor of row r. */
  write(
    sums: Sums,
    to: { readonly first: Expr; readonly count: number; readonly width: number },
    at: readonly Expr[],
    w: Writer,
    f?: (r: number) => Expr,
  ): void;
}

/** The pieces above for one kernel: shared memory is allocated once. `widths` are those of the results. */
export const weaver = (k: Body, { weights, depth }: SharedStream, widths: readonly number[]): Weaver => {
  const threads = threadsOf(weights);
  const own = ownOf(k, weights);
  const pitch = pitchOfScores(weights);
  const scores = k.alloc('scores', 'shared', 'f32', weights.rows * pitch);
  const left = panel(k, 'panelA', 'f32', depth, weights.rows, true);
  const right = panel(k, 'panelB', 'f32', depth, widest(weights, widths), true);
  const used = (p: SharedPanel, width: number, isTurned: boolean): SharedPanel => ({ ...p, width, pitch: pitchOf(width, isTurned) });
  /** The same threads on results: as many columns apart, of fewer or more vectors. */
  const columnOf = (t: SharedTile): Expr => k.let('mine', e.mul(e.rem(e.thread, across(t)), t.lanes));
  const line = (row: Expr): Expr => k.let('line', e.mul(row, pitch));
  const panels = (to: number, each: (from: Expr) => void): void => {
    if (to <= depth) each(e.index(0));
    else k.for('from', 0, to, depth, each);
  };
  const column = (v: number): Expr => e.add(own.column, v * across(weights) * weights.lanes);
  return {
    own,
    scores,
    line,
    column,
    weigh: (a, firstA, b, firstB) => {
      const sums = zeros(k, weights, 'f32');
      panels(a.rows.width, (from) => {
        const deep = { first: from, size: a.rows.width };
        const [l, r] = [used(left, weights.rows, turned(byRows(a))), used(right, weights.columns, turned(byRows(b)))];
        stage(k, l, byRows(a), { first: firstA, size: a.rows.count }, deep, threads);
        stage(k, r, byRows(b), { first: firstB, size: b.rows.count }, deep, threads);
        k.barrier();
        products(k, weights, own, lineOf(k, l, own, weights.tm), r, depth, sums);
        k.barrier();
      });
      return sums;
    },
    keep: (sums, f) =>
      sums.forEach((row, r) => {
        const start = line(e.add(own.row, r));
        row.forEach((x, v) => k.store(scores, e.add(start, column(v)), f(x, r, v)));
      }),
    mix: (sums, rows, first, many) => {
      const results = resultsOf(weights, rows.rows.width);
      const mine: Own = { row: own.row, column: columnOf(results) };
      const r = used(right, results.columns, turned(byElements(rows)));
      const starts = list(weights.tm).map((i) => line(e.add(own.row, i)));
      k.for('from', 0, many, depth, (from) => {
        const deep = { first: k.let('deep', e.add(first, from)), size: rows.rows.count };
        stage(k, r, byElements(rows), { first: e.index(0), size: rows.rows.width }, deep, threads);
        k.barrier();
        const factors = (p: Expr): readonly Expr[] => starts.map((at) => k.let('x', e.load(scores, e.add(at, e.add(from, p)))));
        products(k, results, mine, factors, r, depth, sums);
        k.barrier();
      });
    },
    write: (sums, to, at, w, f) => {
      const results = resultsOf(weights, to.width);
      const { tn, lanes } = results;
      const tile = k.alloc('tile', 'register', 'f32', results.tm * tn);
      sums.forEach((row, r) => {
        const factor = f && k.let('factor', f(r));
        row.forEach((x, v) => k.store(tile, r * tn + v * lanes, factor ? e.mul(x, e.splat(factor, lanes)) : x));
      });
      const mine = columnOf(results);
      const epilogue: GemmSpec['epilogue'] = (p, x) => {
        w(k, at, p.row, p.col, x, p.colMultiple);
        return [];
      };
      finish(k, { m: to.count, n: to.width, epilogue }, [], {
        place: tile,
        at: e.index(0),
        rows: results.tm,
        width: tn,
        lanes,
        row: k.let('row0', e.add(to.first, own.row)),
        column: (v) => e.add(mine, e.mul(v, across(results))),
        whole: { rows: to.count % weights.rows === 0, columns: to.width % results.columns === 0 },
      });
    },
  };
};
