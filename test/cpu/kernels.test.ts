/** Whole kernels in C against the kernel interpreter: index arithmetic, loops and stores, where every bit has to agree. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printParts } from '../../backends/cpu/index.ts';
import { body } from '../../compiler/kernel/build.ts';
import * as e from '../../compiler/kernel/expr.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { indexKernels } from '../kernel/kernels.ts';
import { runC } from './helper.ts';

test('random kernels of index arithmetic give the same integers', async () => {
  const kernels = fc.sample(indexKernels, { seed: 8, numRuns: 30 }).map((k, n) => {
    // one plan for all: a buffer of its own for each
    const text = printKernel({ ...k, name: `k${n}` }).replace(/\by(?=[:[])/g, `y${n}`);
    return verifyKernel(parseKernel(text));
  });
  const got = await runC(kernels, {});
  for (const [n, k] of kernels.entries()) {
    const y = new Int32Array(1500);
    interpretKernel(k, { [`y${n}`]: y });
    expect(got[`y${n}`]).toEqual(y);
  }
});

test('only the innermost loops of the kernel itself are kept out of the auto-vectoriser', () => {
  const place = { name: 'y', dtype: 'f32' } as const;
  const b = body(['y']);
  b.for('i', 0, 4, 1, (i) => b.for('j', 0, 4, 1, (j) => b.store(place, e.add(e.mul(i, 4), j), e.f32(1))));
  b.for('k', 16, 20, 1, (k) => b.store(place, k, e.f32(2)), 'unroll');
  const kernel = {
    name: 'loops',
    buffers: [{ ...place, size: 20, access: 'write' as const }],
    grid: [1, 1, 1] as const,
    threads: 1,
    body: b.done(),
  };
  expect(printParts(kernel, 'loops')[1]).toMatchInlineSnapshot(`
    "void loops(void *const *bufs, i64 lo, i64 hi) {
      f32 *const y = bufs[0];
      for (i64 b = lo; b < hi; b++) {
        const i64 b_0 = b, b_1 = 0, b_2 = 0;
        for (i64 i = 0L; i < 4L; i += 1) {
          for (i64 j = 0L; j < 4L; j += 1) {
            FV_AS_WRITTEN
            y[((i * 4L) + j)] = 1.0f;
          }
        }
        FV_UNROLL(4)
        for (i64 k = 16L; k < 20L; k += 1) {
          y[k] = 2.0f;
        }
      }
    }
    "
  `);
});
