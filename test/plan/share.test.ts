/**
 * One kernel for many tensors: kernels that differ in sizes and factors become one, which gives the bits of each of them and, run with
 * the buffers of a small one, stays inside them (the interpreter refuses an access out of bounds).
 */
import { expect, test } from 'vitest';
import { passes } from '../../compiler/compile.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { shareKernels } from '../../compiler/plan/share.ts';
import { lowerAll } from '../../compiler/tile/lower.ts';
import { type F32, spec, trace } from '../../index.ts';
import { cpu } from '../fuse/run.ts';

/** y = 3 x + factor x^2 of tensors of several sizes. */
const program = (sizes: readonly number[]): Graph => {
  const f = (...xs: F32<string>[]) => xs.map((x, i) => x.mul(3).add(x.mul(x).mul(0.9 ** (i + 1))));
  const { graph } = trace(f as never, sizes.map((n) => spec(`${n}` as never)) as never);
  return passes.reduce((g, [, pass]) => pass(g), graph);
};
const x = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => ((i * 37) % 101) / 50 - 1);

test.each([
  { name: 'whole vectors', sizes: [8192, 384, 98688] },
  { name: 'short vectors at the end', sizes: [17, 8193, 20001] },
])('$name: the same bits, within the same bounds', ({ sizes }) => {
  const kernels = lowerAll(fuse(program(sizes), cpu).groups, cpu).map((l) => l.kernel);
  const shared = shareKernels(kernels);
  const made = new Set(kernels.map((k) => shared.get(k)?.kernel));
  expect(made.size).toBe(1);
  kernels.forEach((k, i) => {
    const n = sizes[i] as number;
    const { kernel, numbers } = shared.get(k) as NonNullable<ReturnType<typeof shared.get>>;
    const { f32, i32 } = numbers.get(k) as { f32: number[]; i32: number[] };
    const own: Kernel = {
      ...kernel,
      grid: k.grid,
      buffers: kernel.buffers.map((b, j) => ({ ...b, size: k.buffers[j]?.size ?? b.size })),
    };
    const [want, got] = [new Float32Array(n), new Float32Array(n)];
    interpretKernel(k, { b0: x(n), b1: want });
    interpretKernel(verifyKernel(own), { b0: x(n), b1: got, b2: Float32Array.from(f32), b3: Int32Array.from(i32) });
    expect(got).toEqual(want);
  });
});

test('kernels of other work stay apart', () => {
  const f = (a: F32<string>, b: F32<string>) => [a.mul(2), b.add(2)];
  const { graph } = trace(f as never, [spec('64'), spec('128')] as never);
  expect(shareKernels(lowerAll(fuse(graph, cpu).groups, cpu).map((l) => l.kernel)).size).toBe(0);
});

test('a plan has one kernel, and each launch its blocks, sizes and tables', () => {
  const sizes = [8192, 98688];
  const plan = buildPlan(program(sizes), cpu, { donated: [-1, -1], maxBytes: Number.POSITIVE_INFINITY });
  expect(plan.kernels.length).toBe(1);
  expect(plan.launches.map((l) => l.part?.blocks)).toEqual([1, 13]);
  expect(plan.launches.map((l) => l.part?.sizes.slice(0, 2))).toEqual(sizes.map((n) => [n, n]));
  expect(plan.constants.length).toBe(4);
});
