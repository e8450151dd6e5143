/**
 * The stream template, backward, where a block has several threads (stream-grad.ts says what is computed). Blocks cannot add to each other's
 * results, so the weights are made twice: some blocks own keys, with the gradients of keys and values, and see the queries come by; the others own
 * queries, with theirs, and see the keys. Seven contractions instead of five, no atomics, and sums in an order that nothing can change.
 *
 *   blocks of keys       weights = exp(scale keys queries' - lse)              blocks of queries     weights = exp(scale queries keys' - lse)
 *                        dvalues += weights grads                                                    slopes = scale weights (grads values' - delta)
 *                        slopes = scale weights (values grads' - delta)                              dqueries += slopes keys
 *                        dkeys += slopes queries
 */
import type { DType } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { rounded } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import type { Job } from './job.ts';
import { type Sums, threadsOf, zeros } from './shared-tile.ts';
import { operandOf, resultsOf, sharedStream, weaver } from './stream-shared-parts.ts';
import { backwardOf, bringNumbers, opened, partsOf } from './stream-start.ts';

/** 0, 1, ...: what to add to the first column of a vector. */
const steps = (lanes: number): Expr => e.ramp(e.index(0), lanes);

export const lowerStreamGradShared = (job: Job): Lowering => {
  const start = backwardOf(job);
  const { q, keys, values, grads, count, writeQ, writeK, writeV } = start;
  const dtype = q.place.dtype as DType;
  const widths = [q.width, values.width];
  const size = { rows: Math.max(q.count, keys.count), columns: Math.max(q.count, keys.count), count, widths };
  // lse and delta of the queries that a tile sees
  const s = sharedStream(job.target, size, (w) => 2 * Math.max(w.rows, w.columns));
  const { weights } = s;
  const threads = threadsOf(weights);

  const { k, at, scale } = opened(start, 1);
  const [queries, keyRows, valueRows, gradRows] = [
    operandOf(k, q, at),
    operandOf(k, keys, at),
    operandOf(k, values, at),
    operandOf(k, grads, at),
  ];
  const w = weaver(k, s, widths);
  const many = Math.max(weights.rows, weights.columns);
  const [lse, delta] = [k.alloc('lse', 'shared', 'f32', many), k.alloc('delta', 'shared', 'f32', many)];
  const bring = (first: Expr, tile: number): void => bringNumbers(start, k, at, { lse, delta }, threads, first, tile, e.index(0));
  /** exp(scale score - lse), and the slope that belongs to a product of gradients and values. */
  const weightOf = (score: Expr, own: Expr): Expr => e.unary('exp', e.sub(e.mul(score, e.splat(scale, score.lanes)), own));
  const slopeOf = (weight: Expr, product: Expr, own: Expr): Expr => e.mul(e.mul(weight, e.sub(product, own)), e.splat(scale, weight.lanes));
  /** The sums as variables hold other numbers from here on. */
  const become = (sums: Sums, f: (x: Expr, r: number, v: number) => Expr): void =>
    sums.forEach((row, r) => row.forEach((x, v) => k.set(x, f(x, r, v))));
  /** Past the last column weights are 0, so that what is staged there adds nothing. */
  const there = (x: Expr, column: Expr, first: Expr, all: number): Expr =>
    all % weights.columns === 0 ? x : e.select(e.lt(e.add(e.splat(e.add(first, column), x.lanes), steps(x.lanes)), all), x, 0);

  const ofKeys = (block: Expr): void => {
    const first = k.let('first', e.mul(block, weights.rows));
    const [ownV, ownK] = [zeros(k, resultsOf(weights, values.width), 'f32'), zeros(k, resultsOf(weights, keys.width), 'f32')];
    k.for('queries', 0, q.count, weights.columns, (from) => {
      bring(from, weights.columns);
      const many = k.let('many', e.min(e.sub(e.index(q.count), from), weights.columns));
      const made = w.weigh(keyRows, first, queries, from);
      become(made, (x, _, v) => there(weightOf(x, e.load(lse, w.column(v), x.lanes)), w.column(v), from, q.count));
      w.keep(made, (x) => rounded(x, dtype));
      k.barrier();
      w.mix(ownV, gradRows, from, many);
      const product = w.weigh(valueRows, first, gradRows, from);
      w.keep(product, (x, r, v) =>
        rounded(slopeOf((made[r] as readonly Expr[])[v] as Expr, x, e.load(delta, w.column(v), x.lanes)), dtype),
      );
      k.barrier();
      w.mix(ownK, queries, from, many);
    });
    const to = { first, count: keys.count };
    if (writeK) w.write(ownK, { ...to, width: keys.width }, at, writeK);
    if (writeV) w.write(ownV, { ...to, width: values.width }, at, writeV);
  };
  const ofQueries = (block: Expr): void => {
    const first = k.let('first', e.mul(block, weights.rows));
    const ownQ = zeros(k, resultsOf(weights, q.width), 'f32');
    bring(first, weights.rows);
    k.for('keys', 0, keys.count, weights.columns, (from) => {
      const many = k.let('many', e.min(e.sub(e.index(keys.count), from), weights.columns));
      const made = w.weigh(queries, first, keyRows, from);
      const rowOf = (p: e.Place, r: number, lanes: number): Expr => e.splat(e.load(p, e.add(w.own.row, r)), lanes);
      become(made, (x, r, v) => there(weightOf(x, rowOf(lse, r, x.lanes)), w.column(v), from, keys.count));
      const product = w.weigh(gradRows, first, valueRows, from);
      w.keep(product, (x, r, v) => rounded(slopeOf((made[r] as readonly Expr[])[v] as Expr, x, rowOf(delta, r, x.lanes)), dtype));
      k.barrier();
      w.mix(ownQ, keyRows, from, many);
    });
    if (writeQ) w.write(ownQ, { first, count: q.count, width: q.width }, at, writeQ);
  };
  return { grid: partsOf(start, k, weights.rows, ofKeys, ofQueries), threads, body: k.done() };
};
