/** Plans end to end: statements, arrays, thread counts, constants, and what is refused while a run is in progress. */
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { cpu, printC, printParts } from '../../backends/cpu/index.ts';
import { poolSource } from '../../backends/cpu/pool.ts';
import { buildLibrary } from '../../backends/cpu/toolchain.ts';
import { body } from '../../compiler/kernel/build.ts';
import * as e from '../../compiler/kernel/expr.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import type { Kernel, Stmt } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { planOf, runC } from './helper.ts';

const f32 = (name: string) => ({ name, dtype: 'f32' }) as const;
const noise = (n: number, seed: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898 + seed) * 3);

/** c = a b for 24 x 40 by 40 x 32: a tile of 6 x 32 a block, accumulators in a register array. */
const matmul = (): Kernel => {
  const [m, k, n, rows] = [24, 40, 32, 6];
  const b = body(['a', 'b', 'c']);
  const acc = b.alloc('acc', 'register', 'f32', rows * n);
  const tile = (f: (r: e.ExprOf<'ref'>, j: e.ExprOf<'ref'>) => void): void =>
    b.for('r', 0, rows, 1, (r) => b.for('j', 0, n, 16, (j) => f(r as e.ExprOf<'ref'>, j as e.ExprOf<'ref'>), 'unroll'), 'unroll');
  tile((r, j) => b.store(acc, e.add(e.mul(r, n), j), e.f32(0, 16)));
  b.for('p', 0, k, 1, (p) =>
    tile((r, j) => {
      const at = b.let('at', e.add(e.mul(r, n), j));
      const left = e.splat(e.load(f32('a'), e.add(e.mul(e.add(e.mul(e.block(0), rows), r), k), p)), 16);
      b.store(acc, at, e.fma(left, e.load(f32('b'), e.add(e.mul(p, n), j), 16), e.load(acc, at, 16)));
    }),
  );
  tile((r, j) => b.store(f32('c'), e.add(e.mul(e.add(e.mul(e.block(0), rows), r), n), j), e.load(acc, e.add(e.mul(r, n), j), 16)));
  return verifyKernel({
    name: 'matmul',
    buffers: [
      { name: 'a', dtype: 'f32', size: m * k, access: 'read' },
      { name: 'b', dtype: 'f32', size: k * n, access: 'read' },
      { name: 'c', dtype: 'f32', size: m * n, access: 'write' },
    ],
    grid: [m / rows, 1, 1],
    threads: 1,
    body: b.done(),
  });
};

/** Statements of every kind on a 3-dimensional grid, names that C would not take, and an in-place buffer. */
const statements = (): Kernel => {
  const b = body(['double', 'lo', 'out']);
  const [x, y, z] = [e.block(0), e.block(1), e.block(2)];
  const at = b.let('int', e.add(e.add(x, e.mul(y, 3)), e.mul(z, 6)));
  const v = b.var('t0', e.load(f32('double'), at));
  const flags = b.alloc('flags', 'shared', 'bool', 4);
  const words = b.alloc('words', 'register', 'index', 4);
  b.for('i', 0, 4, 1, (i) => {
    b.store(flags, i, e.lt(e.rem(e.add(i, at), 3), 1));
    b.store(words, i, e.mul(i, at));
  });
  b.barrier();
  b.for('for', e.rem(at, 2), e.add(e.rem(at, 5), 2), 2, (i) => {
    b.if(
      e.load(flags, e.rem(i, 4)),
      () => b.set(v, e.add(v, e.cast(e.load(words, e.rem(i, 4)), 'f32'))),
      () => b.if(e.lt(v, 0), () => b.set(v, e.neg(v))),
    );
  });
  b.store(f32('out'), at, e.mul(v, v));
  b.store(f32('lo'), at, e.add(e.load(f32('lo'), at), v), e.lt(v, 4));
  return verifyKernel({
    name: 'statements',
    buffers: [
      { name: 'double', dtype: 'f32', size: 24, access: 'read' },
      { name: 'lo', dtype: 'f32', size: 24, access: 'readwrite' },
      { name: 'out', dtype: 'f32', size: 24, access: 'write' },
    ],
    grid: [3, 2, 4],
    threads: 1,
    body: b.done(),
  });
};

