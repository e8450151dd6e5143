/**
 * Rows that several threads reduce together: in registers as far as a subgroup of the target goes, through shared memory from there on. The bits are the
 * same for every subgroup, and within the bound of float64.
 */
import { expect, test } from 'vitest';
import { builder } from '../../compiler/graph/builder.ts';
import { tensor64 } from '../../compiler/graph/interpret.ts';
import type { Stmt } from '../../compiler/kernel/types.ts';
import { compare } from '../../testing/bound.ts';
import { runKernels } from '../../testing/kernels.ts';
import { compiled, planOf, truth } from '../../testing/stages.ts';
import { gpu, sample } from '../fuse/run.ts';

/** Sums, products of what is between, maxima and their places, of floats with ties and a NaN, and of integers. */
const rows = (n: number, m: number) => {
  const b = builder();
  const [x, i] = [b.param({ dtype: 'f32', shape: [n, m] }), b.param({ dtype: 'i32', shape: [n, m] })];
  const over = (v: typeof x) => b.broadcast(v, [n, m], [0]);
  const mean = b.one({ prim: 'reduceSum', axes: [1] }, [x]);
  const centred = b.sub(x, over(mean));
  return b.build([
    b.one({ prim: 'reduceSum', axes: [1] }, [b.mul(centred, centred)]),
    b.one({ prim: 'argmax', axis: 1 }, [x]),
    b.one({ prim: 'reduceMax', axes: [1] }, [i]),
    b.one({ prim: 'reduceSum', axes: [1] }, [i]),
  ]);
};
const targetOf = (subgroup: number, maxThreads: number) => ({ ...gpu, maxThreads, subgroup });
const kinds = (body: readonly Stmt[]): readonly string[] =>
  body.flatMap((s) => [s.s, ...(s.s === 'for' || s.s === 'if' ? kinds(s.body) : [])]);

test.each([
  [3, 5, 32],
  [2, 33, 32],
  [2, 300, 64],
  [1, 1100, 256],
])('%i rows of %i, up to %i threads', (n, m, threads) => {
  const g = rows(n, m);
  const [x, i] = g.params.map((p, seed) => sample(p.type, 7 * m + seed));
  const data = Float64Array.from((x as ReturnType<typeof sample>).data as Float64Array);
  if (m > 40) data[17] = Number.NaN;
  const inputs = [tensor64(g.params[0]?.type as never, Array.from(data)), i as ReturnType<typeof sample>];
  const plain = runKernels(compiled(g), targetOf(1, threads), inputs);
  expect(compare(truth({ graph: g, inputs }), plain).wrong).toBeUndefined();
  for (const subgroup of [2, 4, 16, 32]) expect(runKernels(compiled(g), targetOf(subgroup, threads), inputs)).toEqual(plain);
});

test('a row that one subgroup reduces needs no shared memory; where there are none, nothing is exchanged', () => {
  const of = (subgroup: number): readonly string[] => planOf(rows(4, 100), targetOf(subgroup, 64)).kernels.flatMap((k) => kinds(k.body));
  expect(of(32)).toContain('exchange');
  expect(of(32)).not.toContain('barrier');
  expect(of(8)).toContain('barrier');
  expect(of(1)).not.toContain('exchange');
});
