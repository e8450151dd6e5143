/**
 * The stream template, forward, on matrix units (stream.ts says what is computed, stream-matrix-parts.ts of what). A warp has sixteen queries; four
 * threads share a row of weights, and tell each other its maximum and, at the end, its sum.
 *
 *   for a tile of the keys, the next one on its way
 *     scores = scale queries tile'                                    weigh
 *     now = max(top, scores of the row); scores = exp(scores - now)
 *     results = results exp(top - now) + scores values                mix
 *   store results / sum, and top + log(sum) for the derivative
 */
import { lowest } from '../graph/attention.ts';
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import type { Lowering } from './gemm-spec.ts';
import type { Job } from './job.ts';
import {
  acrossRow,
  among,
  bringRows,
  matrixRows,
  matrixStream,
  mix,
  pair,
  room,
  spread,
  squares,
  tileSize,
  weigh,
  writeSquares,
  zeroSquares,
} from './stream-matrix-parts.ts';
import { forwardOf, opened } from './stream-start.ts';

/** Undefined where the target has no units for these rows. */
export const lowerStreamMatrix = (job: Job): Lowering | undefined => {
  const start = forwardOf(job);
  const { q, keys, values, count, writeO, writeLse } = start;
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
  const tile = k.alloc('tile', 'shared', 'f32', tileSize(s, [values.width]));
  const bring = (from: Expr, slot: Expr): void => {
    bringRows(k, keyRoom, slot, keyRows, from, threads);
    bringRows(k, valueRoom, slot, valueRows, from, threads);
  };
  const results = zeroSquares(k, squares(values.width));
  const top = pair(() => k.var('top', e.f32(lowest)));
  const sum = pair(() => k.var('total', e.f32(0)));
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
    /** Whether the keys of sums j exist; undefined where all of them do. */
    const exist = (j: number): Expr | undefined =>
      keys.count % s.columns === 0
        ? undefined
        : k.let('exist', e.lt(e.add(e.place('column'), e.splat(e.add(from, j * side), 8)), keys.count));
    const masks = scores.map((_, j) => exist(j));
    const highest = acrossRow(
      scores
        .map((x, j) => k.let('seen', masks[j] ? e.select(masks[j], x, e.f32(lowest, 8)) : x))
        .reduce((x, y) => k.let('high', e.max(x, y))),
      e.max,
    );
    const now = pair((w) => k.let('now', e.max(top[w], among(k, 4, highest[w], e.max))));
    const less = pair((w) => k.let('less', e.unary('exp', e.sub(top[w], now[w]))));
    const each = spread(k, now);
    const weights = scores.map((x, j) => {
      const weight = k.let('weight', e.unary('exp', e.sub(x, each)));
      return masks[j] ? k.let('weight', e.select(masks[j], weight, 0)) : weight;
    });
    const added = acrossRow(
      weights.reduce((x, y) => k.let('added', e.add(x, y))),
      e.add,
    );
    for (const w of ['low', 'high'] as const) {
      k.set(sum[w], e.add(e.mul(sum[w], less[w]), added[w]));
      k.set(top[w], now[w]);
    }
    const shrink = spread(k, less);
    for (const x of results) k.set(x, e.mul(x, shrink));
    mix(k, of, results, weights, [valueRoom, valueRows], slot);
  });
  const total = pair((w) => among(k, 4, sum[w], e.add));
  if (writeO) {
    const factor = spread(
      k,
      pair((w) => k.let('factor', e.div(e.f32(1), total[w]))),
    );
    for (const x of results) k.set(x, e.mul(x, factor));
    writeSquares(k, s, tile, results, { first, count: q.count, width: values.width }, at, writeO);
  }
  if (writeLse)
    for (const w of ['low', 'high'] as const) {
      const row = k.let('row', e.add(e.add(first, own), e.add(e.div(e.rem(e.thread, warp), 4), w === 'low' ? 0 : 8)));
      k.if(e.and(e.compare('eq', e.rem(e.thread, 4), 0), e.lt(row, q.count)), () =>
        writeLse(k, at, row, e.index(0), k.let('value', e.add(top[w], e.unary('log', total[w])))),
      );
    }
  return { grid: [Math.ceil(q.count / s.rows), count, 1], threads, body: k.done() };
};