/** Row sums with a dependent second kernel: any missing order between launches would show. */
const chain = (): readonly Kernel[] => {
  const sum = body(['x', 's']);
  const total = sum.var('total', e.f32(0, 8));
  sum.for('i', 0, 64, 8, (i) => sum.set(total, e.add(total, e.load(f32('x'), e.add(e.mul(e.block(0), 64), i), 8))));
  sum.store(f32('s'), e.block(0), e.across('add', total));
  const divide = body(['x', 's', 'y']);
  divide.for('i', 0, 64, 8, (i) => {
    const at = e.add(e.mul(e.block(0), 64), i);
    // the neighbour's sum, computed by another block of the launch before
    divide.store(f32('y'), at, e.div(e.load(f32('x'), at, 8), e.splat(e.load(f32('s'), e.rem(e.add(e.block(0), 17), 100)), 8)));
  });
  const x = { name: 'x', dtype: 'f32', size: 6400, access: 'read' } as const;
  const s = { name: 's', dtype: 'f32', size: 100 } as const;
  return [
    { name: 'sum', buffers: [x, { ...s, access: 'write' }], grid: [100, 1, 1], threads: 1, body: sum.done() },
    {
      name: 'divide',
      buffers: [x, { ...s, access: 'read' }, { name: 'y', dtype: 'f32', size: 6400, access: 'write' }],
      grid: [100, 1, 1],
      threads: 1,
      body: divide.done(),
    },
  ];
};

describe('plans', () => {
  test('a tile with its accumulators in an array', async () => {
    const [a, b] = [noise(24 * 40, 1), noise(40 * 32, 2)];
    const { c } = await runC([matmul()], { a, b });
    for (let i = 0; i < 24; i++)
      for (let j = 0; j < 32; j++) {
        let [want, size] = [0, 0];
        for (let p = 0; p < 40; p++) {
          const term = (a[i * 40 + p] as number) * (b[p * 32 + j] as number);
          want += term;
          size += Math.abs(term);
        }
        // a sum of 40 terms, one rounding of at most 2^-24 each: 40 * 2^-24 of the sum of magnitudes
        expect(Math.abs((c?.[i * 32 + j] as number) - want)).toBeLessThanOrEqual(size * 40 * 2 ** -24);
      }
  });

  test('statements', async () => {
    const k = statements();
    const data = { double: noise(24, 3), lo: noise(24, 4), out: new Float32Array(24) };
    const got = await runC([k], { double: data.double, lo: data.lo.slice() });
    interpretKernel(k, data);
    expect(got['out']).toEqual(data.out);
    expect(got['lo']).toEqual(data.lo);
  });

  test('the same bits with 1, 2 and 5 threads, run after run', async () => {
    const kernels = chain();
    const x = noise(6400, 5);
    const want = { x, s: new Float32Array(100), y: new Float32Array(6400) };
    for (const k of kernels) interpretKernel(k, want);
    for (const threads of [1, 2, 5]) {
      const exe = await cpu({ threads }).prepare(
        planOf(
          kernels,
          Array.from({ length: 40 }, (_, i) => i % 2),
        ),
      );
      expect(exe.threads).toBe(threads);
      exe.write(0, x);
      for (let n = 0; n < 20; n++) await exe.run();
      expect(exe.read(1)).toEqual(want.y);
      const times = await exe.profile();
      expect(times.length).toBe(40);
      expect(times.every((t) => t > 0)).toBe(true);
      const spans = exe.spans();
      expect(spans.map((s) => s.length)).toEqual(Array.from(times, () => threads));
      spans.forEach((each, i) => {
        for (const s of each) {
          expect(s.from).toBeGreaterThanOrEqual(0);
          expect(s.from + s.seconds).toBeLessThanOrEqual((times[i] as number) + 1e-9);
        }
        expect(each[0]?.seconds).toBeGreaterThan(0);
      });
      exe.dispose();
    }
  });

  test('constants are in the arena from the start, in every dtype', async () => {
    const b = body(['a', 'h', 'f', 'y']);
    const half = (name: string, dtype: 'bf16' | 'f16') => e.cast(e.load({ name, dtype }, e.block(0)), 'f32');
    b.store(f32('y'), e.block(0), e.select(e.load({ name: 'a', dtype: 'bool' }, e.block(0)), half('h', 'bf16'), half('f', 'f16')));
    const plan = planOf([
      {
        name: 'constants',
        buffers: [
          { name: 'a', dtype: 'bool', size: 3, access: 'read' },
          { name: 'h', dtype: 'bf16', size: 3, access: 'read' },
          { name: 'f', dtype: 'f16', size: 3, access: 'read' },
          { name: 'y', dtype: 'f32', size: 3, access: 'write' },
        ],
        grid: [3, 1, 1],
        threads: 1,
        body: b.done(),
      },
    ]);
    const data = [
      [1, 0, 1],
      [1.5, -2, 3.140625],
      [9, 0.5, 9],
    ];
    const exe = await cpu({ threads: 1 }).prepare({
      ...plan,
      constants: data.map((d, i) => ({ slot: plan.inputs[i] as (typeof plan.inputs)[number], data: d })),
    });
    await exe.run();
    expect([...exe.read(0)]).toEqual([1.5, 0.5, 3.140625]);
    exe.dispose();
  });

  test('a block may use more stack than koffi gives by default', async () => {
    const b = body(['x', 'y']);
    const big = b.alloc('big', 'shared', 'f32', 1 << 19);
    b.for('i', 0, 1 << 19, 1, (i) => b.store(big, i, e.cast(e.rem(e.add(i, e.block(0)), 7), 'f32')));
    b.store(f32('y'), e.block(0), e.load(big, e.cast(e.load(f32('x'), e.block(0)), 'index')));
    const kernel: Kernel = {
      name: 'stack',
      buffers: [
        { name: 'x', dtype: 'f32', size: 4, access: 'read' },
        { name: 'y', dtype: 'f32', size: 4, access: 'write' },
      ],
      grid: [4, 1, 1],
      threads: 1,
      body: b.done(),
    };
    expect([...((await runC([kernel], { x: Float32Array.of(0, 7, 700000 / 2, 2 ** 19 - 1) }))['y'] as Float32Array)]).toEqual(
      [0, 1, 2, (2 ** 19 + 2) % 7].map((v, i) => (i === 2 ? (350000 + 2) % 7 : v)),
    );
  });
});

