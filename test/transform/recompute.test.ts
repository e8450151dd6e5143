/** What the backward phase keeps, and what it computes again. That no bit changes is a law (testing/laws/remat.ts). */
import { describe, expect, it } from 'vitest';
import type { Builder } from '../../compiler/graph/builder.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import { cse } from '../../compiler/passes/cse.ts';
import { simplify } from '../../compiler/passes/simplify.ts';
import { recompute } from '../../compiler/transform/recompute.ts';
import { arg, gradOf, trace } from './support.ts';

const [rows, width] = [64, 32];
const dot = (b: Builder, x: Value, w: Value): Value => b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [x, w]);
const along = (b: Builder, x: Value, y: Value): Value => b.broadcast(x, y.type.shape, [0]);
const mean = (b: Builder, x: Value): Value => b.mul(b.sum(x, [1]), b.fill(1 / width, { dtype: 'f32', shape: [rows] }));

/** The primitives of what crosses from forward to backward, large values and small ones. */
const crossing = (g: Graph) => {
  const forward = new Map(g.nodes.filter((n) => n.meta.phase === 'fwd').flatMap((n) => n.outputs.map((o) => [o, n.op.prim] as const)));
  const read = [...new Set(g.nodes.filter((n) => n.meta.phase === 'bwd').flatMap((n) => n.inputs))].filter((v) => forward.has(v));
  const of = (large: boolean): string[] => read.filter((v) => v.type.shape.length > 1 === large).map((v) => forward.get(v) as string);
  return { large: of(true).sort(), small: of(false).sort() };
};
const graph = (f: (b: Builder, x: Value, w: Value, u: Value) => Value): Graph =>
  cse(
    simplify(
      gradOf(
        trace([arg([rows, width]), arg([width, width]), arg([width, width])], (b, x, w, u) => [b.sum(f(b, x, w, u), [0, 1])]),
        [0, 1, 2],
      ),
    ),
  );

describe('an activation between two products', () => {
  const mlp = graph((b, x, w, u) => {
    const h = dot(b, x, w);
    return dot(b, b.mul(h, b.erf(h)), u);
  });
  it('is computed again from the first product', () => {
    expect(crossing(mlp).large).toEqual(expect.arrayContaining(['dot', 'erf', 'mul']));
    expect(crossing(recompute(0)(mlp))).toEqual({ large: ['dot'], small: [] });
  });
  it('is kept where it has fewer bytes than are worth the while', () => {
    const enough = 4 * rows * width;
    expect(crossing(recompute(enough)(mlp)).large).toEqual(['dot']);
    expect(recompute(enough + 1)(mlp)).toBe(mlp);
  });
});

it('of a normalised row its origin is kept, with the statistics of the row', () => {
  const norm = graph((b, x, w, u) => {
    const h = dot(b, x, w);
    const c = b.sub(h, along(b, mean(b, h), h));
    const deviation = b.rsqrt(b.add(mean(b, b.mul(c, c)), b.fill(1e-6, { dtype: 'f32', shape: [rows] })));
    return dot(b, b.mul(c, along(b, deviation, c)), u);
  });
  expect(crossing(norm).large.length).toBeGreaterThan(1);
  const { large, small } = crossing(recompute(0)(norm));
  expect(large).toEqual(['dot']);
  expect(small.length).toBeLessThanOrEqual(3);
});

it('what two large values make is kept where neither is', () => {
  const both = graph((b, x, w, u) => {
    const h = b.mul(dot(b, x, w), dot(b, x, u));
    return b.sin(h);
  });
  const { large } = crossing(recompute(0)(both));
  // the gradients of a product need both factors: then the product is free
  expect(large).toEqual(['dot', 'dot']);
});

it('a graph without a backward phase is left alone', () => {
  const forward = trace([arg([rows, width])], (b, x) => [b.exp(b.sin(x))]);
  expect(recompute(0)(forward)).toBe(forward);
});
