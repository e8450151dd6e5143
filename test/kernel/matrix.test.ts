/** What warps do together, and copies that take their time: the products, what verify refuses, and what the interpreter says of kernels that do not wait. */
import { describe, expect, it } from 'vitest';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { bitsOf, toBf16, toF16 } from '../../compiler/kernel/scalar.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { exchanged, product } from './matrix.ts';

const numbers = (of: 'bf16' | 'f16', salt: number): readonly number[] =>
  Array.from({ length: 256 }, (_, i) => (of === 'bf16' ? toBf16 : toF16)(Math.fround((((i + 1) * 2654435761 + salt) % 4093) / 512 - 4)));

const run = (text: string, of: 'bf16' | 'f16' = 'bf16', warps = 1, order: 'forward' | 'reverse' | { seed: number } = 'forward') => {
  const y = new Float32Array(256 * warps);
  const host = (salt: number) => Uint16Array.from(numbers(of, salt), (v) => bitsOf(v, of));
  interpretKernel(verifyKernel(parseKernel(text)), { a: host(1), b: host(2), y }, { order });
  return y;
};

describe('16 x 16 products', () => {
  it.each([
    ['bf16', false, 1],
    ['f16', true, 1],
    ['bf16', true, 2],
  ] as const)('of %s, turned: %s, in %i warps', (of, turned, warps) => {
    const text = product(of, turned, warps);
    expect(printKernel(parseKernel(printKernel(parseKernel(text))))).toBe(printKernel(parseKernel(text)));
    const [a, b] = [numbers(of, 1).map((v, i) => (i < 251 ? v : 0)), numbers(of, 2)];
    const element = (x: readonly number[], line: number, p: number): number => x[turned ? 16 * p + line : 16 * line + p] as number;
    for (const order of ['forward', 'reverse', { seed: 3 }] as const)
      run(text, of, warps, order).forEach((got, i) => {
        const [row, column] = [(i >> 4) % 16, i % 16];
        const sum = Array.from({ length: 16 }, (_, p) => element(a, row, p) * element(b, column, p)).reduce((x, y) => x + y, 0);
        expect(got).toBe(Math.fround(sum));
      });
  });
});

describe('numbers of neighbours', () => {
  it('become one by a tree of exchanges', () => {
    const x = Float32Array.from({ length: 64 }, (_, i) => ((i * 37) % 64) / 4);
    const [y, z] = [new Float32Array(64), new Uint32Array(256)];
    interpretKernel(verifyKernel(parseKernel(exchanged)), { x, y, z }, { order: { seed: 2 } });
    y.forEach((v, t) => {
      expect(v).toBe(Math.max(...x.subarray(t & ~7, (t & ~7) + 8)));
      const bits = bitsOf(toF16((x[t] as number) + (x[t ^ 1] as number)), 'f16');
      expect([...z.subarray(4 * t, 4 * t + 4)]).toEqual(Array(4).fill(bits * 0x10001));
    });
    expect(printKernel(parseKernel(printKernel(parseKernel(exchanged))))).toBe(printKernel(parseKernel(exchanged)));
  });
});

describe('what is refused', () => {
  const text = product('bf16', false, 2);
  it.each([
    ['fragments of another type', 'alloc left: bf16', 'alloc left: f16', /left holds f16, and a bf16/],
    ['sums that are none', 'var sums: f32.8 = 0:f32.8', 'let sums: f32.8 = 0:f32.8', /sums is no variable of f32.8/],
    ['words that are no fragment', 'mma.bf16 sums = x, z', 'mma.bf16 sums = x, 0:u32.8', /is u32.8, not a fragment/],
    ['a part of a warp', 'threads=64', 'threads=48', /48 threads are no whole number of warps/],
    ['threads that part', '  fragment z =', '  if lt(thread, 32) { barrier }\n  fragment z =', /depends on the thread/],
    ['warps that part', 'mma.bf16 sums = x, z', 'if lt(thread, 16) { mma.bf16 sums = x, z }', /a warp parts before what it does together/],
    ['copies of 32 bytes', 'copy.8 right', 'copy.16 right', /16 elements of bf16 are not 4, 8 or 16 bytes/],
    ['copies from what is written', 'a: bf16[256] read', 'a: bf16[256] readwrite', /a is no buffer that is read only/],
  ])('%s', (_, from, to, says) => {
    expect(text).toContain(from);
    expect(() => run(text.replace(from, to), 'bf16', 2)).toThrow(says);
  });
});

describe('what the interpreter finds', () => {
  const text = product('bf16', false, 2);
  it.each([
    ['no wait', '  wait 0\n', '', /load left\[\d+\], where a copy of thread \d+ is under way/],
    ['a wait for too little', 'wait 0', 'wait 1', /load left\[\d+\], where a copy of thread \d+ is under way/],
    ['a group that is not closed', '  commit\n', '', /load left\[\d+\], where a copy of thread \d+ is under way/],
    ['no barrier', '  barrier\n', '', /race: load (left|right)|load (left|right)\[\d+\] reads an element that was never written/],
    [
      'a store where a copy is under way',
      '  commit\n',
      '  commit\n  store left[mul(rem(thread, 32), 8)] = 0:bf16\n',
      /store left\[\d+\], where a copy|race: store left/,
    ],
    [
      'two copies to one place',
      '  commit\n',
      '  if lt(thread, 32) { copy.8 left[mul(thread, 8)] = a[0] }\n  commit\n',
      /store left\[\d+\], where a copy/,
    ],
    [
      'copies to the middle of a place',
      'copy.8 left[mul(thread, 8)]',
      'copy.8 left[add(mul(thread, 8), 4)]',
      /copies 8 elements to left\[\d+\]/,
    ],
    [
      'a line that is none',
      'fragment x = left[',
      'fragment x = left[add(4, 0)] fragment u = left[',
      /left\[4\] is no start of eight elements/,
    ],
    [
      'copies that nobody waits for',
      '  store y',
      '  if lt(thread, 1) { copy.8 left[0] = a[0] }\n  store y',
      /race: store left|ends while copies to left are under way/,
    ],
  ])('%s', (_, from, to, says) => {
    expect(text).toContain(from);
    for (const order of ['forward', 'reverse', { seed: 5 }] as const)
      expect(() => run(text.replace(from, to), 'bf16', 2, order)).toThrow(says);
  });
});
