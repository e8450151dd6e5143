/** What runs beside the threads: fetches, mbarriers and products of warp groups in the interpreter of K, against float64, and what it refuses. */
import { describe, expect, it } from 'vitest';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { bitsOf } from '../../compiler/kernel/scalar.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { expected, faults, fetched, operandsOf, pipeline } from './wgmma.ts';

const orders = ['forward', 'reverse', { seed: 3 }] as const;

describe('a pipeline of fetches and products', () => {
  it.each([
    ['bf16', false],
    ['f16', true],
  ] as const)('adds what float64 adds, of %s, turned: %s', (of, turned) => {
    const k = verifyKernel(parseKernel(pipeline(of, turned)));
    const wanted = expected(of, turned);
    for (const order of orders) {
      const y = new Float32Array(2048).fill(Number.NaN);
      interpretKernel(k, { ...operandsOf(of, turned), y }, { order });
      expect(wanted.findIndex(({ y: right, bound }, i) => !(Math.abs((y[i] as number) - right) <= bound))).toBe(-1);
    }
  });
  it('fetches lines whose chunks take turns', () => {
    const a = Uint16Array.from({ length: 1024 }, (_, i) => bitsOf(i % 256, 'bf16'));
    const y = new Float32Array(1024);
    interpretKernel(verifyKernel(parseKernel(fetched)), { a, y }, { order: 'reverse' });
    expect(y).toEqual(Float32Array.from({ length: 1024 }, (_, i) => i % 256));
  });
  it('reads back as it is written', () => {
    for (const turned of [false, true]) {
      const k = parseKernel(pipeline('bf16', turned));
      expect(parseKernel(printKernel(k))).toEqual(k);
    }
  });
  const text = pipeline('bf16');
  it.each(faults)('with %s is refused', (_, from, to, says) => {
    expect(text).toContain(from);
    const k = verifyKernel(parseKernel(text.replace(from, to)));
    for (const order of orders)
      expect(() => interpretKernel(k, { ...operandsOf('bf16'), y: new Float32Array(2048) }, { order })).toThrow(says);
  });
  it('gives sums that are under way to nobody', () => {
    const k = parseKernel(text.replace('      wait.products 0\n', '      set s1 = s0\n      wait.products 0\n'));
    expect(() => interpretKernel(k, { ...operandsOf('bf16'), y: new Float32Array(2048) })).toThrow(/s0 has no value/);
  });
});

describe('verify', () => {
  const text = pipeline('bf16');
  it.each([
    ['products of a warp', 'fence\n', 'if eq(div(thread, 32), 5) { fence }\n', /a warp group parts before what it does together/],
    [
      'an arrival of a thread',
      '      arrive empty[slot_1]\n',
      '      if eq(rem(thread, 32), 0) { arrive empty[slot_1] }\n',
      /a warp parts before/,
    ],
    ['a barrier in a role', '    barrier.warp\n', '    barrier\n', /a barrier in control flow that depends on the thread/],
    ['a line of other length', '136 by 1 box 64, 56', '136 by 1 box 32, 56', /a box of 32 x 64: lines have 64 elements/],
    ['strides that no fetch has', '56 by 136 box', '56 by 132 box', /strides 1 132 from 0/],
    ['lines that overlap', '56 by 136 box', '56 by 128 box', /strides 1 128 from 0/],
    ['a start that no fetch has', 'as = a[0]', 'as = a[4]', /strides 1 136 from 4/],
    ['axes that are missing', 'as[kp, 0]', 'as[kp]', /1 indices for 2 axes/],
    ['a tensor that is none', '= as[kp, 0]', '= a[kp, 0]', /a is no tensor of boxes/],
    ['no mbarrier', 'on full[slot]', 'on left[slot]', /left is no mbarrier/],
    ['sums of another type', 'var s0: f32.8 = 0:f32.8', 'var s0: f32.4 = 0:f32.4', /s0 is no variable of f32.8/],
    ['sums twice', 'wgmma.bf16 s0 s1', 'wgmma.bf16 s0 s0', /a variable stands twice/],
    [
      'half of turned lines',
      'right[add(mul(slot_1, 2048), mul(part, 16))]',
      'right[0] turned 4096',
      /32 columns of turned lines, which have 64 each/,
    ],
    ['halves of another type', 'wgmma.bf16', 'wgmma.f16', /left is no shared array of f16/],
    ['registers that there are not', 'registers 24', 'registers 20', /20 registers: a multiple of 8/],
    ['three quarters of a warp group', 'threads=256', 'threads=224', /224 threads are no whole number of warp groups/],
  ])('refuses %s', (_, from, to, says) => {
    expect(text).toContain(from);
    expect(() => verifyKernel(parseKernel(text.replace(from, to)))).toThrow(says);
  });
});
