/**
 * What attention is made of on matrix units: each warp owns sixteen rows of a tile and keeps all that belongs to them, weights and results, in its registers;
 * the other rows come by in shared memory, `columns` at a time, the next ones while these are used. A weight leaves its accumulator as half of a
 * fragment of the next product: the places of sums and of fragments agree (kernel/matrix.ts), so nothing moves between threads.
 *
 *   weigh    sums[j] = own rows times rows 16 j .. 16 j + 15 that come by            products along a row
 *   mix      results[i] += weights[j] times numbers 16 i .. of rows 16 j ..          products along rows
 *
 * How large the tiles are decides in which order weights are added, so it is no choice: it follows from sizes and the target.
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import type { Target } from '../target.ts';
import { startOf } from './batch.ts';
import { finishVector } from './gemm-finish.ts';
import type { GemmSpec } from './gemm-spec.ts';
import { fragmentsOf, linesOf, type MatrixPanel, type StagedMatrix, stageMatrix } from './matrix-tile.ts';
import type { Writer } from './stream-out.ts';
import type { Rows } from './stream-parts.ts';

const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
/** Widths of panels. */
export const padded = (n: number): number => Math.max(side, 2 ** Math.ceil(Math.log2(n)));
/** Squares of sixteen that hold n numbers. */
export const squares = (n: number): number => Math.ceil(n / side);

export interface MatrixStream {
  readonly warps: number;
  /** Of a tile: sixteen a warp. */
  readonly rows: number;
  readonly columns: number;
}

interface Sizes {
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
  /** Of rows that come by, and of those that a warp keeps sums of. */
  readonly widths: readonly number[];
  readonly kept: readonly number[];
}
const total = (n: readonly number[]): number => n.reduce((a, b) => a + b, 0);
/** Bytes of shared memory: own rows, two tiles of those that come by, results on their way out, and `numbers` of float32 a row of either. */
const bytesOf = ({ rows, columns }: MatrixStream, { widths, kept }: Sizes, numbers: number): number =>
  2 * (rows + 2 * columns) * total(widths.map(padded)) + 4 * tileNumbers(rows, kept) + 4 * numbers * (rows + 2 * columns);
const most = { registers: 232, warps: 4 } as const;
/** Results, weights of two kinds, and some for addresses and fragments. */
const registersOf = ({ columns }: MatrixStream, { kept }: Sizes): number => total(kept.map((w) => squares(w) * 8)) + columns + 72;

/** The tiles for rows of halves, or undefined where the target has no units for them or they are too wide for the registers of a warp. */
export const matrixStream = (target: Target, operands: readonly Rows[], sizes: Sizes, numbers: number): MatrixStream | undefined => {
  const of = operands[0]?.place.dtype;
  const unit = target.matrix;
  if (
    !unit ||
    target.maxThreads < warp ||
    !operands.every((r) => r.place.dtype === of) ||
    !(unit.dtypes as readonly unknown[]).includes(of)
  )
    return undefined;
  const fits = [4, 2, 1].flatMap((warps) =>
    [64, 32, 16].flatMap((columns) => {
      const s: MatrixStream = { warps, rows: warps * side, columns };
      const large = (s.rows >= 2 * sizes.rows && warps > 1) || (columns >= 2 * sizes.columns && columns > side);
      const ok = warps * warp <= target.maxThreads && registersOf(s, sizes) <= Math.min(most.registers, target.registers);
      return ok && !large && bytesOf(s, sizes, numbers) <= target.sharedBytes ? [s] : [];
    }),
  );
  return fits.find((s) => Math.ceil(sizes.rows / s.rows) * sizes.count >= target.workers) ?? fits[0];
};

/** Rows of one operand, where they start for this block, and how their panels lie. */
export interface MatrixRows {
  readonly rows: Rows;
  readonly from: StagedMatrix;
}
export const matrixRows = (k: Body, rows: Rows, batch: readonly Expr[]): MatrixRows => ({
  rows,
  from: {
    place: rows.place,
    start: startOf(k, rows, batch),
    outer: rows.row,
    inner: rows.element,
    ...linesOf({ base: rows.base, batch: rows.batch, outer: rows.row, inner: rows.element }),
  },
});

/** Room for `stages` tiles of up to `lines` rows. Operands that take turns in it have equal widths. */
export interface Room {
  readonly place: e.Place;
  readonly lines: number;
}
export const room = (k: Body, name: string, dtype: KMatrix, lines: number, width: number, stages: number): Room => ({
  place: k.alloc(name, 'shared', dtype, stages * lines * padded(width)),
  lines,
});
const panelIn = (r: Room, { rows, from }: MatrixRows): MatrixPanel => {
  const depth = padded(rows.width);
  return { place: r.place, width: r.lines, depth, deep: from.deep, size: r.lines * depth };
};
/** The same numbers where products run along rows. */
const turned = (p: MatrixPanel): MatrixPanel => ({ ...p, width: p.depth, depth: p.width, deep: !p.deep });

/** Begins to bring rows `first` .. to one of the tiles of a room. */
export const bringRows = (k: Body, to: Room, slot: Expr, of: MatrixRows, first: Expr, threads: number): void => {
  const p = panelIn(to, of);
  stageMatrix(k, p, e.mul(slot, p.size), of.from, { first, size: of.rows.count }, { first: e.index(0), size: of.rows.width }, threads);
};

