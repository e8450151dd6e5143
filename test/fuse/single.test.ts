/** Kernels of small programs that generated ones seldom contain: expected values by hand. */
import { expect, test } from 'vitest';
import { cpuTarget } from '../../backends/cpu/index.ts';
import { type Builder, builder } from '../../compiler/graph/builder.ts';
import { tensor64 } from '../../compiler/graph/interpret.ts';
import type { Value } from '../../compiler/graph/types.ts';
import { runKernels } from '../../testing/kernels.ts';

const run = (xs: readonly number[], f: (b: Builder, x: Value) => Value): number[] => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [xs.length] });
  return Array.from(runKernels(b.build([f(b, x)]), cpuTarget(2), [tensor64(x.type, xs)])[0] ?? []);
};

test('every number but 0 is true', () => {
  expect(run([-2, -0.5, 0, 0.5, 3], (b, x) => b.cast(x, 'bool'))).toEqual([1, 1, 0, 1, 1]);
});

test('a padded vector the other way round', () => {
  expect(run([1, 2, 3], (b, x) => b.one({ prim: 'reverse', axes: [0] }, [b.pad(x, [2], [1], 9)]))).toEqual([9, 3, 2, 1, 9, 9]);
});

test('argmax of a row of many vectors', () => {
  const place = (xs: readonly number[]): number[] => run(xs, (b, x) => b.one({ prim: 'argmax', axis: 0 }, [x]));
  const rising = Array.from({ length: 300 }, (_, i) => i / 8);
  expect(place(rising)).toEqual([299]);
  expect(place([...rising].reverse())).toEqual([0]);
  expect(place(rising.map((v, i) => (i % 7 === 3 ? 100 : v)))).toEqual([3]);
  expect(place(rising.map((v, i) => (i === 170 || i === 260 ? Number.NaN : v)))).toEqual([170]);
});
