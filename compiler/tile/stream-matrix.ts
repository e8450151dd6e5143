/**
 * The stream template, forward, on matrix units (stream.ts says what is computed, stream-matrix-parts.ts and stream-softmax.ts of what). A warp has sixteen
 * queries.
 *
 *   for a tile of the keys, the next one on its way
 *     scores = scale queries tile'                                    weigh
 *     weights of scores, and results shrink                           softmax
 *     results += weights values                                       mix
 *   store results / sum, and top + log(sum) for the derivative
 */
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import type { Lowering } from './gemm-spec.ts';
import type { Job } from './job.ts';
import { bringRows, matrixRows, matrixStream, mix, resultTile, room, squares, weigh, zeroSquares } from './stream-matrix-parts.ts';
import { softmaxOf } from './stream-softmax.ts';
import { forwardOf, opened } from './stream-start.ts';

/** Undefined where the target has no units for these rows. */
export const lowerStreamMatrix = (job: Job): Lowering | undefined => {
  const start = forwardOf(job);
  const { q, keys, values, count } = start;
  const widths = { widths: [q.width, values.width], kept: [values.width] };
  const s = matrixStream(job.target, [q, keys, values], { rows: q.count, columns: keys.count, count, ...widths }, 0);
  if (!s) return undefined;
  const of = q.place.dtype as KMatrix;
  const threads = s.warps * warp;

  const { k, at, scale: one } = opened(start, 1);
  const [queries, keyRows, valueRows] = [matrixRows(k, q, at), matrixRows(k, keys, at), matrixRows(k, values, at)];
  const scale = e.splat(one, 8);
  const first = k.let('first', e.mul(e.block(0), s.rows));
  const own = k.let('own', e.mul(e.div(e.thread, warp), side));
  const ownRows = room(k, 'ownRows', of, s.rows, q.width, 1);
  const [keyRoom, valueRoom] = [room(k, 'keyRows', of, s.columns, q.width, 2), room(k, 'valueRows', of, s.columns, values.width, 2)];
  const tile = resultTile(k, s.rows, [values.width]);
  const bring = (from: Expr, slot: Expr): void => {
    bringRows(k, keyRoom, slot, keyRows, from, threads);
    bringRows(k, valueRoom, slot, valueRows, from, threads);
  };
  const results = zeroSquares(k, squares(values.width));
  const softmax = softmaxOf(k, start, results, s.columns);
  bringRows(k, ownRows, e.index(0), queries, first, threads);
  bring(e.index(0), e.index(0));
  k.commit();
  k.for('keys', 0, keys.count, s.columns, (from) => {
    k.wait(0);
    k.barrier();
    const slot = k.let('slot', e.rem(e.div(from, s.columns), 2));
    const next = k.let('next', e.add(from, s.columns));
    if (s.columns < keys.count) k.if(e.lt(next, keys.count), () => bring(next, k.let('other', e.sub(e.index(1), slot))));
    k.commit();
    const scores = weigh(k, of, own, [ownRows, queries], [keyRoom, keyRows], slot).map((x) => k.let('score', e.mul(x, scale)));
    const weights = softmax.weights(scores, from);
    mix(k, of, results, weights, [valueRoom, valueRows], slot);
  });
  softmax.store(first, own, at, tile);
  return { grid: [Math.ceil(q.count / s.rows), count, 1], threads, body: k.done() };
};