export type Squares = readonly Expr[];
export const zeroSquares = (k: Body, n: number): Squares => list(n).map(() => k.var('acc', e.f32(0, 8)));

/** sums[j] of this warp's own rows, which lie in `own`, and the rows of tile `slot` of `by`. */
export const weigh = (
  k: Body,
  of: KMatrix,
  first: Expr,
  own: readonly [Room, MatrixRows],
  by: readonly [Room, MatrixRows],
  slot: Expr,
): Squares => {
  const [p, q] = [panelIn(...own), panelIn(...by)];
  const sums = zeroSquares(k, by[0].lines / side);
  const xs = fragmentsOf(k, p, 'x', first, e.index(0));
  const ys = fragmentsOf(k, q, 'y', e.index(0), e.mul(slot, q.size));
  k.for(
    'step',
    0,
    squares(own[1].rows.width),
    1,
    (step) => {
      const x = xs(0, step);
      sums.forEach((sum, j) => k.mma(sum, of, x, ys(j, step)));
    },
    'unroll',
  );
  return sums;
};

/** results[i] += weights times the rows of tile `slot`. */
export const mix = (k: Body, of: KMatrix, results: Squares, weights: Squares, by: readonly [Room, MatrixRows], slot: Expr): void => {
  const p = turned(panelIn(...by));
  const ys = fragmentsOf(k, p, 'y', e.index(0), e.mul(slot, p.size));
  weights.forEach((w, j) => {
    const x = k.let('w', e.bitcast(e.cast(w, of), 'u32'));
    results.forEach((sum, i) => k.mma(sum, of, x, ys(i, e.index(j))));
  });
};

/** What belongs to a thread's rows: its sums lie in two of them. */
export interface RowPair {
  readonly low: Expr;
  readonly high: Expr;
}
/** One number a sum. */
export const spread = (k: Body, { low, high }: RowPair): Expr =>
  k.let('each', e.select(e.lt(e.place('row'), 8), e.splat(low, 8), e.splat(high, 8)));
/** One number of the sums of each row that one thread has. */
export const acrossRow = (x: Expr, join: (a: Expr, b: Expr) => Expr): RowPair => {
  const of = (lanes: readonly number[]): Expr => lanes.map((i) => e.lane(x, i)).reduce(join);
  return { low: of([0, 1, 4, 5]), high: of([2, 3, 6, 7]) };
};
/** What `threads` neighbours make of their numbers, by a fixed tree; each gets it. */
export const among = (k: Body, threads: number, x: Expr, join: (a: Expr, b: Expr) => Expr): Expr => {
  let own = x;
  for (let by = 1; by < threads; by *= 2) own = k.let('both', join(own, k.exchange('other', own, by)));
  return own;
};
export const pair = (f: (which: keyof RowPair) => Expr): RowPair => ({ low: f('low'), high: f('high') });

/** Sixteen rows a warp of results on their way out, of up to the widest of `widths` numbers each. */
export interface ResultTile {
  readonly place: e.Place;
  readonly pitch: number;
  readonly rows: number;
}
const pitchOf = (widths: readonly number[]): number => Math.max(...widths.map((w) => squares(w) * side)) + 8;
export const tileNumbers = (rows: number, widths: readonly number[]): number => rows * pitchOf(widths);
export const resultTile = (k: Body, rows: number, widths: readonly number[]): ResultTile => ({
  place: k.alloc('tile', 'shared', 'f32', tileNumbers(rows, widths)),
  pitch: pitchOf(widths),
  rows,
});

/** Writes results of a warp by way of shared memory of its own, so that neighbouring threads write neighbouring numbers: rows `first` .. of the sixteen. */
export const writeSquares = (
  k: Body,
  { place, pitch, rows }: ResultTile,
  results: Squares,
  to: { readonly first: Expr; readonly count: number; readonly width: number },
  at: readonly Expr[],
  w: Writer,
): void => {
  const corner = k.let('corner', e.mul(e.div(e.thread, warp), side * pitch));
  const places = k.let('places', e.add(e.add(e.mul(e.place('row'), pitch), e.place('column')), corner));
  // others of the warp may still read what the last results left here
  k.barrier('warp');
  results.slice(0, squares(to.width)).forEach((sum, i) => k.store(place, e.add(places, i * side), sum));
  k.barrier('warp');
  const lanes = 4;
  const vectors = Math.ceil(to.width / lanes);
  const epilogue: GemmSpec['epilogue'] = (p, x) => {
    w(k, at, p.row, p.col, x, p.colMultiple);
    return [];
  };
  k.for('v', e.rem(e.thread, warp), side * vectors, warp, (v) => {
    const line = k.let('line', e.div(v, vectors));
    const column = k.let('column', e.mul(e.rem(v, vectors), lanes));
    const row = k.let('row', e.add(to.first, line));
    const one = (): void =>
      finishVector(
        k,
        { n: to.width, epilogue },
        at,
        { row, column, lanes, whole: to.width % lanes === 0 },
        place,
        k.let('from', e.add(e.add(corner, e.mul(line, pitch)), column)),
      );
    if (to.count % rows === 0) one();
    else k.if(e.lt(row, to.count), one);
  });
};
