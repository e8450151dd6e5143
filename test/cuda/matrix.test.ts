/** Matrix units and asynchronous copies in the emulator: the bits of the kernel interpreter, and faults that it has to find in every order of threads. */
import { expect, test } from 'vitest';
import { printCuda } from '../../backends/cuda/index.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { bitsOf } from '../../compiler/kernel/scalar.ts';
import { runOn } from '../cpu/helper.ts';
import { exchanged, product } from '../kernel/matrix.ts';
import { emulated, emulator } from './emulated.ts';

const inputs = (of: 'bf16' | 'f16') => {
  const host = (salt: number) =>
    Uint16Array.from({ length: 256 }, (_, i) => bitsOf(Math.fround(((((i + 1) * 2654435761 + salt) % 4093) - 2000) / 300), of));
  return { a: host(1), b: host(2) };
};

test('what they look like', () => {
  const { text } = printCuda(parseKernel(product('f16', true)));
  expect(text.split('\n').filter((l) => /fragment|mma|copy|commit|wait/.test(l))).toMatchInlineSnapshot(`
    [
      "    fv_copy<8>(left, (b_thread * 8), a, (b_thread * 8), some);",
      "    fv_copy<8>(right, (b_thread * 8), v_b, (b_thread * 8), 8);",
      "  fv_commit();",
      "  fv_wait<0>();",
      "  const fv_vec<u32, 4> x = fv_fragment<true>(left, ((((b_thread % 8) + (((b_thread % 32) / 16) * 8)) * 16) + (((b_thread / 8) % 2) * 8)));",
      "  const fv_vec<u32, 4> z = fv_fragment<true>(right, (((b_thread % 16) * 16) + (((b_thread % 32) / 16) * 8)));",
      "  fv_mma_f16(sums, x, z);",
    ]
  `);
});

emulated('the emulator', () => {
  test.each([
    ['bf16', false, 1, 0],
    ['f16', false, 3, 1],
    ['bf16', true, 2, 2],
  ] as const)('multiplies %s, turned: %s, in %i warps, as the interpreter does, on device %i', async (of, turned, warps, device) => {
    const k = parseKernel(product(of, turned, warps));
    const y = new Float32Array(256 * warps);
    interpretKernel(k, { ...inputs(of), y });
    expect(await runOn(await emulator({ device }), [k], inputs(of))).toEqual({ y });
  });

  test('exchanges numbers of neighbours as the interpreter does', async () => {
    const x = Float32Array.from({ length: 64 }, (_, i) => ((i * 37) % 64) / 4);
    const [y, z] = [new Float32Array(64), new Uint32Array(256)];
    interpretKernel(parseKernel(exchanged), { x, y, z });
    for (const device of [0, 1, 2]) {
      const got = await runOn(await emulator({ device, poison: 0 }), [parseKernel(exchanged)], { x });
      expect(got).toEqual({ y, z });
    }
  });

  const text = product('bf16', false, 2);
  test.each([
    ['no wait', '  wait 0\n', '', /reads (left|right)\[\d+\] of shared memory, where a copy of thread \d+ is under way/],
    ['a wait for too little', 'wait 0', 'wait 1', /reads (left|right)\[\d+\] of shared memory, where a copy of thread \d+ is under way/],
    ['a group that is not closed', '  commit\n', '', /where a copy of thread \d+ is under way/],
    ['no barrier', '  barrier\n', '', /reads \w+\[\d+\] of shared memory, which (nobody wrote|thread \d+ touched)|where a copy of thread/],
    [
      'a store where a copy is under way',
      '  commit\n',
      '  commit\n  store left[mul(rem(thread, 32), 8)] = 0:bf16\n',
      /writes left\[\d+\] of shared memory, where a copy of thread \d+ is under way|writes left\[\d+\] of shared memory, which thread/,
    ],
    [
      'a copy over what others read',
      '  var sums',
      '  copy.8 left[mul(rem(thread, 32), 8)] = a[0]\n  commit\n  wait 0\n  var sums',
      /writes left\[\d+\] of shared memory, which (thread \d+|other threads) touched/,
    ],
    [
      'copies to the middle of a place',
      'copy.8 left[mul(thread, 8)]',
      'copy.8 left[add(mul(thread, 8), 4)]',
      /takes 8 elements of left from \d+ on at once|copies to left\[259\]/,
    ],
    [
      'copies from the middle of a place',
      '= a[mul(thread, 8) of',
      '= a[add(mul(rem(thread, 31), 8), 4) of',
      /takes 8 elements of a from \d+ on at once/,
    ],
    ['copies past the end', '= b[mul(thread, 8)]', '= b[add(mul(thread, 8), 8)]', /thread 31: copies v_b\[256\], which has 256 elements/],
    [
      'copies that nobody waits for',
      '  store y',
      '  barrier\n  if lt(thread, 1) { copy.8 left[0] = a[0] }\n  store y',
      /ends while copies to left are under way/,
    ],
    [
      'a warp that parts',
      '  mma.bf16 sums = x, z\n',
      '  if lt(thread, 40) { mma.bf16 sums = x, z }\n',
      /thread 3[2-9] waits for mma, and others of its warp do not come/,
    ],
  ])('finds %s', async (_, from, to, says) => {
    expect(text).toContain(from);
    for (const device of [0, 1, 2])
      await expect(runOn(await emulator({ device }), [parseKernel(text.replace(from, to))], inputs('bf16'))).rejects.toMatchObject({
        code: 'FV0313',
        message: expect.stringMatching(says),
      });
  });
});
