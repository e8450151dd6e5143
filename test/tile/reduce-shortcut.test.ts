/** Sums over rows of a log-softmax take a shorter way, the numbers stay, infinite ones too, and what only looks like one is left alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Builder } from '../../compiler/graph/builder.ts';
import { tensor64 } from '../../compiler/graph/interpret.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import type { Group } from '../../compiler/tile/group.ts';
import { jobOf } from '../../compiler/tile/job.ts';
import { type Work, workOf } from '../../compiler/tile/reduce-work.ts';
import { runKernels } from '../../testing/kernels.ts';
import { numbers } from '../../testing/numbers.ts';
import { cpu, deviation } from '../fuse/run.ts';
import { arg, draw, trace } from '../transform/support.ts';

const shape = [3, 2, 37] as const;
/** A number for each row, as a whole tensor again; with or without the axis of size 1 between. */
const spread = (b: Builder, row: Value, kept: boolean): Value => {
  const [n, m] = shape;
  return kept ? b.broadcast(b.reshape(row, [n, m, 1]), shape, [0, 1, 2]) : b.broadcast(row, shape, [0, 1]);
};
const rowMax = (b: Builder, x: Value): Value => b.one({ prim: 'reduceMax', axes: [2] }, [x]);

interface Form {
  /** With axes of size 1 between. */
  readonly kept?: boolean;
  readonly swap?: boolean;
  /** What is subtracted first; the maximum of the row unless given. */
  readonly first?: (b: Builder, x: Value) => Value;
  /** The sum of the exponentials. */
  readonly total?: (b: Builder, e: Value) => Value;
  /** The log-softmax is a result as well. */
  readonly also?: boolean;
}
const agreement = ({ kept = false, swap = false, first, total, also = false }: Form = {}): Graph =>
  trace([arg(shape), arg(shape)], (b, x, t) => {
    const c = b.sub(x, first ? first(b, x) : spread(b, rowMax(b, x), kept));
    const v = b.sub(c, spread(b, b.log(total ? total(b, b.exp(c)) : b.sum(b.exp(c), [2])), kept));
    const out = b.one(
      {
        prim: 'dot',
        batch: [
          [0, 1],
          [0, 1],
        ],
        contract: [[2], [2]],
        dtype: 'f32',
      },
      swap ? [t, v] : [v, t],
    );
    return also ? [out, v] : [out];
  });
const workOfGraph = (g: Graph): Work => {
  const groups: readonly Group[] = fuse(g, cpu).groups.filter((x) => x.nodes.some((n) => n.op.prim === 'log'));
  return workOf(jobOf(groups.at(-1) as Group, cpu, new Map()));
};

describe('the sum of a log-softmax with weights', () => {
  it('takes two passes over a row, and a third where these end in what is not finite', () => {
    for (const kept of [false, true])
      for (const swap of [false, true]) {
        const w = workOfGraph(agreement({ kept, swap }));
        expect([w.passes, ...w.shortcuts.keys()]).toEqual([3, 2]);
      }
  });
  it('stays the same number, whatever the logits', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.boolean(), fc.constantFrom(0.1, 3, 300), fc.integer(), (kept, swap, size, seed) => {
        const next = numbers(seed);
        expect(deviation(agreement({ kept, swap }), cpu, [draw(arg(shape, -size, size), next), draw(arg(shape, -1, 2), next)])).toBe(
          undefined,
        );
      }),
      { numRuns: 60 },
    );
  });
  it.each<[what: string, x: readonly number[], t: readonly number[], expected: number]>([
    ['an infinite weight at the maximum', [1, 1], [Infinity, 0], -Infinity],
    ['weights whose sum leaves the range', [1, 1], [2e38, 2e38], -4e38 * Math.LN2],
    ['a logit of minus infinity without a weight', [0, -Infinity], [1, 0], NaN],
    ['a logit of minus infinity with one', [0, -Infinity], [1, 1], -Infinity],
    ['an infinite logit', [Infinity, 0], [1, 1], NaN],
    ['a weight that is no number', [0, 0], [NaN, 0], NaN],
  ])('is what was written for %s', (_, x, t, expected) => {
    const n = x.length;
    const g = trace([arg([1, n]), arg([1, n])], (b, p, q) => {
      const all = (row: Value): Value => b.broadcast(row, [1, n], [0]);
      const c = b.sub(p, all(b.one({ prim: 'reduceMax', axes: [1] }, [p])));
      const v = b.sub(c, all(b.log(b.sum(b.exp(c), [1]))));
      return [b.sum(b.mul(v, q), [1])];
    });
    expect(workOfGraph(g).shortcuts.size).toBe(1);
    const f32 = (row: readonly number[]) => tensor64({ dtype: 'f32', shape: [1, n] }, row.map(Math.fround));
    const [got] = runKernels(g, cpu, [f32(x), f32(t)]);
    const y = Number(got?.[0]);
    if (Number.isFinite(expected)) expect(Math.abs(y / expected - 1)).toBeLessThan(1e-6);
    else expect(y).toBe(expected);
  });
  it.each<[why: string, form: Form]>([
    ['nothing was subtracted first, so that the terms may cancel', { first: (b, x) => b.fill(0, x.type) }],
    ['the maximum is that of another axis', { first: (b, x) => b.broadcast(b.one({ prim: 'reduceMax', axes: [1] }, [x]), shape, [0, 2]) }],
    ['the maximum is that of another tensor', { first: (b, x) => spread(b, rowMax(b, b.neg(x)), false) }],
    ['the sum is that of other exponentials', { total: (b, e) => b.sum(b.mul(e, e), [2]) }],
    ['the log-softmax is a result too', { also: true }],
  ])('is left alone where %s', (_, form) => {
    expect(workOfGraph(agreement(form)).shortcuts.size).toBe(0);
  });
});
