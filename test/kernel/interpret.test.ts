/** The interpreter: what K means, and every fault it must report. Kernels are written as text. */
import { describe, expect, it } from 'vitest';
import { body } from '../../compiler/kernel/build.ts';
import * as e from '../../compiler/kernel/expr.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { foldCast } from '../../compiler/kernel/scalar.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';

const f32 = (n: number, f: (i: number) => number = () => 0): Float32Array => Float32Array.from({ length: n }, (_, i) => f(i));
const kernel = (text: string) => verifyKernel(parseKernel(text));
/** Runs a kernel whose only buffer is y: f32[n] readwrite. */
const run = (body: string, { n = 8, grid = '1 1 1', threads = 1, order = 'forward' as 'forward' | 'reverse' } = {}): number[] => {
  const y = f32(n);
  interpretKernel(kernel(`kernel t(y: f32[${n}] readwrite) grid=[${grid}] threads=${threads} {\n${body}\n}\n`), { y }, { order });
  return [...y];
};

describe('values', () => {
  it('round f32 after every operation, and fma once', () => {
    // (1 + 2^-12)^2 - 1 - 2^-11 = 2^-24, which only the fused form keeps
    const [a, c] = [1 + 2 ** -12, -(1 + 2 ** -11)];
    expect(
      run(`let a: f32 = ${a}:f32\nvar b: f32 = a\nstore y[0] = add(mul(b, b), ${c}:f32)\nstore y[1] = fma(b, b, ${c}:f32)`).slice(0, 2),
    ).toEqual([0, 2 ** -24]);
  });
  it('add products of bf16 pairs, the odd one first, each rounded', () => {
    // 2^24 + 1 is a tie that rounds to 2^24: what comes first is lost, or not
    const half = (x: number): string => `cast.bf16(splat.2(${x}:f32))`;
    const pair = 'cast.bf16(load.2 y[0])';
    const sums = (a: number, b: number, z: number): number =>
      run(`store y[0] = ${a}:f32\nstore y[1] = ${b}:f32\nstore y[2] = dot2(${pair}, ${half(1)}, ${z}:f32)`)[2] as number;
    expect(sums(2 ** 24, 1, 0)).toBe(2 ** 24);
    expect(sums(-(2 ** 24), 1, 2 ** 24)).toBe(0);
    expect(sums(1, -(2 ** 24), 2 ** 24)).toBe(1);
    // one pair for every lane
    const to = Array.from({ length: 4 }, (_, i) => `store y[${i}] = ${i + 1}:f32`).join('\n');
    expect(run(`${to}\nstore y[4] = dot2(${pair}, cast.bf16(load.4 y[0]), splat.2(0.5:f32))`).slice(4, 6)).toEqual([5.5, 11.5]);
  });
  it('wrap integers', () => {
    const y = new Int32Array(2);
    const u = new Uint32Array(2);
    const k = kernel(`kernel t(y: i32[2] write, u: u32[2] write) grid=[1 1 1] threads=1 {
      var a: i32 = 2147483647:i32
      var b: u32 = 4294967295:u32
      store y[0] = add(a, 1:i32)
      store y[1] = mul(a, a)
      store u[0] = add(b, 2:u32)
      store u[1] = mul(b, b)
    }`);
    interpretKernel(k, { y, u });
    expect([...y, ...u]).toEqual([-2147483648, 1, 1, 1]);
  });
  it('round to bf16 and f16 to nearest, ties to even', () => {
    expect(foldCast(1 + 2 ** -8, 'f32', 'bf16')).toBe(1);
    expect(foldCast(1 + 3 * 2 ** -8, 'f32', 'bf16')).toBe(1 + 2 ** -6);
    expect(foldCast(1 + 2 ** -8 + 2 ** -20, 'f32', 'bf16')).toBe(1 + 2 ** -7);
    expect(foldCast(1 + 2 ** -11, 'f32', 'f16')).toBe(1);
    expect(foldCast(1 + 3 * 2 ** -11, 'f32', 'f16')).toBe(1 + 2 ** -9);
    expect(foldCast(65520, 'f32', 'f16')).toBe(Infinity);
    expect(foldCast(2 ** -25, 'f32', 'f16')).toBe(0);
    expect(foldCast(3 * 2 ** -25, 'f32', 'f16')).toBe(2 ** -23);
  });
  it('reduce lanes by a pairwise tree', () => {
    // ((1 + 2^24) + (-2^24 + 1)) by halves: lanes 0 and 2, 1 and 3
    const x = [2 ** 24, 1, -(2 ** 24), 1];
    const store = x.map((v, i) => `store y[${i}] = ${v}:f32`).join('\n');
    expect(run(`${store}\nstore y[4] = across.add(load.4 y[0])`)[4]).toBe(2);
  });
  it('take lanes by turns, of which a transposition is made', () => {
    expect([...run('store y[0] = zip.low(cast.f32(ramp.4(0)), cast.f32(ramp.4(10)))').slice(0, 4)]).toEqual([0, 10, 1, 11]);
    expect([...run('store y[0] = zip.high(cast.f32(ramp.4(0)), cast.f32(ramp.4(10)))').slice(0, 4)]).toEqual([2, 12, 3, 13]);
    for (const n of [2, 4, 8, 16]) {
      const k = body(['x', 'y']);
      const rows = Array.from({ length: n }, (_, i) => k.let('r', e.load({ name: 'x', dtype: 'f32' }, i * n, n)));
      e.transposed(rows, (r) => k.let('z', r)).forEach((r, i) => k.store({ name: 'y', dtype: 'f32' }, i * n, r));
      const buffer = (name: string, access: 'read' | 'write') => ({ name, dtype: 'f32' as const, size: n * n, access });
      const buffers = [buffer('x', 'read'), buffer('y', 'write')];
      const kernel = verifyKernel({ name: 'turn', buffers, grid: [1, 1, 1], threads: 1, body: k.done() });
      const [x, y] = [Float32Array.from({ length: n * n }, (_, i) => i), new Float32Array(n * n)];
      interpretKernel(kernel, { x, y });
      expect([...y]).toEqual(Array.from({ length: n * n }, (_, i) => (i % n) * n + Math.floor(i / n)));
    }
  });
  it('leave masked lanes alone and read 0 for them', () => {
    const body = `store y[0] = 7:f32.4
      let m: bool.4 = lt(ramp.4(0), 2:index.4)
      store y[0 if m] = add(load.4 y[2 if m], 1:f32.4)
      store y[6 if m] = load.4 y[6 if lt(ramp.4(0), 1:index.4)]`;
    expect(run(body)).toEqual([8, 8, 7, 7, 0, 0, 0, 0]);
  });
  it('gather and scatter by an index vector', () => {
    expect(
      run('store y[0] = cast.f32(ramp.8(0))\nstore y[sub(7:index.8, ramp.8(0))] = load.8 y[rem(ramp.8(0), 3:index.8)]').slice(),
    ).toEqual([1, 0, 2, 1, 0, 2, 1, 0]);
  });
  it('share arrays between the threads of a block, in step between barriers', () => {
    const body = `alloc s: f32[4] shared
      store s[thread] = cast.f32(thread)
      barrier
      for i = 0 to 2 step 1 {
        let v: f32 = load s[rem(add(thread, 1), 4)]
        barrier
        store s[thread] = v
        barrier
      }
      store y[add(mul(block.0, 4), thread)] = load s[thread]`;
    for (const order of ['forward', 'reverse'] as const)
      expect(run(body, { grid: '2 1 1', threads: 4, order })).toEqual([2, 3, 0, 1, 2, 3, 0, 1]);
  });
  it('are exchanged by threads in step, and memory is as it was', () => {
    const body = `var v: f32 = cast.f32(thread)
      for i = 0 to 2 step 1 {
        exchange near: f32 = v by 1
        exchange far: f32 = near by 4
        set v = add(far, 10:f32)
      }
      store y[thread] = v`;
    for (const order of ['forward', 'reverse'] as const)
      expect(run(body, { threads: 8, order })).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((t) => t + 20));
    const text = `kernel t(y: f32[8] readwrite) grid=[1 1 1] threads=8 {\n  exchange a: f32 = 1:f32 by 4\n  store y[thread] = a\n}\n`;
    expect(printKernel(kernel(text))).toBe(text);
  });
});

