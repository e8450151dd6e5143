/** Laws of K on random kernels: text reads back, simplify keeps every bit and is idempotent in meaning, order does not matter. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { simplifyKernel } from '../../compiler/kernel/simplify.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { indexKernels, kernels, memoryOf } from './kernels.ts';

const run = (k: Kernel, order: 'forward' | 'reverse' | { seed: number } = 'forward') => {
  const m = memoryOf();
  interpretKernel(k, m, { order });
  return m;
};

describe('random kernels', () => {
  it('are well formed, and their text reads back', () => {
    fc.assert(
      fc.property(kernels, (k) => {
        verifyKernel(k);
        const text = printKernel(k);
        const again = parseKernel(text);
        expect(again).toEqual(k);
        expect(printKernel(again)).toBe(text);
      }),
      { seed: 1, numRuns: 200 },
    );
  });
  it('compute the same in every order of blocks', () => {
    fc.assert(
      fc.property(kernels, fc.nat(), (k, seed) => {
        const forward = run(k);
        expect(run(k, 'reverse')).toEqual(forward);
        expect(run(k, { seed })).toEqual(forward);
      }),
      { seed: 2, numRuns: 60 },
    );
  });
  it('compute the same bits after simplify, once and twice', () => {
    fc.assert(
      fc.property(kernels, (k) => {
        const s = verifyKernel(simplifyKernel(k));
        const expected = run(k);
        expect(run(s)).toEqual(expected);
        expect(run(verifyKernel(simplifyKernel(s)))).toEqual(expected);
      }),
      { seed: 3, numRuns: 200 },
    );
  }, 60_000);
  it('keep every index, wherever ranges end', () => {
    const indices = (k: Kernel): Int32Array => {
      const y = new Int32Array(1500).fill(-1);
      interpretKernel(k, { y });
      return y;
    };
    fc.assert(
      fc.property(indexKernels, (k) => {
        verifyKernel(k);
        expect(indices(verifyKernel(simplifyKernel(k)))).toEqual(indices(k));
      }),
      { seed: 6, numRuns: 400 },
    );
  }, 60_000);
  it('leave something to check: most of them store numbers', () => {
    const busy = fc.sample(kernels, { seed: 4, numRuns: 100 }).filter((k) => run(k).y.some((v) => v !== 0 && Number.isFinite(v)));
    expect(busy.length).toBeGreaterThan(20);
  });
});
