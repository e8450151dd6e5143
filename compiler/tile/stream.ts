/**
 * The stream template, forward: attention without its matrix of weights (Dao et al., arXiv 2205.14135; the running maximum and sum are Milakov and
 * Gimelshein's, arXiv 1805.02867). A block makes the rows of a few queries, along which vectors run, so that maxima, exponentials and sums of a row
 * need no other lane. Keys and values come by in parts; what was made so far is scaled down when a larger maximum turns up.
 *
 *   panel = queries, turned and scaled
 *   for part of the keys
 *     weights = part panel, top = max(top, weights)                       weigh
 *     weights = exp(weights - top), sum = sum exp(old top - top) + ...
 *     mixed = mixed exp(old top - top) + weights values                    mix
 *   store mixed / sum, and top + log(sum) for the derivative
 *
 * Rows of bf16 meet as pairs where the target adds those (stream-pairs.ts): weights are then rounded to bf16, two rows of them to words, and so
 * are the values of a part; sums stay those of unrounded weights.
 */
import { lowest } from '../graph/attention.ts';
import type { DType } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { startOf } from './batch.ts';
import { rounded } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import { type Job, lanesFor } from './job.ts';
import { choose } from './schedules.ts';
import { storeRows } from './stream-out.ts';
import { eachPair, storePairs, wordsOf, zipped, zipRows } from './stream-pairs.ts';
import { mix, turn, weigh, zero } from './stream-parts.ts';
import { streamChooser } from './stream-schedule.ts';
import { forwardOf, opened } from './stream-start.ts';

const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

