/**
 * Rows of scores that become weights tile by tile, on matrix units of either kind (stream-matrix.ts, stream-wgmma.ts): a warp has sixteen rows, whose scores,
 * weights and results lie as sums do (kernel/matrix.ts). Four threads share two rows and tell each other their maximum and, at the end, their sum.
 *
 *   now = max(top, scores of the row); weights = exp(scores - now)
 *   results = results exp(top - now), to which the caller adds weights values
 */
import { lowest } from '../graph/attention.ts';
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr } from '../kernel/types.ts';
import { acrossRow, among, pair, type ResultTile, type Squares, spread, writeSquares } from './stream-matrix-parts.ts';
import type { Forward } from './stream-start.ts';

export interface Softmax {
  /** Weights of a tile of scores, of keys `from` ..; the results so far shrink. */
  weights(scores: Squares, from: Expr): Squares;
  /** Results over the sums of their weights, of rows `first + own` .. of the warp, and the logarithms of sums: for those who read them. */
  store(first: Expr, own: Expr, at: readonly Expr[], tile: ResultTile): void;
}

/** `columns` of a tile; tiles may reach past the last key. */
export const softmaxOf = (k: Body, { keys, q, values, writeO, writeLse }: Forward, results: Squares, columns: number): Softmax => {
  const top = pair(() => k.var('top', e.f32(lowest)));
  const sum = pair(() => k.var('total', e.f32(0)));
  return {
    weights: (scores, from) => {
      /** Whether the keys of sums j exist; undefined where all of them do. */
      const exist = (j: number): Expr | undefined =>
        keys.count % columns === 0
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
      return weights;
    },
    store: (first, own, at, tile) => {
      const total = pair((w) => among(k, 4, sum[w], e.add));
      if (writeO) {
        const factor = spread(
          k,
          pair((w) => k.let('factor', e.div(e.f32(1), total[w]))),
        );
        for (const x of results) k.set(x, e.mul(x, factor));
        writeSquares(k, tile, results, { first: e.add(first, own), count: q.count, width: values.width }, at, writeO);
      }
      if (writeLse)
        for (const w of ['low', 'high'] as const) {
          const row = k.let('row', e.add(e.add(first, own), e.add(e.div(e.rem(e.thread, warp), 4), w === 'low' ? 0 : 8)));
          k.if(e.and(e.compare('eq', e.rem(e.thread, 4), 0), e.lt(row, q.count)), () =>
            writeLse(k, at, row, e.index(0), k.let('value', e.add(top[w], e.unary('log', total[w])))),
          );
        }
    },
  };
};
