/**
 * The stream template, backward: gradients of queries, keys and values from the saved logarithms of sums, without the matrices of weights. A
 * block owns one head. Vectors run along a panel of its keys; queries come by in parts, whose weights are made again:
 *
 *   for panel of keys (keys and values, turned)
 *     for part of the queries
 *       weights = exp(scale queries keys' - lse)                              weigh
 *       slopes  = scale weights (grads values' - delta)                       weigh
 *       dvalues += weights' grads;  dkeys += slopes' queries                  mix
 *       dqueries[part] += slopes keys                                         mix
 *     store dkeys, dvalues
 *   store dqueries
 *
 * Five contractions, no atomics, and sums in an order that no number of threads can change.
 */
import type { DType, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { startOf } from './batch.ts';
import { rounded } from './emit.ts';
import { nothing } from './gemm-pack-pairs.ts';
import type { Lowering } from './gemm-spec.ts';
import { type Job, lanesFor } from './job.ts';
import { choose } from './schedules.ts';
import { storeRows } from './stream-out.ts';
import { eachPair, storePairs, whereOdd, wordsOf, zipped, zipRows } from './stream-pairs.ts';
import { mix, rowNumber, turn, weigh, zero } from './stream-parts.ts';
import { streamChooser } from './stream-schedule.ts';
import { backwardOf, opened } from './stream-start.ts';

export const lowerStreamGrad = (job: Job): Lowering => {
  const start = backwardOf(job);
  const { node, q, keys, values, grads, batch, count, writeQ, writeK, writeV } = start;
  const choice = choose(job.schedules, streamChooser(job, batch, keys.count, [q, keys, values, grads]));
  const s = choice.schedule;
  const { lanes } = s;
  const pairs = s.atOnce === 2;
  const dtype = q.place.dtype as DType;
  const wide = s.tn * lanes;
  const most = Math.min(s.rows, q.count);

  const { k, at, scale } = opened(start, 0);
  const [startQ, startK, startV, startG] = [q, keys, values, grads].map((r) => startOf(k, r, at)) as [Expr, Expr, Expr, Expr];
  const local = (name: string, size: number): e.Place => k.alloc(name, 'register', 'f32', size);
  const pairsOf = (name: string, words: number): e.Place => k.alloc(name, 'register', 'bf16', 2 * words);
  const panelOf = (name: string, width: number): e.Place =>
    pairs ? pairsOf(name, Math.ceil(width / 2) * wide) : local(name, width * wide);
  const [turnedK, turnedV] = [panelOf('turnedK', keys.width), panelOf('turnedV', values.width)];
  const [weights, slopes] = [local('weights', most * wide), local('slopes', most * wide)];
  const [words, keyWords] = [Math.ceil(most / 2), Math.ceil(wide / 2)];
  // pairs of queries for the gradients of keys and values, pairs of keys for those of queries
  const zips = pairs && {
    weights: pairsOf('pairedW', words * wide),
    slopes: pairsOf('pairedS', words * wide),
    queries: pairsOf('zipsQ', words * q.width),
    grads: pairsOf('zipsG', words * values.width),
    rows: pairsOf('rowsS', most * keyWords),
    keys: pairsOf('zipsK', keyWords * keys.width),
  };
  const [ownQ, ownK, ownV] = [local('ownQ', q.count * q.width), local('ownK', wide * keys.width), local('ownV', wide * values.width)];

  const perQuery = (operand: number, row: Expr): Expr => rowNumber(k, job, node.inputs[operand] as Value, at, row);

  const panel = (first: Expr, tn: number): void => {
    const width = tn * lanes;
    turn(k, s, keys, startK, first, turnedK, width, pairs ? undefined : scale);
    turn(k, s, values, startV, first, turnedV, width);
    zero(k, s, ownK, width * keys.width);
    zero(k, s, ownV, width * values.width);
    const valid =
      keys.count % width === 0 && width === wide ? e.index(width) : k.let('valid', e.min(e.sub(e.index(keys.count), first), width));
    if (zips) zipRows(k, lanes, keys, { start: startK, first, count: valid }, zips.keys);
    /** Elements from one row of slopes to the next. */
    const across = zips ? width + (width % 2) : width;
    k.for('part', 0, q.count, s.rows, (part) => {
      const many =
        q.count <= s.rows
          ? e.index(q.count)
          : q.count % s.rows === 0
            ? e.index(s.rows)
            : k.let('many', e.min(e.sub(e.index(q.count), part), s.rows));
      const common = { first: part, count: many, step: s.rows, tn };
      const keep =
        (to: e.Place) =>
        (i: Expr, rows: readonly (readonly Expr[])[]): void => {
          const line = k.let('line', e.mul(i, width));
          rows.forEach((sums, r) => sums.forEach((x, v) => k.store(to, e.add(line, r * width + v * lanes), x)));
        };
      weigh(k, s, { ...common, rows: q, start: startQ, panel: turnedK }, keep(weights));
      weigh(k, s, { ...common, rows: grads, start: startG, panel: turnedV }, keep(slopes));
      /** Weights and slopes of row i, one vector after another, from what was weighed. */
      const rowOf = (i: Expr): readonly (readonly [weight: Expr, slope: Expr])[] => {
        const line = k.let('line', e.mul(i, width));
        const [lse, delta] = [4, 5].map((operand) => e.splat(k.let('own', perQuery(operand, e.add(part, i))), lanes)) as [Expr, Expr];
        return Array.from({ length: tn }, (_, v) => {
          const [score, product] = [weights, slopes].map((from) => e.load(from, e.add(line, v * lanes), lanes)) as [Expr, Expr];
          const w = k.let('w', e.unary('exp', e.sub(pairs ? e.mul(score, e.splat(scale, lanes)) : score, lse)));
          return [w, k.let('slope', e.mul(e.mul(w, e.sub(product, delta)), scale))];
        });
      };
      if (zips)
        eachPair(k, many, (p, second) => {
          const first = k.let('row', e.mul(p, 2));
          const rows = [rowOf(first), ...(second ? [rowOf(e.add(first, 1))] : [])].map((row) =>
            row.map((both) => both.map((x) => k.let('half', e.cast(x, 'bf16'))) as [Expr, Expr]),
          );
          for (let v = 0; v < tn; v++) {
            const goal = e.add(e.mul(p, width), v * lanes);
            const [x, y] = rows.map((row) => row[v] as [Expr, Expr]) as [[Expr, Expr], [Expr, Expr]?];
            storePairs(k, zips.weights, goal, x[0], y?.[0]);
            storePairs(k, zips.slopes, goal, x[1], y?.[1]);
            rows.forEach((row, r) => k.store(zips.rows, e.add(e.mul(e.add(first, r), across), v * lanes), (row[v] as [Expr, Expr])[1]));
          }
        });
      else
        k.for('i', 0, many, 1, (i) =>
          rowOf(i).forEach((both, v) =>
            [weights, slopes].forEach((to, t) => k.store(to, e.add(e.mul(i, width), v * lanes), rounded(both[t] as Expr, dtype))),
          ),
        );
      const down = { across: width, down: 1, to: e.index(0), results: e.index(width), total: width, step: width, keep: true };
      const left = { down: across / s.atOnce, across: 1, into: ownQ, to: k.let('to', e.mul(part, q.width)), keep: true };
      const queries = { ...left, weights: zips ? zips.rows : slopes, results: many, total: q.count, step: s.rows };
      if (zips) {
        const some = { first: part, count: many };
        zipRows(k, lanes, grads, { ...some, start: startG }, zips.grads);
        zipRows(k, lanes, q, { ...some, start: startQ }, zips.queries);
        // the key behind the last of an odd number: a zero, not what its lane holds
        whereOdd(k, valid, () => k.for('i', 0, many, 1, (i) => k.store(zips.rows, e.add(e.mul(i, across), valid), nothing)));
        const none = { start: e.index(0), first: e.index(0) };
        mix(k, s, { ...down, ...none, count: wordsOf(many), rows: zipped(grads, zips.grads), weights: zips.weights, into: ownV });
        mix(k, s, { ...down, ...none, count: wordsOf(many), rows: zipped(q, zips.queries), weights: zips.slopes, into: ownK });
        mix(k, s, { ...queries, ...none, count: wordsOf(valid), rows: zipped(keys, zips.keys) });
      } else {
        mix(k, s, { ...down, first: part, count: many, rows: grads, start: startG, weights, into: ownV });
        mix(k, s, { ...down, first: part, count: many, rows: q, start: startQ, weights: slopes, into: ownK });
        mix(k, s, { ...queries, first, count: valid, rows: keys, start: startK });
      }
    });
    const store = (w: typeof writeK, place: e.Place, size: number): void => {
      if (w) storeRows(k, w, { batch: at, first, valid }, { place, start: e.index(0), width: size, lanes: lanesFor(job.target, size) });
    };
    store(writeK, ownK, keys.width);
    store(writeV, ownV, values.width);
  };

  zero(k, s, ownQ, q.count * q.width);
  const left = keys.count % wide;
  const narrow = s.tn > 1 && left > 0 && left <= lanes && keys.count > wide;
  k.for('first', 0, narrow ? keys.count - left : keys.count, wide, (first) => panel(first, s.tn));
  if (narrow) panel(e.index(keys.count - left), 1);
  if (writeQ)
    storeRows(
      k,
      writeQ,
      { batch: at, first: e.index(0), valid: e.index(q.count) },
      { place: ownQ, start: e.index(0), width: q.width, lanes: lanesFor(job.target, q.width) },
    );
  return { grid: [count, 1, 1], threads: 1, body: k.done(), choice };
};
