/**
 * What NVIDIA's compiler makes of the kernels that have PTX in them, and of those that have none, for both architectures: they compile, nothing spills, no array
 * becomes memory, and registers stay within a budget. By NVRTC where it is found, else by nvcc; neither needs a GPU. All kernels of a program: bench/registers.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { compileAll, compilerOf, logOf } from '../../backends/cuda/cubins.ts';
import { gpus, printCuda, type Usage, usageOf } from '../../backends/cuda/index.ts';
import { loadNvrtc } from '../../backends/cuda/libraries.ts';
import { bindNvrtc, type Nvrtc } from '../../backends/cuda/nvrtc.ts';
import { findNvcc } from '../../bench/nvcc.ts';
import { passesFor } from '../../compiler/compile.ts';
import { parse } from '../../compiler/graph/parse.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { lowerGemmWgmma } from '../../compiler/tile/gemm-wgmma.ts';
import { attention } from '../tile/attention.ts';
import { kernelOf, type Problem, spec } from '../tile/gemm.ts';

const compiler: Nvrtc | undefined = await (async () => {
  try {
    return bindNvrtc(loadNvrtc());
  } catch {
    return findNvcc();
  }
})();
if (!compiler)
  console.warn(
    "skipped: neither NVRTC (Python's package nvidia-cuda-nvrtc-cu12) nor nvcc, which would compile kernels for sm_80 and sm_90a",
  );

/** The kernels of a graph for an architecture. */
const kernelsOf = (graph: Graph, architecture: keyof typeof gpus, precision: 'f32' | 'bf16'): readonly Kernel[] => {
  const final = passesFor(precision).reduce((g, [, pass]) => pass(g), graph);
  return buildPlan(final, gpus[architecture], { donated: final.results.map(() => -1), maxBytes: Number.POSITIVE_INFINITY }).kernels;
};
const layer = parse(`graph (%0 x: f32[2056 384], %1 w: f32[1536 384], %2 b: f32[1536]) {
  %3: f32[2056 1536] = dot(%0, %1) batch=[][] contract=[1][1] dtype=f32
  %4: f32[2056 1536] = broadcast(%2) shape=[2056 1536] axes=[1]
  %5: f32[2056 1536] = add(%3, %4)
  %6: f32[2056 1536] = tanh(%5)
  return %6
}`);
const pointwise = parse(`graph (%0 x: f32[2056 384], %1 y: f32[2056 384]) {
  %2: f32[2056 384] = exp(%0)
  %3: f32[2056 384] = mul(%2, %1)
  %4: f32[2056] = reduceSum(%3) axes=[1]
  %5: f32[384] = reduceMax(%3) axes=[0]
  return %3, %4, %5
}`);
const wide = (bm: number, bn: number, x: Problem['a'], w: Problem['b']): Kernel => {
  const p: Problem = { batch: [], m: 2056, n: 1536, k: 384, a: x, b: w, dtype: 'bf16', shared: false, even: 8 };
  return { ...kernelOf(p, spec(p), (s) => lowerGemmWgmma(s, { bm, bn, stages: 3 })), name: `gemm_${bm}_${bn}_${x}_${w}` };
};

(compiler ? describe : describe.skip)('kernels as machine code', () => {
  const cache = mkdtempSync(join(tmpdir(), 'fovea-cubins-'));
  afterAll(() => {
    rmSync(cache, { recursive: true, force: true });
  });
  /** Compiles as the backend does, and reads what it keeps. */
  const compiled = async (kernels: readonly Kernel[], architecture: string): Promise<readonly (Usage & { readonly name: string })[]> => {
    vi.stubEnv('FOVEA_CACHE', cache);
    try {
      const codes = await compileAll(
        kernels.map((k) => printCuda(k)),
        compilerOf(compiler as Nvrtc, architecture, undefined, 16),
      );
      return await Promise.all(
        codes.map(async (c, i) => ({ name: (kernels[i] as Kernel).name, ...(usageOf(await logOf(c), c.symbol) as Usage) })),
      );
    } finally {
      vi.unstubAllEnvs();
    }
  };
  const budget = 240;
  const within = (all: readonly (Usage & { readonly name: string })[]): void => {
    expect(all.filter((u) => u.spilled > 0 || u.stack > 0 || u.registers > budget || u.warnings.length > 0)).toEqual([]);
    // what the log does not have would be 0
    expect(all.every((u) => u.registers >= 8)).toBe(true);
  };

  test('products of warp groups, of every width and in both layouts, on sm_90a', async () => {
    const all = [64, 128, 256].flatMap((bn) => [wide(bn === 256 ? 128 : 64, bn, 'inner', 'inner'), wide(128, bn, 'outer', 'outer')]);
    within(await compiled(all, 'sm_90a'));
  });
  test.each(['sm_80', 'sm_90a'] as const)(
    'contractions, attention and its gradients of bf16, maps and reductions, on %s',
    async (architecture) => {
      const some = [
        ...kernelsOf(layer, architecture, 'bf16'),
        ...kernelsOf(attention(512, 512, 64), architecture, 'bf16').filter((k) => /stream/.test(k.name)),
        ...kernelsOf(pointwise, architecture, 'f32'),
      ];
      expect(some.some((k) => /stream_grad/.test(k.name)) && some.some((k) => /reduce/.test(k.name))).toBe(true);
      within(await compiled(some, architecture));
    },
  );
});
