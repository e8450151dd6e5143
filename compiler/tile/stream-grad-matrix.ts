/**
 * The stream-grad template on matrix units (stream-grad.ts says what is computed). Blocks that own keys and blocks that own queries are parts of one grid;
 * both have the same rooms in shared memory, in which keys and values, or queries and gradients, are the rows that stay.
 *
 *   keys stay      weights = exp(scale keys queries' - lse)      dv += weights grads      dk += slopes queries
 *   queries stay   weights = exp(scale queries keys' - lse)      dq += slopes keys
 *                  slopes = weights (products of values and gradients - delta) scale
 */
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import type { Lowering } from './gemm-spec.ts';
import type { Job } from './job.ts';
import {
  bringRows,
  type MatrixRows,
  matrixRows,
  matrixStream,
  mix,
  pair,
  resultTile,
  room,
  type Squares,
  spread,
  squares,
  weigh,
  writeSquares,
  zeroSquares,
} from './stream-matrix-parts.ts';
import { backwardOf, bringNumbers, opened, partsOf } from './stream-start.ts';

/** Undefined where the target has no units for these rows. */
export const lowerStreamGradMatrix = (job: Job): Lowering | undefined => {
  const start = backwardOf(job);
  const { q, keys, values, grads, count, writeQ, writeK, writeV } = start;
  const widths = [q.width, values.width];
  const longest = Math.max(q.count, keys.count);
  const sizes = { rows: longest, columns: longest, count, widths, kept: widths };
  const s = matrixStream(job.target, [q, keys, values, grads], sizes, 2);
  if (!s) return undefined;
  const of = q.place.dtype as KMatrix;
  const threads = s.warps * warp;

  const { k, at, scale: one } = opened(start, 1);
  const [queries, keyRows, valueRows, gradRows] = [
    matrixRows(k, q, at),
    matrixRows(k, keys, at),
    matrixRows(k, values, at),
    matrixRows(k, grads, at),
  ];
  const scale = e.splat(one, 8);
  const own = k.let('own', e.mul(e.div(e.thread, warp), side));
  const stay = [room(k, 'ownScored', of, s.rows, q.width, 1), room(k, 'ownGraded', of, s.rows, values.width, 1)] as const;
  const come = [room(k, 'scored', of, s.columns, q.width, 2), room(k, 'graded', of, s.columns, values.width, 2)] as const;
  const tile = resultTile(k, s.rows, widths);
  const many = Math.max(s.rows, 2 * s.columns);
  const [lse, delta] = [k.alloc('lse', 'shared', 'f32', many), k.alloc('delta', 'shared', 'f32', many)];
  const numbers = (first: Expr, n: number, to: Expr): void => bringNumbers(start, k, at, { lse, delta }, threads, first, n, to);

  /**
   * Rows from `first` on stay, all of the others come by; `each` gets the weights before and the slopes behind exp, as functions of lse and delta of a
   * square of columns.
   */
  const pass = (
    first: Expr,
    mine: readonly [MatrixRows, MatrixRows],
    theirs: readonly [MatrixRows, MatrixRows],
    columns: number,
    before: (from: Expr, slot: Expr) => void,
    numbersOf: (place: e.Place, j: number, slot: Expr) => Expr,
    use: (weights: Squares, slopes: () => Squares, slot: Expr) => void,
  ): void => {
    const bring = (from: Expr, slot: Expr): void => {
      bringRows(k, come[0], slot, theirs[0], from, threads);
      bringRows(k, come[1], slot, theirs[1], from, threads);
      before(from, slot);
    };
    bringRows(k, stay[0], e.index(0), mine[0], first, threads);
    bringRows(k, stay[1], e.index(0), mine[1], first, threads);
    bring(e.index(0), e.index(0));
    k.commit();
    k.for('come', 0, columns, s.columns, (from) => {
      k.wait(0);
      k.barrier();
      const slot = k.let('slot', e.rem(e.div(from, s.columns), 2));
      const next = k.let('next', e.add(from, s.columns));
      if (s.columns < columns) k.if(e.lt(next, columns), () => bring(next, k.let('other', e.sub(e.index(1), slot))));
      k.commit();
      const weights = weigh(k, of, own, [stay[0], mine[0]], [come[0], theirs[0]], slot).map((x, j) => {
        const weight = k.let('weight', e.unary('exp', e.sub(e.mul(x, scale), numbersOf(lse, j, slot))));
        if (columns % s.columns === 0) return weight;
        const exist = e.lt(e.add(e.place('column'), e.splat(e.add(from, j * side), 8)), columns);
        return k.let('weight', e.select(exist, weight, 0));
      });
      const slopes = (): Squares =>
        weigh(k, of, own, [stay[1], mine[1]], [come[1], theirs[1]], slot).map((x, j) =>
          k.let('slope', e.mul(e.mul(weights[j] as Expr, e.sub(x, numbersOf(delta, j, slot))), scale)),
        );
      use(weights, slopes, slot);
    });
  };
  const ofKeys = (block: Expr): void => {
    const first = k.let('first', e.mul(block, s.rows));
    const [ownK, ownV] = [zeroSquares(k, squares(q.width)), zeroSquares(k, squares(values.width))];
    const before = (from: Expr, slot: Expr): void => numbers(from, s.columns, e.mul(slot, s.columns));
    // a number of each column
    const numbersOf = (place: e.Place, j: number, slot: Expr): Expr =>
      k.let('each', e.load(place, e.add(e.place('column'), e.splat(e.add(e.mul(slot, s.columns), j * side), 8)), 8));
    pass(first, [keyRows, valueRows], [queries, gradRows], q.count, before, numbersOf, (weights, slopes, slot) => {
      if (writeV) mix(k, of, ownV, weights, [come[1], gradRows], slot);
      if (writeK) mix(k, of, ownK, slopes(), [come[0], queries], slot);
    });
    const to = { first: e.add(first, own), count: keys.count };
    if (writeK) writeSquares(k, tile, ownK, { ...to, width: keys.width }, at, writeK);
    if (writeV) writeSquares(k, tile, ownV, { ...to, width: values.width }, at, writeV);
  };
  const ofQueries = (block: Expr): void => {
    const first = k.let('first', e.mul(block, s.rows));
    const ownQ = zeroSquares(k, squares(q.width));
    numbers(first, s.rows, e.index(0));
    k.barrier();
    // numbers of this thread's two rows
    const row = k.let('row', e.add(own, e.div(e.rem(e.thread, warp), 4)));
    const rowsOfThread = (place: e.Place): Expr =>
      spread(
        k,
        pair((w) => k.let('one', e.load(place, e.add(row, w === 'low' ? 0 : 8)))),
      );
    const known = new Map([lse, delta].map((p) => [p, rowsOfThread(p)]));
    pass(
      first,
      [queries, gradRows],
      [keyRows, valueRows],
      keys.count,
      () => {},
      (place) => known.get(place) as Expr,
      (_, slopes, slot) => mix(k, of, ownQ, slopes(), [come[0], keyRows], slot),
    );
    if (writeQ) writeSquares(k, tile, ownQ, { first: e.add(first, own), count: q.count, width: q.width }, at, writeQ);
  };
  return { grid: partsOf(start, k, s.rows, ofKeys, ofQueries), threads, body: k.done() };
};
