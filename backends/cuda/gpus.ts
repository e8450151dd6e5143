/**
 * Records of GPUs by architecture, for looking at kernels where there is none: peaks of float32 and of memory, and sizes, as the vendor's
 * data sheets of the A100 (80 GB, SXM) and the H100 (SXM) give them.
 */
import type { Target } from '../../compiler/target.ts';

const common = { name: 'cuda', maxThreads: 1024, vectorBytes: 16, registers: 255, bf16Dot: false, maxBuffers: 64, alignment: 256 } as const;

export const gpus: Readonly<Record<'sm_80' | 'sm_90a', Target>> = {
  sm_80: {
    ...common,
    workers: 108,
    sharedBytes: 163 << 10,
    cacheBytes: { l1: 192 << 10, l2: 40 << 20 },
    peak: { flops: 19.5e12, bytes: 2.04e12 },
  },
  sm_90a: {
    ...common,
    workers: 132,
    sharedBytes: 227 << 10,
    cacheBytes: { l1: 256 << 10, l2: 50 << 20 },
    peak: { flops: 66.9e12, bytes: 3.35e12 },
  },
};
