/** Fetches, mbarriers and products of warp groups as CUDA: the bits of the interpreter in the emulator, and its faults in every order of threads. */
import { expect, test, vi } from 'vitest';
import { compileAll, compilerOf, imageOf } from '../../backends/cuda/cubins.ts';
import { buildEmulator } from '../../backends/cuda/emulator/build.ts';
import { printCuda } from '../../backends/cuda/index.ts';
import { loadDriver, loadNvrtc } from '../../backends/cuda/libraries.ts';
import { bindNvrtc } from '../../backends/cuda/nvrtc.ts';
import { openDevice } from '../../backends/cuda/open.ts';
import { load } from '../../backends/cuda/runtime.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { bitsOf } from '../../compiler/kernel/scalar.ts';
import { planOf, runOn } from '../cpu/helper.ts';
import { faults, fetched, operandsOf, pipeline } from '../kernel/wgmma.ts';
import { emulated, emulator } from './emulated.ts';

test('what they look like', () => {
  const { text, sharedBytes } = printCuda(parseKernel(pipeline('bf16', true)));
  expect(text.split('\n').filter((l) => /__global__|TENSOR|fv_(mb|ex|aw|fe|wg|co|wa|ar|re|li)|WARP|SHARED/.test(l))).toMatchInlineSnapshot(`
    [
      "extern "C" __global__ void __launch_bounds__(256, 1) FV_KERNEL(FV_PARTS(3, 1), FV_TENSORS(2)) {",
      "  FV_SHARED(u16, left, 0, 8192)",
      "  FV_SHARED(u16, right, 16384, 8192)",
      "  FV_SHARED(u64, full, 32768, 2)",
      "  fv_mbarrier(full, 2, 1);",
      "  FV_SHARED(u64, empty, 32896, 2)",
      "  fv_mbarrier(empty, 2, 4);",
      "  FV_SHARED(f32, tile, 33024, 2048)",
      "  FV_TENSOR(as, 0)",
      "  FV_TENSOR(bs, 1)",
      "    fv_registers<24, false>();",
      "        fv_await(empty, slot, (1 - ((panel / 2) % 2)));",
      "        fv_expect(full, slot, 16384);",
      "        fv_fetch(left, (slot * 4096), as, full, slot, 0, kp);",
      "        fv_fetch(right, (slot * 4096), bs, full, slot, 0, kp);",
      "    fv_registers<240, false>();",
      "      fv_await(full, slot_1, ((panel_1 / 2) % 2));",
      "      fv_fence();",
      "        fv_wgmma_bf16<1, 1>(fv_lines<1>(left, ((slot_1 * 4096) + (part * 1024)), 4096), fv_lines<1>(right, ((slot_1 * 4096) + (part * 1024)), 4096), s0, s1, s2, s3);",
      "      fv_commitProducts();",
      "      fv_waitProducts<0>();",
      "      fv_arrive(empty, slot_1);",
      "    const fv_vec<i32, 8> places = (((fv_rows(b_thread) * fv_splat<8>(32)) + fv_columns(b_thread)) + fv_splat<8>((warp * 512)));",
      "    FV_WARP_BARRIER();",
      "FV_EXPORT_TENSORS(FV_KERNEL, 3, 1, 2)",
    ]
  `);
  expect(sharedBytes).toBe(41216);
});