test('many executables run at once, each with threads of its own', async () => {
  const warnings: Error[] = [];
  const listen = (w: Error): number => warnings.push(w);
  process.on('warning', listen);
  const all = await Promise.all(Array.from({ length: 16 }, (_, i) => cpu({ threads: 1 + (i % 3) }).prepare(planOf(chain()))));
  all.forEach((exe, i) => exe.write(0, noise(6400, i)));
  for (let n = 0; n < 3; n++) await Promise.all(all.map((exe) => exe.run()));
  for (const [i, exe] of all.entries()) {
    const want = { x: noise(6400, i), s: new Float32Array(100), y: new Float32Array(6400) };
    for (const k of chain()) interpretKernel(k, want);
    expect(exe.read(1)).toEqual(want.y);
    exe.dispose();
  }
  // warnings are emitted in a later turn of the event loop
  await new Promise((resolve) => setImmediate(resolve));
  process.removeListener('warning', listen);
  expect(warnings).toEqual([]);
  expect(process.listenerCount('exit')).toBeLessThan(10);
});

describe('misuse', () => {
  test('wrong data, use while running, use after dispose', async () => {
    const exe = await cpu({ threads: 2 }).prepare(planOf([matmul()]));
    const code = (f: () => unknown) => {
      try {
        f();
      } catch (x) {
        return `${(x as { code: string }).code}: ${(x as Error).message}`;
      }
      return 'nothing thrown';
    };
    expect(code(() => exe.write(0, new Float32Array(3)))).toBe('FV0305: input 0 has 960 elements (f32[960]), got 3');
    expect(code(() => exe.write(0, new Int32Array(960)))).toBe('FV0305: input 0 (f32) takes a Float32Array, got a Int32Array');
    expect(code(() => exe.write(7, new Int32Array(960)))).toBe('FV0305: input 7: there are 3');
    const running = exe.run();
    expect(code(() => exe.write(0, new Float32Array(960)))).toBe('FV0305: write: a run is in progress; await it first');
    expect(code(() => exe.read(0))).toMatch(/^FV0305: read: a run/);
    expect(code(() => exe.dispose())).toMatch(/^FV0305: dispose: a run/);
    await expect(exe.run()).rejects.toThrow(/run: a run is in progress/);
    await running;
    expect(exe.read(0).length).toBe(768);
    exe.dispose();
    exe.dispose();
    expect(code(() => exe.read(0))).toBe('FV0304: read: this executable was disposed');
    expect(code(() => exe.write(0, new Float32Array(960)))).toMatch(/^FV0304/);
    await expect(exe.run()).rejects.toThrow(/disposed/);
  });

  test('a read is a copy', async () => {
    const exe = await cpu({ threads: 1 }).prepare(planOf([matmul()]));
    exe.write(0, noise(960, 1));
    exe.write(1, noise(1280, 1));
    await exe.run();
    const first = exe.read(0);
    const kept = first.slice();
    exe.write(0, noise(960, 2));
    await exe.run();
    expect(first).toEqual(kept);
    expect(exe.read(0)).not.toEqual(kept);
    exe.dispose();
    expect(first).toEqual(kept);
  });
});

