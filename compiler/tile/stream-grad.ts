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
import type { Node, Value } from '../graph/types.ts';
import { type Body, body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type Affine, indices } from './affine.ts';
import { code } from './code.ts';
import { shapeOf } from './emit.ts';
import { unflatten } from './gemm.ts';
import type { Lowering } from './gemm-spec.ts';
import { emitterOf, type Job, lanesFor } from './job.ts';
import { storeRows, writerOf } from './stream-out.ts';
import { mix, rowsOf, startOf, streamSchedule, turn, weigh } from './stream-parts.ts';

export const lowerStreamGrad = (job: Job): Lowering => {
  const node = job.group.nodes.find((n) => n.op.prim === 'call') as Node;
  const [q, keys, values, grads] = [rowsOf(job, node, 1), rowsOf(job, node, 2), rowsOf(job, node, 3), rowsOf(job, node, 6)];
  const s = streamSchedule(job.target, keys.count);
  const { lanes } = s;
  const wide = s.tn * lanes;
  const batch = shapeOf(node.inputs[1] as Value).slice(0, -2);
  const count = batch.reduce((a, b) => a * b, 1);
  const [dq, dk, dv] = node.outputs as readonly [Value, Value, Value];
  const writeQ = writerOf(job, dq, batch, q.count, q.width);
  const writeK = writerOf(job, dk, batch, keys.count, keys.width);
  const writeV = writerOf(job, dv, batch, keys.count, values.width);
  const most = Math.min(s.rows, q.count);

  const k: Body = body([...job.group.inputs, ...job.group.outputs].map((_, i) => `b${i}`));
  const at = unflatten(e.block(0), batch).map((x) => k.let('batch', x));
  const [startQ, startK, startV, startG] = [q, keys, values, grads].map((r) => startOf(k, r, at)) as [Expr, Expr, Expr, Expr];
  const scale = k.let('scale', emitterOf(job, indices(1)).at(node.inputs[0] as Value, []));
  const local = (name: string, size: number): e.Place => k.alloc(name, 'register', 'f32', size);
  const [turnedK, turnedV] = [local('turnedK', keys.width * wide), local('turnedV', values.width * wide)];
  const [weights, slopes] = [local('weights', most * wide), local('slopes', most * wide)];
  const [ownQ, ownK, ownV] = [local('ownQ', q.count * q.width), local('ownK', wide * keys.width), local('ownV', wide * values.width)];
  const zero = (place: e.Place, size: number): void => k.for('z', 0, size, 1, (z) => k.store(place, z, e.f32(0)));

  /** One number a query: lse and delta, which may be computed where they are read. */
  let asked = 0;
  const perQuery = (i: number, row: Expr): Expr => {
    const c = code(`${k.fresh('q')}_${asked++}_`);
    const ix = indices(1);
    const own: readonly Affine[] = [...at.map((x, j) => ix.atom(x, 0, (batch[j] as number) - 1)), ix.atom(row, 0, q.count - 1)];
    const [x] = c.bind([emitterOf(job, ix).at(node.inputs[i] as Value, own)]);
    k.push(...c.done());
    return x as Expr;
  };

  const panel = (first: Expr, tn: number): void => {
    const width = tn * lanes;
    turn(k, keys, startK, first, turnedK, width, scale);
    turn(k, values, startV, first, turnedV, width);
    zero(ownK, width * keys.width);
    zero(ownV, width * values.width);
    const valid =
      keys.count % width === 0 && width === wide ? e.index(width) : k.let('valid', e.min(e.sub(e.index(keys.count), first), width));
    k.for('part', 0, q.count, s.rows, (part) => {
      const many =
        q.count <= s.rows
          ? e.index(q.count)
          : q.count % s.rows === 0
            ? e.index(s.rows)
            : k.let('many', e.min(e.sub(e.index(q.count), part), s.rows));
      const common = { first: part, count: many, step: s.rows, tn };
      weigh(k, s, { ...common, rows: q, start: startQ, panel: turnedK }, (i, sums) => {
        const lse = k.let('lse', perQuery(4, e.add(part, i)));
        sums.forEach((x, v) => k.store(weights, e.add(e.mul(i, width), v * lanes), e.unary('exp', e.sub(x, e.splat(lse, lanes)))));
      });
      weigh(k, s, { ...common, rows: grads, start: startG, panel: turnedV }, (i, sums) => {
        const delta = k.let('delta', perQuery(5, e.add(part, i)));
        sums.forEach((x, v) => {
          const where = k.let('where', e.add(e.mul(i, width), v * lanes));
          const slope = e.mul(e.load(weights, where, lanes), e.sub(x, e.splat(delta, lanes)));
          k.store(slopes, where, e.mul(slope, scale));
        });
      });
      const down = {
        first: part,
        count: many,
        across: width,
        down: 1,
        to: e.index(0),
        results: e.index(width),
        total: width,
        step: width,
        keep: true,
      };
      mix(k, s, { ...down, rows: grads, start: startG, weights, into: ownV });
      mix(k, s, { ...down, rows: q, start: startQ, weights: slopes, into: ownK });
      mix(k, s, {
        rows: keys,
        start: startK,
        first,
        count: valid,
        weights: slopes,
        across: 1,
        down: width,
        into: ownQ,
        to: k.let('to', e.mul(part, q.width)),
        results: many,
        total: q.count,
        step: s.rows,
        keep: true,
      });
    });
    const store = (w: typeof writeK, place: e.Place, size: number): void => {
      if (w) storeRows(k, w, { batch: at, first, valid }, { place, start: e.index(0), width: size, lanes: lanesFor(job.target, size) });
    };
    store(writeK, ownK, keys.width);
    store(writeV, ownV, values.width);
  };

  zero(ownQ, q.count * q.width);
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
  return { grid: [count, 1, 1], threads: 1, body: k.done() };
};
