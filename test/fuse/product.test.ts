/** Contractions that are no matrix products: what they become, and that they compute the same. */
import { expect, test } from 'vitest';
import { passes } from '../../compiler/compile.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { einsum, spec, trace } from '../../index.ts';
import { cpu, deviation, sample } from './run.ts';

const graphOf = (pattern: string, a: string, b: string): Graph => {
  const f = (x: never, y: never) => einsum(pattern as never, x, y);
  const { graph } = trace(f as never, [spec(a as never), spec(b as never)] as never);
  return passes.reduce((g, [, pass]) => pass(g), graph);
};

test.each([
  ['rows with rows', 'u k, u k -> u', '5 37', '5 37', 'reduce'],
  ['rows with columns', 'u k, k u -> u', '5 37', '37 5', 'reduce'],
  ['batches in another order', 'a b k, b k a -> b a', '3 4 19', '4 19 3', 'reduce'],
  ['two contracted axes', 'a b k, k a b -> b', '3 4 19', '19 3 4', 'reduce'],
  ['two vectors', 'k, k ->', '300', '300', 'reduce'],
  ['an outer product', 'i, j -> i j', '7', '33', 'map'],
  ['outer products of a batch', 'b i, j b -> b i j', '4 7', '33 4', 'map'],
  ['a scaled matrix', 'b i j, b -> b i j', '4 7 9', '4', 'map'],
  ['a matrix product', 'i k, k j -> i j', '7 19', '19 9', 'gemm'],
])('%s', (_, pattern, a, b, template) => {
  const g = graphOf(pattern, a, b);
  expect(fuse(g, cpu).groups.map((x) => x.template)).toContain(template);
  expect(fuse(g, cpu).groups.some((x) => x.template === 'gemm')).toBe(template === 'gemm');
  expect(
    deviation(
      g,
      cpu,
      g.params.map((p, i) => sample(p.type, i + 1)),
    ),
  ).toBe(undefined);
});