describe('faults', () => {
  const faults: readonly (readonly [string, string, RegExp, { readonly grid?: string; readonly threads?: number }?])[] = [
    [
      'an exchange taken for a barrier',
      'alloc s: f32[2] shared\nstore s[thread] = 1:f32\nexchange a: f32 = 1:f32 by 1\nstore y[thread] = load s[sub(1, thread)]',
      /race: load s\[\d\]|never written/,
      { threads: 2 },
    ],
    ['a store past the end', 'store y[8] = 0:f32', /store y\[8\] is out of bounds \(8 elements\)/],
    ['the last lane past the end', 'store y[0] = load.4 y[5]', /load y\[8\] is out of bounds/],
    ['a negative index', 'store y[sub(block.0, 1)] = 0:f32', /store y\[-1\] is out of bounds/],
    [
      'an array element never written',
      'alloc t: f32[4] register\nstore t[0] = 1:f32\nstore y[0] = load t[1]',
      /t\[1\] reads an element that was never written/,
    ],
    [
      'an array of the round before',
      'for i = 0 to 2 step 1 {\nalloc t: f32[1] register\nif lt(i, 1) {\nstore t[0] = 1:f32\n}\nstore y[i] = load t[0]\n}',
      /never written/,
    ],
    ['two blocks writing one element', 'store y[0] = 1:f32', /race: store y\[0\]/, { grid: '2 1 1' }],
    ['a block reading what another wrote', 'store y[block.0] = load y[0]', /race/, { grid: '2 1 1' }],
    [
      'a block writing what another read',
      'store y[sub(1, block.0)] = load y[sub(1, block.0)]\nstore y[4] = load y[1]',
      /race/,
      { grid: '2 1 1' },
    ],
    [
      'a read without a barrier',
      'alloc s: f32[4] shared\nstore s[thread] = 1:f32\nstore y[thread] = load s[rem(add(thread, 1), 4)]',
      /never written|race/,
      { threads: 4 },
    ],
    [
      'a write without a barrier',
      'alloc s: f32[2] shared\nstore s[thread] = 1:f32\nbarrier\nlet v: f32 = load s[sub(1, thread)]\nstore s[thread] = v',
      /race/,
      { threads: 2 },
    ],
    ['a division by zero', 'for i = 0 to 1 step 1 {\nstore y[div(4, i)] = 0:f32\n}', /div\(4, 0\) is undefined/],
  ];
  it.each(faults.map((f) => [f[0], f] as const))('reports %s', (_name, [, body, message, options]) => {
    expect(() => run(body, options)).toThrow(message);
  });
  it('reports a buffer that is too short', () => {
    expect(() => interpretKernel(kernel('kernel t(y: f32[4] write) grid=[1 1 1] threads=1 {\n}'), { y: f32(3) })).toThrow(
      /y takes 4 elements, got 3/,
    );
  });
  it('reports threads that wait at a barrier others never reach', () => {
    // verify refuses this kernel, so it is run unverified
    const k = parseKernel('kernel t(y: f32[4] write) grid=[1 1 1] threads=2 {\nif lt(thread, 1) {\nbarrier\n}\n}');
    expect(() => interpretKernel(k, { y: f32(4) })).toThrow(/1 of 2 threads ended while others wait at a barrier/);
  });
});
