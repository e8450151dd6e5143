/**
 * What the six kernels of attention start from, forward and backward, on one thread a block, on several, and on matrix units: the rows in memory, who
 * stores the results, and a body in which a block knows its element of the batch and the scale.
 *
 *   forward    call(scale, q, keys, values) -> (o, lse)
 *   backward   call(scale, q, keys, values, lse, delta, grads) -> (dq, dkeys, dvalues)
 */
import type { Node, Value } from '../graph/types.ts';
import { type Body, body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { indices } from './affine.ts';
import { unflatten } from './batch.ts';
import { shapeOf } from './emit.ts';
import { emitterOf, type Job } from './job.ts';
import { type Writer, writerOf } from './stream-out.ts';
import { type Rows, rowNumber, rowsOf } from './stream-parts.ts';

interface Start {
  readonly job: Job;
  readonly node: Node;
  /** Sizes of the axes of the batch, and their product. */
  readonly batch: readonly number[];
  readonly count: number;
  readonly q: Rows;
  readonly keys: Rows;
  readonly values: Rows;
}
/** Writers are absent where nobody reads the result. */
export interface Forward extends Start {
  readonly writeO: Writer | undefined;
  readonly writeLse: Writer | undefined;
}
export interface Backward extends Start {
  readonly grads: Rows;
  readonly writeQ: Writer | undefined;
  readonly writeK: Writer | undefined;
  readonly writeV: Writer | undefined;
}

const start = (job: Job): Start => {
  const node = job.group.nodes.find((n) => n.op.prim === 'call') as Node;
  const batch = shapeOf(node.inputs[1] as Value).slice(0, -2);
  const rows = (i: number): Rows => rowsOf(job, node, i);
  return { job, node, batch, count: batch.reduce((a, b) => a * b, 1), q: rows(1), keys: rows(2), values: rows(3) };
};
const writer = ({ job, node, batch }: Start, result: number, rows: number, width: number): Writer | undefined =>
  writerOf(job, node.outputs[result] as Value, batch, rows, width);

export const forwardOf = (job: Job): Forward => {
  const s = start(job);
  return { ...s, writeO: writer(s, 0, s.q.count, s.values.width), writeLse: writer(s, 1, s.q.count, 1) };
};
export const backwardOf = (job: Job): Backward => {
  const s = start(job);
  return {
    ...s,
    grads: rowsOf(job, s.node, 6),
    writeQ: writer(s, 0, s.q.count, s.q.width),
    writeK: writer(s, 1, s.keys.count, s.keys.width),
    writeV: writer(s, 2, s.keys.count, s.values.width),
  };
};

/** A body, the indices of this block's element of the batch, which axis `axis` of the grid counts, and the scale. */
export const opened = (
  { job, node, batch }: Start,
  axis: 0 | 1,
): { readonly k: Body; readonly at: readonly Expr[]; readonly scale: Expr } => {
  const k = body([...job.group.inputs, ...job.group.outputs].map((_, i) => `b${i}`));
  const at = unflatten(e.block(axis), batch).map((x) => k.let('batch', x));
  return { k, at, scale: k.let('scale', emitterOf(job, indices(1)).at(node.inputs[0] as Value, [])) };
};

/** Where a block of several threads keeps lse and delta of queries. */
export interface Numbers {
  readonly lse: e.Place;
  readonly delta: e.Place;
}
/** The threads leave those of `n` queries from `first` on at `to` ..; zeros past the last. */
export const bringNumbers = (
  s: Backward,
  k: Body,
  at: readonly Expr[],
  into: Numbers,
  threads: number,
  first: Expr,
  n: number,
  to: Expr,
): void =>
  k.for('t', e.thread, n, threads, (t) => {
    const row = k.let('row', e.add(first, t));
    const goal = k.let('goal', e.add(to, t));
    const keep = (part: keyof Numbers, x: Expr): void => k.store(into[part], goal, x);
    const each = (): void => {
      keep('lse', rowNumber(k, s.job, s.node.inputs[4] as Value, at, row));
      keep('delta', rowNumber(k, s.job, s.node.inputs[5] as Value, at, row));
    };
    const none = (): void => {
      keep('lse', e.f32(0));
      keep('delta', e.f32(0));
    };
    if (s.q.count % n === 0) each();
    else k.if(e.lt(row, s.q.count), each, none);
  });

/** Blocks that own `rows` keys, and behind them blocks that own `rows` queries, as parts of one grid, as far as somebody reads what they make. */
export const partsOf = (
  s: Backward,
  k: Body,
  rows: number,
  ofKeys: (block: Expr) => void,
  ofQueries: (block: Expr) => void,
): readonly [number, number, number] => {
  const forKeys = s.writeK || s.writeV ? Math.ceil(s.keys.count / rows) : 0;
  const forQueries = s.writeQ ? Math.ceil(s.q.count / rows) : 0;
  const [first, behind] = [() => ofKeys(e.block(0)), () => ofQueries(e.sub(e.block(0), forKeys))];
  if (forQueries === 0) first();
  else if (forKeys === 0) behind();
  else k.if(e.lt(e.block(0), forKeys), first, behind);
  return [forKeys + forQueries, s.count, 1];
};
