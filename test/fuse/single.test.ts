/** Kernels of small programs that generated ones seldom contain: expected values by hand. */
import { expect, test } from 'vitest';
import { cpuTarget } from '../../backends/cpu/index.ts';
import { type Builder, builder } from '../../compiler/graph/builder.ts';
import { tensor64 } from '../../compiler/graph/interpret.ts';
import type { Value } from '../../compiler/graph/types.ts';
import { runKernels } from '../../testing/kernels.ts';
import { parseProgram } from '../../testing/program-text.ts';
import { deviation, gpu } from './run.ts';

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

// of `fovea fuzz` on WebGPU, seed 601473: the columns that are left over when there are none
test('sums down fewer columns than a block has threads', () => {
  const { graph, inputs } = parseProgram(`graph (%0 x0: bf16[4 1], %1 x1: bool[2]) {
  %2: bf16[4 1] = cumsum(%0) axis=0
  %3: bf16[2 4 1] = broadcast(%2) shape=[2 4 1] axes=[1 2]
  %4: bf16[4] = reduceMax(%3) axes=[0 2]
  %5: bf16[4] = add(%4, %4)
  %6: f32[4] = cast(%5) dtype=f32
  %7: f32[] = reduceSum(%6) axes=[0]
  %8: f32[] = const() value=1 dtype=f32
  %9: f32[4] = broadcast(%8) shape=[4] axes=[]
  %10: bf16[4] = cast(%9) dtype=bf16
  %11: bf16[4] = add(%10, %10)
  %12: bf16[2 4 1] = broadcast(%4) shape=[2 4 1] axes=[1]
  %13: bool[2 4 1] = compare(%3, %12) cmp=eq
  %14: bf16[] = const() value=1 dtype=bf16
  %15: bf16[2 4 1] = broadcast(%14) shape=[2 4 1] axes=[]
  %16: bf16[] = const() value=0 dtype=bf16
  %17: bf16[2 4 1] = broadcast(%16) shape=[2 4 1] axes=[]
  %18: bf16[2 4 1] = select(%13, %15, %17)
  %19: bf16[4] = reduceSum(%18) axes=[0 2]
  %20: bf16[4] = div(%11, %19)
  %21: bf16[2 4 1] = broadcast(%20) shape=[2 4 1] axes=[1]
  %22: bf16[2 4 1] = mul(%21, %18)
  %23: bf16[4 1] = reduceSum(%22) axes=[0]
  %24: bf16[4 1] = reverse(%23) axes=[0]
  %25: bf16[4 1] = cumsum(%24) axis=0
  %26: bf16[4 1] = reverse(%25) axes=[0]
  return %7, %26
}
%0 = [0, 0, 0, 0]
%1 = [0, 0]`);
  expect(deviation(graph, gpu, inputs)).toBeUndefined();
});
