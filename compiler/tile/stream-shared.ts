/**
 * The stream template, forward, where a block has several threads (stream.ts says what is computed, and whose idea it is). A block makes the rows of
 * some queries; keys and values come by in parts. Every row of the tile of weights has the same few threads look for its maximum, take exponentials
 * and add them; each keeps the row's maximum and sum so far, and tells the others by how much earlier results shrink.
 *
 *   for part of the keys
 *     scores = scale queries part'                                weigh
 *     now = max(top, scores); scores = exp(scores - now)          a row's threads
 *     mixed = mixed exp(top - now) + scores values                mix
 *   store mixed / sum, and top + log(sum) for the derivative
 */
import { lowest } from '../graph/attention.ts';
import type { DType } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { rounded } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import type { Job } from './job.ts';
import { threadsOf, zeros } from './shared-tile.ts';
import { operandOf, resultsOf, sharedStream, weaver } from './stream-shared-parts.ts';
import { forwardOf, opened } from './stream-start.ts';

const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

export const lowerStreamShared = (job: Job): Lowering => {
  const start = forwardOf(job);
  const { q, keys, values, count, writeO, writeLse } = start;
  const size = { rows: q.count, columns: keys.count, count, widths: [values.width] };
  // two numbers a thread, and one a row
  const s = sharedStream(job.target, size, (w) => 2 * threadsOf(w) + w.rows);
  const { weights } = s;
  const threads = threadsOf(weights);
  /** Threads of a row. */
  const per = threads / weights.rows;
  const results = resultsOf(weights, values.width);

  const { k, at, scale } = opened(start, 1);
  const [queries, rows, mixedRows] = [operandOf(k, q, at), operandOf(k, keys, at), operandOf(k, values, at)];
  const first = k.let('first', e.mul(e.block(0), weights.rows));
  const w = weaver(k, s, [values.width]);
  const [tops, totals] = [k.alloc('tops', 'shared', 'f32', threads), k.alloc('totals', 'shared', 'f32', threads)];
  const factors = k.alloc('factors', 'shared', 'f32', weights.rows);

  const row = k.let('row', e.div(e.thread, per));
  const part = k.let('part', e.rem(e.thread, per));
  const firstOfRow = e.compare('eq', part, e.index(0));
  const own = w.line(row);
  const theirs = k.let('theirs', e.mul(row, per));
  /** What the threads of this row wrote, one after another. */
  const ofRow = (from: e.Place): readonly Expr[] => list(per).map((i) => k.let('one', e.load(from, e.add(theirs, i))));
  const mixed = zeros(k, results, 'f32');
  const top = k.var('top', e.f32(lowest));
  const total = k.var('total', e.f32(0));
  k.for('keys', 0, keys.count, weights.columns, (from) => {
    const whole = keys.count % weights.columns === 0;
    const many = whole ? e.index(weights.columns) : k.let('many', e.min(e.sub(e.index(keys.count), from), weights.columns));
    w.keep(w.weigh(queries, first, rows, from), (x) => e.mul(x, e.splat(scale, x.lanes)));
    k.barrier();
    const now = k.var('now', top);
    // a NaN stays in the weights and reaches every result of its row
    const raise = (x: Expr): void => k.set(now, e.select(e.lt(now, x), x, now));
    k.for('j', part, many, per, (j) => raise(k.let('x', e.load(w.scores, e.add(own, j)))));
    k.store(tops, e.thread, now);
    k.barrier();
    ofRow(tops).forEach(raise);
    const less = k.let('less', e.unary('exp', e.sub(top, now)));
    const added = k.var('added', e.f32(0));
    k.for('j', part, weights.columns, per, (j) => {
      const at = k.let('at', e.add(own, j));
      const x = k.let('x', e.unary('exp', e.sub(e.load(w.scores, at), now)));
      const weight = whole ? x : k.let('weight', e.select(e.lt(j, many), x, 0));
      k.set(added, e.add(added, weight));
      k.store(w.scores, at, rounded(weight, values.place.dtype as DType));
    });
    k.store(totals, e.thread, added);
    k.store(factors, row, less, firstOfRow);
    k.barrier();
    k.set(
      total,
      ofRow(totals).reduce((sum, x) => e.add(sum, x), e.mul(total, less)),
    );
    k.set(top, now);
    mixed.forEach((sums, r) => {
      const factor = k.let('factor', e.load(factors, e.add(w.own.row, r)));
      for (const x of sums) k.set(x, e.mul(x, e.splat(factor, x.lanes)));
    });
    w.mix(mixed, mixedRows, from, many);
  });
  if (writeO) {
    k.store(factors, row, k.let('factor', e.div(e.f32(1), total)), firstOfRow);
    k.barrier();
    w.write(mixed, { first, count: q.count, width: values.width }, at, writeO, (r) => e.load(factors, e.add(w.own.row, r)));
  }
  if (writeLse)
    k.if(e.and(firstOfRow, e.lt(e.add(first, row), q.count)), () =>
      writeLse(k, at, k.let('row', e.add(first, row)), e.index(0), k.let('value', e.add(top, e.unary('log', total)))),
    );
  return { grid: [Math.ceil(q.count / weights.rows), count, 1], threads, body: k.done() };
};
