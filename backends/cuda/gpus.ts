/**
 * Records of GPUs by architecture, for looking at kernels where there is none: peaks of float32 and of memory, and sizes, as the vendor's
 * data sheets of the A100 (80 GB, SXM) and the H100 (SXM) give them.
 */
import type { MatrixUnit, Target } from '../../compiler/target.ts';

/** Multiply-adds of halves with sums in float32 that a processor starts in a cycle, by compute capability; of 9.0 as mma.sync reaches them. */
const products: Readonly<Record<number, number>> = { 80: 1024, 86: 256, 87: 512, 89: 256, 90: 1280, 100: 1024, 120: 512 };
export const matrixOf = (capability: number): MatrixUnit => ({ dtypes: ['bf16', 'f16'], products: products[capability] ?? 512 });

/** Lanes of float32 that a processor has: 8.0 has half as many as those after it. */
export const lanesOf = (capability: number): number => (capability === 80 ? 64 : 128);

/** Products of warp groups: wgmma is there in 9.0 and in no other. */
export const wgmmaOf = (capability: number): { readonly wgmma?: MatrixUnit } =>
  capability === 90 ? { wgmma: { dtypes: ['bf16', 'f16'], products: 2048 } } : {};
/** What code is compiled for: of 9.0 with what later ones do not have. */
export const architectureOf = (capability: number): string => `sm_${capability}${capability === 90 ? 'a' : ''}`;

const common = {
  name: 'cuda',
  maxThreads: 1024,
  subgroup: 32,
  vectorBytes: 16,
  registers: 255,
  bf16Dot: false,
  maxBuffers: 64,
  alignment: 256,
} as const;

export const gpus: Readonly<Record<'sm_80' | 'sm_90a', Target>> = {
  sm_80: {
    ...common,
    workers: 108,
    sharedBytes: 163 << 10,
    matrix: matrixOf(80),
    cacheBytes: { l1: 192 << 10, l2: 40 << 20 },
    peak: { flops: 19.5e12, bytes: 2.04e12 },
  },
  sm_90a: {
    ...common,
    workers: 132,
    sharedBytes: 227 << 10,
    matrix: matrixOf(90),
    ...wgmmaOf(90),
    cacheBytes: { l1: 256 << 10, l2: 50 << 20 },
    peak: { flops: 66.9e12, bytes: 3.35e12 },
  },
};
