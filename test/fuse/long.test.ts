/**
 * Long rows are reduced in two steps (fuse/normalise.ts). All numbers here are multiples of 2^-10 below 2^14 in sum, which f32 adds
 * without rounding in any order: the expected values are exact.
 */
import { expect, test } from 'vitest';
import { cpuTarget } from '../../backends/cpu/index.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { tensor64 } from '../../compiler/graph/interpret.ts';
import type { DType } from '../../compiler/graph/types.ts';
import { runKernels } from '../../testing/kernels.ts';

const reduced = (prim: 'reduceSum' | 'reduceMax', dtype: DType, xs: readonly number[]): number | undefined => {
  const b = builder();
  const x = b.param({ dtype, shape: [xs.length] });
  const g = b.build([b.one({ prim, axes: [0] }, [x])]);
  return runKernels(g, cpuTarget(2), [tensor64(x.type, xs)])[0]?.[0];
};
const repeated = (n: number, x: number): number[] => Array.from({ length: n }, () => x);

test('what fills up the last part of a row is not seen in the result', () => {
  // a prime above four times the length of a part: no part fits
  const n = 40009;
  expect(reduced('reduceMax', 'f32', repeated(n, -2))).toBe(-2);
  expect(reduced('reduceSum', 'f32', repeated(n, -0.5))).toBe(-0.5 * n);
});

test('the parts of a row of halves are not rounded to halves', () => {
  const one = 1 + 2 ** -10;
  // 8200 + 2^-10, -8200 and 0: a half near 8200 is a multiple of 8
  const xs = [...repeated(8191, one), one + 2 ** -10, ...repeated(8192, -one), ...repeated(8192, 0)];
  expect(reduced('reduceSum', 'f16', xs)).toBe(2 ** -10);
});
