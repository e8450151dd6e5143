/** Sums over rows of a log-softmax do without its normaliser, the numbers stay, and what only looks like one is left alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Builder } from '../../compiler/graph/builder.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import type { Group } from '../../compiler/tile/group.ts';
import { primsOf } from '../../compiler/tile/group.ts';
import { jobOf } from '../../compiler/tile/job.ts';
import { workOf } from '../../compiler/tile/reduce-work.ts';
import { numbers } from '../../testing/numbers.ts';
import { arg, draw, trace } from '../transform/support.ts';
import { cpu, deviation } from './run.ts';

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
const groupOf = (g: Graph): Group => {
  const groups = fuse(g, cpu).groups.filter((x) => x.nodes.some((n) => n.op.prim === 'log'));
  return groups.at(-1) as Group;
};
const passesOf = (g: Graph): number => workOf(jobOf(groupOf(g), cpu, new Map())).passes;

describe('the sum of a log-softmax with weights', () => {
  it('takes two passes over a row', () => {
    for (const kept of [false, true]) for (const swap of [false, true]) expect(passesOf(agreement({ kept, swap }))).toBe(2);
    expect(primsOf(groupOf(agreement()))).toEqual([
      ...['reduceMax', 'sub', 'exp', 'reduceSum', 'log'],
      ...['mul', 'reduceSum', 'reduceSum', 'mul', 'sub'],
    ]);
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
  it.each<[why: string, form: Form]>([
    ['nothing was subtracted first, so that the terms may cancel', { first: (b, x) => b.fill(0, x.type) }],
    ['the maximum is that of another axis', { first: (b, x) => b.broadcast(b.one({ prim: 'reduceMax', axes: [1] }, [x]), shape, [0, 2]) }],
    ['the maximum is that of another tensor', { first: (b, x) => spread(b, rowMax(b, b.neg(x)), false) }],
    ['the sum is that of other exponentials', { total: (b, e) => b.sum(b.mul(e, e), [2]) }],
    ['the log-softmax is a result too', { also: true }],
  ])('is left alone where %s', (_, form) => {
    // its last step is the sum itself
    expect(primsOf(groupOf(agreement(form))).at(-1)).toBe('reduceSum');
  });
});
