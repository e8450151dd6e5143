/** Two targets, a run of fused kernels held against the error bound, and arguments that f32 holds exactly. */
import { type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { type Graph, isFloat, type TensorType } from '../../compiler/graph/types.ts';
import type { Target } from '../../compiler/target.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { runKernels } from '../../testing/kernels.ts';

export const cpu: Target = {
  name: 'test',
  workers: 2,
  maxThreads: 1,
  subgroup: 1,
  vectorBytes: 32,
  registers: 16,
  bf16Dot: true,
  sharedBytes: 0,
  maxBuffers: 32,
  alignment: 64,
  cacheBytes: { l1: 32768, l2: 1048576 },
  peak: { flops: 1e11, bytes: 1e10 },
};
export const gpu: Target = { ...cpu, name: 'parallel', maxThreads: 32, vectorBytes: 16, sharedBytes: 16384, maxBuffers: 8, alignment: 256 };

/** The first element that deviates by more than the bound, or undefined. */
export const deviation = (g: Graph, target: Target, args: readonly Tensor64[]): string | undefined =>
  compare(bounded(g, args), runKernels(g, target, args)).wrong;

/** Values that f32 holds exactly, so that inputs carry no error: multiples of 1/64 between -2 and 2. */
export const sample = (t: TensorType, seed: number): Tensor64 => {
  let s = seed >>> 0;
  const next = (): number => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s >>> 8;
  };
  const n = t.shape.reduce<number>((a, b) => a * (b as number), 1);
  return tensor64(
    t,
    Array.from({ length: n }, () => (isFloat(t.dtype) ? ((next() % 257) - 128) / 64 : t.dtype === 'bool' ? next() % 2 : next() % 5)),
  );
};