emulated('the emulator', () => {
  test.each([
    ['bf16', false],
    ['f16', false],
    ['bf16', true],
    ['f16', true],
  ] as const)('adds products of %s, turned: %s, as the interpreter does, in every order', async (of, turned) => {
    const k = parseKernel(pipeline(of, turned));
    const y = new Float32Array(2048);
    interpretKernel(k, { ...operandsOf(of, turned), y });
    for (const device of [0, 1, 2]) expect(await runOn(await emulator({ device }), [k], operandsOf(of, turned))).toEqual({ y });
  });

  test('fetches lines whose chunks take turns', async () => {
    const a = Uint16Array.from({ length: 1024 }, (_, i) => bitsOf(i % 256, 'bf16'));
    for (const device of [0, 1, 2])
      expect(await runOn(await emulator({ device }), [parseKernel(fetched)], { a })).toEqual({
        y: Float32Array.from({ length: 1024 }, (_, i) => i % 256),
      });
  });
  test('has tensors of its own for each part of a launch', async () => {
    const one = parseKernel(pipeline('bf16'));
    const other = { ...one, buffers: one.buffers.map((b) => ({ ...b, name: `${b.name}2` })) };
    const apart = planOf([one, other]);
    const [launch] = apart.launches;
    const plan = { ...apart, kernels: [one], launches: launch ? [{ ...launch, parts: apart.launches.flatMap((l) => l.parts) }] : [] };
    const executable = await (await emulator()).prepare(plan);
    const { a, b } = operandsOf('bf16');
    const negative = a.map((x) => x ^ 0x8000);
    [a, b, undefined, negative, b].forEach((data, i) => data && executable.write(i, data));
    await executable.run();
    const [y, z] = [await executable.read(0), await executable.read(1)] as Float32Array[];
    executable.dispose();
    expect(y?.some((v) => v !== 0)).toBe(true);
    expect(z?.map((v) => 0 - v)).toEqual(y?.map((v) => v + 0));
  });

  const text = pipeline('bf16');
  const run = async (device: number, changed: string): Promise<unknown> =>
    runOn(await emulator({ device }), [parseKernel(changed)], operandsOf('bf16'));
  test.each(faults)('finds %s', async (_, from, to, says) => {
    for (const device of [0, 1, 2])
      await expect(run(device, text.replace(from, to))).rejects.toMatchObject({ code: 'FV0313', message: expect.stringMatching(says) });
  });
  /** What a kernel gives whose text is changed after it was printed. */
  const damaged = async (turned: boolean, from: string, to: string): Promise<Float32Array> => {
    const k = parseKernel(pipeline('bf16', turned));
    const { path, version } = await buildEmulator();
    const printed = printCuda(k);
    const prelude = printed.prelude.map((piece) => piece.replaceAll(from, to));
    if (from !== to) expect(prelude).not.toEqual(printed.prelude);
    const codes = await compileAll([{ ...printed, prelude }], compilerOf(bindNvrtc(loadNvrtc(path)), 'sm_90a', version));
    const executable = await load(openDevice(loadDriver(path), 0), planOf([k]), [printed], codes, {
      poison: undefined,
      check: false,
      imageOf,
    });
    try {
      const { a, b } = operandsOf('bf16', turned);
      executable.write(0, a);
      executable.write(1, b);
      await executable.run();
      return (await executable.read(0)) as Float32Array;
    } finally {
      executable.dispose();
    }
  };
  // 64 bits that say where a matrix lies, as the PTX ISA has them: the emulator reads nothing else
  test.each([
    ['atoms at half their distance', '(u64)64 << 32', '(u64)32 << 32'],
    ['no swizzle', '| (u64)1 << 62', ''],
    ['a swizzle of 64 bytes', '(u64)1 << 62', '(u64)2 << 62'],
    ['a swizzle of 32 bytes', '(u64)1 << 62', '(u64)3 << 62'],
    ['an address in words', '& 0x3ffff) >> 4) |', '& 0x3ffff) >> 2) |'],
  ])('is given a descriptor with %s: wrong numbers or a fault', async (name, from, to) => {
    for (const turned of [false, true]) {
      const right = await damaged(turned, '', '');
      expect(right.some((v) => v !== 0)).toBe(true);
      const got = await damaged(turned, from, to).catch((e: unknown) => e);
      if (got instanceof Float32Array) expect(got, name).not.toEqual(right);
      else expect(got).toMatchObject({ code: 'FV0313' });
    }
  });
  test('is told of a pattern that begins elsewhere', async () => {
    await expect(damaged(false, '| (u64)1 << 62', '| (u64)1 << 62 | (u64)1 << 49')).rejects.toMatchObject({
      message: expect.stringMatching(/multiplies left from the middle of a pattern of lines on, and the descriptor does not say so/),
    });
  });
  test('finds a tensor whose lines are not turned', async () => {
    vi.stubEnv('FOVEA_EMULATED_FAULT', 'no swizzle');
    try {
      await expect(run(0, text)).rejects.toMatchObject({
        message: expect.stringMatching(/fetches lines to left, and the tensor is not swizzled by 128 bytes/),
      });
    } finally {
      vi.unstubAllEnvs();
    }
  });
  test('finds warp groups that ask for more registers than there are', async () => {
    const three = 'kernel three(y: f32[384] write) grid=[1 1 1] threads=384 {\n  registers 176\n  store y[thread] = 1:f32\n}';
    await expect(runOn(await emulator(), [parseKernel(three)], {})).rejects.toMatchObject({
      message: expect.stringMatching(/warp groups ask for 67584 registers of 64512/),
    });
    expect(await runOn(await emulator(), [parseKernel(three.replace('176', '168'))], {})).toEqual({ y: new Float32Array(384).fill(1) });
  });
  test('poisons sums that are under way', async () => {
    const early = text
      .replace('    var s1', '    var early: f32.8 = 0:f32.8\n    var s1')
      .replace('      wait.products 0\n', '      set early = s0\n      wait.products 0\n')
      .replace('store tile[places] = s0', 'store tile[places] = early');
    const got = (await run(0, early)) as { y: Float32Array };
    expect(got.y.some(Number.isNaN)).toBe(true);
  });
});
