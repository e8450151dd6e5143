/** CUDA C++ in the emulator against the kernel interpreter, and what a kernel looks like. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printCuda } from '../../backends/cuda/index.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { runOn } from '../cpu/helper.ts';
import { differences } from '../kernel/expressions.ts';
import { indexKernels } from '../kernel/kernels.ts';
import { emulated, emulator } from './emulated.ts';

test('what a kernel looks like', () => {
  const k = parseKernel(`kernel half(x: bf16[64] read, y: bf16[64] write) grid=[2 2 1] threads=2 {
    alloc sums: f32[8] shared
    store sums[thread] = cast.f32(load x[thread])
    barrier
    for i = 0 to 16 step 4 {
      let at: index = add(mul(block.0, 16), i)
      store y[at] = cast.bf16(mul(cast.f32(load.4 x[at]), splat.4(load sums[0])))
    }
  }`);
  expect(printCuda(k, 4).text).toMatchInlineSnapshot(`
    "extern "C" __global__ void __launch_bounds__(2) FV_KERNEL(FV_PARTS(2, 4)) {
      i32 b_all = FV_BLOCK;
      int fv_p = 0;
      FV_UNROLL(1) for (int fv_s = 2; fv_s >= 1; fv_s /= 2) if (parts.at[fv_p + fv_s - 1].end <= b_all) fv_p += fv_s;
      if (fv_p > 0) b_all -= parts.at[fv_p - 1].end;
      FV_BUFFER(const u16, x, parts.at[fv_p].b[0], 64)
      FV_BUFFER(u16, y, parts.at[fv_p].b[1], 64)
      const i32 b_0 = b_all % 2;
      const i32 b_1 = b_all / 2;
      const i32 b_2 = 0;
      const i32 b_thread = FV_THREAD;
      FV_SHARED(f32, sums, 0, 8)
      sums[b_thread] = fv_bf16_f32((u16)x[b_thread]);
      FV_BARRIER();
      for (i32 i = 0; i < 16; i += 4) {
        const i32 at = ((b_0 * 16) + i);
        fv_storeWhole<4>(y, at, fv_f32_bf16((fv_bf16_f32(fv_loadWhole<4>(x, at)) * fv_splat<4>((f32)sums[0]))));
      }
    }
    FV_EXPORT(FV_KERNEL, 2, 4)
    "
  `);
  expect(printCuda(k).sharedBytes).toBe(128);
});

emulated('the emulator', () => {
  for (const lanes of [1, 2, 4])
    test(`expressions of ${lanes} lanes are those of the interpreter`, async () => {
      const on = await emulator({ poison: 0 });
      expect((await differences(lanes, (kernels, data) => runOn(on, kernels, data), false)).slice(0, 20)).toEqual([]);
    });

  test('random kernels of index arithmetic give the same integers', async () => {
    const kernels = fc.sample(indexKernels, { seed: 8, numRuns: 30 }).map((k, n) => {
      const text = printKernel({ ...k, name: `k${n}` }).replace(/\by(?=[:[])/g, `y${n}`);
      return verifyKernel(parseKernel(text));
    });
    const got = await runOn(await emulator({ poison: 0 }), kernels, {});
    for (const [n, k] of kernels.entries()) {
      const y = new Int32Array(1500);
      interpretKernel(k, { [`y${n}`]: y });
      expect(got[`y${n}`]).toEqual(y);
    }
  });
});