test('kernels of several threads are refused, the printed function is short', () => {
  const kernel: Kernel = {
    name: 'add',
    buffers: [
      { name: 'a', dtype: 'f32', size: 1024, access: 'read' },
      { name: 'c', dtype: 'bf16', size: 1024, access: 'write' },
    ],
    grid: [4, 1, 1],
    threads: 1,
    body: [
      {
        s: 'for',
        name: 'i',
        from: e.index(0),
        to: e.index(256),
        step: 16,
        kind: 'unroll',
        body: [
          { s: 'let', name: 'at', value: e.add(e.mul(e.block(0), 256), e.ref('i', 'index')) },
          {
            s: 'store',
            to: 'c',
            index: e.ref('at', 'index'),
            value: e.cast(e.mul(e.unary('exp', e.load(f32('a'), e.ref('at', 'index'), 16)), e.f32(0.1, 16)), 'bf16'),
            mask: e.lt(e.ramp(e.ref('at', 'index'), 16), 1000),
          },
        ],
      },
    ],
  };
  expect(() => printParts({ ...kernel, threads: 32 })).toThrow(/32 threads/);
  expect(printParts(kernel, 'add')[1]).toMatchInlineSnapshot(`
    "void add(void *const *bufs, i64 lo, i64 hi) {
      const f32 *const a = bufs[0];
      u16 *const c = bufs[1];
      for (i64 b = lo; b < hi; b++) {
        const i64 b_0 = b, b_1 = 0, b_2 = 0;
        FV_UNROLL(16)
        for (i64 i = 0L; i < 256L; i += 16) {
          const i64 at = ((b_0 * 256L) + i);
          fv_storeMasked_u16_x16(c + at, fv_f32_bf16_x16((fv_exp_x16(*(const f32x16u *)(a + at)) * (0.1f - (f32x16){}))), (fv_iota_x16() < fv_tail_x16(1000L - at)));
        }
      }
    }
    "
  `);
});

test('a node that is used often is printed once', () => {
  let big = e.load(f32('a'), e.block(0));
  for (let i = 0; i < 60; i++) big = e.mul(e.add(big, big), e.f32(0.5));
  const body: Stmt[] = [{ s: 'store', to: 'a', index: e.block(0), value: big }];
  const text = printC({
    name: 'deep',
    buffers: [{ name: 'a', dtype: 'f32', size: 1, access: 'readwrite' }],
    grid: [1, 1, 1],
    threads: 1,
    body,
  });
  expect(text.length).toBeLessThan(8000);
});

describe('the process ends', () => {
  const kernel: Kernel = {
    name: 'long',
    buffers: [{ name: 'a', dtype: 'f32', size: 64, access: 'readwrite' }],
    grid: [64, 1, 1],
    threads: 1,
    body: [
      {
        s: 'for',
        name: 'i',
        from: e.index(0),
        to: e.index(10 ** 6),
        step: 1,
        kind: 'serial',
        body: [{ s: 'store', to: 'a', index: e.block(0), value: e.unary('tanh', e.load(f32('a'), e.block(0))) }],
      },
    ],
  };
  /** A process of its own that loads the library, starts 4 threads, does `then`, and its exit status. */
  const child = async (then: string): Promise<number | null> => {
    const library = await buildLibrary(() => [{ name: 'long', prelude: [], body: printC(kernel) }], poolSource);
    const source = `
      import koffi from 'koffi';
      const lib = koffi.load(${JSON.stringify(library.path)});
      const map = lib.func('uintptr_t fv_map(int64_t bytes)');
      const base = BigInt(map(1 << 16));
      const words = new BigInt64Array(koffi.view(base, 1 << 16));
      // 1000 launches of about half a second each, of one part of 64 blocks on one buffer; the last words are that part and the buffer's address
      for (let i = 0; i < 1000; i++) words.set([koffi.address(lib.symbol(${JSON.stringify(library.symbols[0])})), 64n, base + 65512n, 1n], 4 * i);
      words.set([base + 65528n, 64n, base + 32768n], 8189);
      const pool = lib.func('uintptr_t fv_create(int threads, int spin)')(4, 2000);
      const run = lib.func('void fv_run(uintptr_t pool, uintptr_t table, int64_t n, uintptr_t seconds)');
      process.on('exit', () => lib.func('void fv_cancel(uintptr_t pool)')(pool));
      ${then}`;
    return spawnSync(process.execPath, ['--input-type=module', '-e', source], { timeout: 20_000 }).status;
  };
  test('with sleeping threads', async () => expect(await child('process.exitCode = 3;')).toBe(3));
  test('in the middle of a run', async () =>
    expect(await child('run.async(pool, base, 1000, 0n, () => {}); setTimeout(() => process.exit(4), 100);')).toBe(4));
});
