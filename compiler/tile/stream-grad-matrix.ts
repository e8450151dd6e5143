/**
 * The stream-grad template on matrix units (stream-grad.ts says what is computed). Blocks that own keys and blocks that own queries are parts of one grid;
 * both have the same rooms in shared memory, in which keys and values, or queries and gradients, are the rows that stay.
 *
 *   keys stay      weights = exp(scale keys queries' - lse)      dv += weights grads      dk += slopes queries
 *   queries stay   weights = exp(scale queries keys' - lse)      dq += slopes keys
 *                  slopes = weights (products of values and gradients - delta) scale
 */
import type { Node, Value } from '../graph/types.ts';
import { body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import { indices } from './affine.ts';
import { unflatten } from './batch.ts';
import { shapeOf } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import { emitterOf, type Job } from './job.ts';
import {
  bringRows,
  type MatrixRows,
  matrixRows,
  matrixStream,
  mix,
  pair,
  room,
  type Squares,
  spread,
  squares,
  tileSize,
  weigh,
  writeSquares,
  zeroSquares,
} from './stream-matrix-parts.ts';
import { writerOf } from './stream-out.ts';
import { rowNumber, rowsOf } from './stream-parts.ts';

/** Undefined where the target has no units for these rows. */
export const lowerStreamGradMatrix = (job: Job): Lowering | undefined => {
  const node = job.group.nodes.find((n) => n.op.prim === 'call') as Node;
  const [q, keys, values, grads] = [rowsOf(job, node, 1), rowsOf(job, node, 2), rowsOf(job, node, 3), rowsOf(job, node, 6)];
  const batch = shapeOf(node.inputs[1] as Value).slice(0, -2);
  const count = batch.reduce((a, b) => a * b, 1);
  const widths = [q.width, values.width];
  const longest = Math.max(q.count, keys.count);
  const sizes = { rows: longest, columns: longest, count, widths, kept: widths };
  const s = matrixStream(job.target, [q, keys, values, grads], sizes, 2);
  if (!s) return undefined;
  const of = q.place.dtype as KMatrix;
  const threads = s.warps * warp;
  const [dq, dk, dv] = node.outputs as readonly [Value, Value, Value];
  const writeQ = writerOf(job, dq, batch, q.count, q.width);
  const writeK = writerOf(job, dk, batch, keys.count, keys.width);
  const writeV = writerOf(job, dv, batch, keys.count, values.width);

  const k = body([...job.group.inputs, ...job.group.outputs].map((_, i) => `b${i}`));
  const at = unflatten(e.block(1), batch).map((x) => k.let('batch', x));
  const [queries, keyRows, valueRows, gradRows] = [
    matrixRows(k, q, at),
    matrixRows(k, keys, at),
    matrixRows(k, values, at),
    matrixRows(k, grads, at),
  ];
  const scale = e.splat(k.let('scale', emitterOf(job, indices(1)).at(node.inputs[0] as Value, [])), 8);
  const own = k.let('own', e.mul(e.div(e.thread, warp), side));
  const stay = [room(k, 'ownScored', of, s.rows, q.width, 1), room(k, 'ownGraded', of, s.rows, values.width, 1)] as const;
  const come = [room(k, 'scored', of, s.columns, q.width, 2), room(k, 'graded', of, s.columns, values.width, 2)] as const;
  const tile = k.alloc('tile', 'shared', 'f32', tileSize(s, widths));
  const many = Math.max(s.rows, 2 * s.columns);
  const [lse, delta] = [k.alloc('lse', 'shared', 'f32', many), k.alloc('delta', 'shared', 'f32', many)];
  /** Leaves lse and delta of `n` queries from `first` on at `to` .. ; zeros past the last. */
  const numbers = (first: Expr, n: number, to: Expr): void =>
    k.for('t', e.thread, n, threads, (t) => {
      const row = k.let('row', e.add(first, t));
      const goal = k.let('goal', e.add(to, t));
      const both = (value: (operand: number) => Expr): void => {
        k.store(lse, goal, value(4));
        k.store(delta, goal, value(5));
      };
      const each = (): void => both((operand) => rowNumber(k, job, node.inputs[operand] as Value, at, row));
      if (q.count % n === 0) each();
      else k.if(e.lt(row, q.count), each, () => both(() => e.f32(0)));
    });

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
  const ofKeys = (): void => {
    const first = k.let('first', e.mul(e.block(0), s.rows));
    const [ownK, ownV] = [zeroSquares(k, squares(q.width)), zeroSquares(k, squares(values.width))];
    const before = (from: Expr, slot: Expr): void => numbers(from, s.columns, e.mul(slot, s.columns));
    // a number of each column
    const numbersOf = (place: e.Place, j: number, slot: Expr): Expr =>
      k.let('each', e.load(place, e.add(e.place('column'), e.splat(e.add(e.mul(slot, s.columns), j * side), 8)), 8));
    pass(first, [keyRows, valueRows], [queries, gradRows], q.count, before, numbersOf, (weights, slopes, slot) => {
      if (writeV) mix(k, of, ownV, weights, [come[1], gradRows], slot);
      if (writeK) mix(k, of, ownK, slopes(), [come[0], queries], slot);
    });
    const to = { first, count: keys.count };
    if (writeK) writeSquares(k, s, tile, ownK, { ...to, width: keys.width }, at, writeK);
    if (writeV) writeSquares(k, s, tile, ownV, { ...to, width: values.width }, at, writeV);
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
    if (writeQ) writeSquares(k, s, tile, ownQ, { first, count: q.count, width: q.width }, at, writeQ);
  };
  const [forKeys, forQueries] = [writeK || writeV ? Math.ceil(keys.count / s.rows) : 0, writeQ ? Math.ceil(q.count / s.rows) : 0];
  if (forQueries === 0) ofKeys();
  else if (forKeys === 0) ofQueries(e.block(0));
  else k.if(e.lt(e.block(0), forKeys), ofKeys, () => ofQueries(e.sub(e.block(0), forKeys)));
  return { grid: [forKeys + forQueries, count, 1], threads, body: k.done() };
};