export const lowerStream = (job: Job): Lowering => {
  const start = forwardOf(job);
  const { q, keys, values, batch, count, writeO, writeLse } = start;
  const choice = choose(job.schedules, streamChooser(job, batch, q.count, [q, keys, values]));
  const s = choice.schedule;
  const { lanes } = s;
  const pairs = s.atOnce === 2;
  const wide = s.tn * lanes;
  const parts = Math.ceil(keys.count / s.rows);

  const { k, at, scale } = opened(start, 1);
  const [startQ, startK, startV] = [startOf(k, q, at), startOf(k, keys, at), startOf(k, values, at)];
  const first = k.let('first', e.mul(e.block(0), wide));
  const panel = k.alloc('panel', 'register', pairs ? 'bf16' : 'f32', Math.ceil(q.width / s.atOnce) * s.atOnce * wide);
  const most = Math.min(s.rows, keys.count);
  const weights = k.alloc('weights', 'register', 'f32', most * wide);
  const words = Math.ceil(most / 2);
  const [paired, zips] = pairs
    ? [k.alloc('paired', 'register', 'bf16', 2 * words * wide), k.alloc('zips', 'register', 'bf16', 2 * words * values.width)]
    : [weights, values.place];
  const mixed = k.alloc('mixed', 'register', 'f32', wide * values.width);
  const each = k.alloc('each', 'register', 'f32', wide);

  const queries = (tn: number): void => {
    const width = tn * lanes;
    // pairs are scaled once they are summed: their numbers would have to be rounded again
    turn(k, s, q, startQ, first, panel, width, pairs ? undefined : scale);
    if (parts > 1) zero(k, s, mixed, width * values.width);
    const top = list(tn).map(() => k.var('top', e.f32(lowest, lanes)));
    const sum = list(tn).map(() => k.var('total', e.f32(0, lanes)));
    const part = (from: Expr): void => {
      const many =
        parts === 1
          ? e.index(keys.count)
          : keys.count % s.rows === 0
            ? e.index(s.rows)
            : k.let('many', e.min(e.sub(e.index(keys.count), from), s.rows));
      const now = top.map((t) => k.var('now', t));
      weigh(k, s, { rows: keys, start: startK, first: from, count: many, step: s.rows, panel, tn }, (i, rows) => {
        const line = k.let('line', e.mul(i, width));
        rows.forEach((sums, r) =>
          sums.forEach((sum, v) => {
            const best = now[v] as Expr;
            const x = pairs ? k.let('scaled', e.mul(sum, e.splat(scale, lanes))) : sum;
            // a NaN stays in the weights and reaches every result of its row
            k.set(best, e.select(e.lt(best, x), x, best));
            k.store(weights, e.add(line, r * width + v * lanes), x);
          }),
        );
      });
      const less = top.map((t, v) => k.let('less', e.unary('exp', e.sub(t, now[v] as Expr))));
      const added = list(tn).map(() => k.var('added', e.f32(0, lanes)));
      const weight = (line: Expr, v: number): Expr => {
        const w = k.let('w', e.unary('exp', e.sub(e.load(weights, e.add(line, v * lanes), lanes), now[v] as Expr)));
        k.set(added[v] as Expr, e.add(added[v] as Expr, w));
        return w;
      };
      if (pairs) {
        eachPair(k, many, (p, second) => {
          const line = k.let('line', e.mul(p, 2 * width));
          for (const v of list(tn)) {
            const half = (from: Expr): Expr => k.let('half', e.cast(weight(from, v), 'bf16'));
            const [x, y] = [half(line), second ? half(e.add(line, width)) : undefined];
            storePairs(k, paired, e.add(e.mul(p, width), v * lanes), x, y);
          }
        });
        zipRows(k, lanes, values, { start: startV, first: from, count: many }, zips);
      } else
        k.for('i', 0, many, 1, (i) => {
          const line = k.let('line', e.mul(i, width));
          for (const v of list(tn)) k.store(weights, e.add(line, v * lanes), rounded(weight(line, v), values.place.dtype as DType));
        });
      list(tn).forEach((v) => {
        k.set(sum[v] as Expr, e.fma(sum[v] as Expr, less[v] as Expr, added[v] as Expr));
        k.set(top[v] as Expr, now[v] as Expr);
        if (parts > 1) k.store(each, v * lanes, less[v] as Expr);
      });
      mix(k, s, {
        ...(pairs
          ? { rows: zipped(values, zips), start: e.index(0), first: e.index(0), count: wordsOf(many) }
          : { rows: values, start: startV, first: from, count: many }),
        weights: paired,
        across: width,
        down: 1,
        into: mixed,
        to: e.index(0),
        results: e.index(width),
        total: width,
        step: width,
        keep: parts > 1,
        factor: (r) => e.load(each, r),
      });
    };
    if (parts === 1) part(e.index(0));
    else k.for('part', 0, keys.count, s.rows, part);

    const valid = q.count % width === 0 && width === wide ? e.index(width) : k.let('valid', e.min(e.sub(e.index(q.count), first), width));
    const perRow = (value: (v: number) => Expr): void => list(tn).forEach((v) => k.store(each, v * lanes, k.let('value', value(v))));
    if (writeO) {
      perRow((v) => e.div(e.f32(1, lanes), sum[v] as Expr));
      storeRows(
        k,
        writeO,
        { batch: at, first, valid },
        { place: mixed, start: e.index(0), width: values.width, lanes: lanesFor(job.target, values.width) },
        (r) => e.load(each, r),
      );
    }
    if (writeLse) {
      perRow((v) => e.add(top[v] as Expr, e.unary('log', sum[v] as Expr)));
      storeRows(k, writeLse, { batch: at, first, valid }, { place: each, start: e.index(0), width: 1, lanes: 1 });
    }
  };
  const left = q.count % wide;
  if (s.tn > 1 && left > 0 && left <= lanes && q.count > wide)
    k.if(
      e.compare('le', e.add(first, wide), q.count),
      () => queries(s.tn),
      () => queries(1),
    );
  else queries(s.tn);
  return { grid: [Math.ceil(q.count / wide), count, 1], threads: 1, body: k.done(), choice };
};
