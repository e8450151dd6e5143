/**
 * The gemm template against float64: ragged sizes, every combination of unit strides, batches with stride 0, all
 * accumulator types, any legal schedule. The bound on a float32 sum of k products in any order is
 * k * 2^-24 * sum |a b| (to first order; one more factor of 2^-24 pays for higher orders). Kernels run in the checking
 * interpreter, so reads outside a buffer, unwritten panels and elements written by two blocks fail as well.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as e from '../../compiler/kernel/expr.ts';
import { bitsOf, numberOf } from '../../compiler/kernel/scalar.ts';
import type { Stmt } from '../../compiler/kernel/types.ts';
import type { Target } from '../../compiler/target.ts';
import { lowerGemm } from '../../compiler/tile/gemm.ts';
import { chooseGemm, type GemmSchedule } from '../../compiler/tile/gemm-schedule.ts';
import { lowerGemmShared } from '../../compiler/tile/gemm-shared.ts';
import { type SharedSchedule, sharedChooser } from '../../compiler/tile/gemm-shared-schedule.ts';
import type { GemmSpec } from '../../compiler/tile/gemm-spec.ts';
import {
  bound,
  check as checkBy,
  type Epilogue,
  type Lower,
  numbers,
  output,
  type Problem,
  place,
  run as runBy,
  spec,
  sum,
  visit,
} from './gemm.ts';

const target: Target = {
  name: 'test',
  workers: 2,
  maxThreads: 1,
  subgroup: 1,
  vectorBytes: 64,
  registers: 32,
  bf16Dot: true,
  sharedBytes: 0,
  maxBuffers: 64,
  alignment: 64,
  cacheBytes: { l1: 48 << 10, l2: 2 << 20 },
  peak: { flops: 4e11, bytes: 2e10 },
};

const groups: Target = { ...target, name: 'groups', workers: 32, maxThreads: 256, vectorBytes: 16, bf16Dot: false, sharedBytes: 16384 };
type AnySchedule = GemmSchedule | SharedSchedule;

/** A schedule of either kind, or none, as a way to lower. */
const lowered =
  (schedule?: AnySchedule): Lower =>
  (s) =>
    schedule && !('lanes' in schedule) ? lowerGemmShared(s, schedule) : lowerGemm(s, target, schedule);
const run = (p: Problem, s: GemmSpec, schedule?: AnySchedule) => runBy(p, s, lowered(schedule));
const check = (p: Problem, schedule?: AnySchedule): void => checkBy(p, lowered(schedule));

const units = fc.constantFrom<Problem['a']>('outer', 'inner', 'neither');
const problem = fc.record<Problem>({
  batch: fc.constantFrom<readonly number[]>([], [], [2], [2, 3]),
  m: fc.integer({ min: 1, max: 19 }),
  n: fc.integer({ min: 1, max: 37 }),
  k: fc.integer({ min: 0, max: 21 }),
  a: units,
  b: units,
  dtype: fc.constantFrom<Problem['dtype']>('f32', 'f32', 'f16', 'bf16', 'i32', 'u32'),
  shared: fc.boolean(),
});
const schedules = fc
  .record({
    tm: fc.integer({ min: 1, max: 5 }),
    tn: fc.integer({ min: 1, max: 3 }),
    lanes: fc.constantFrom(1, 2, 4, 8),
    rows: fc.integer({ min: 1, max: 3 }),
    columns: fc.integer({ min: 1, max: 3 }),
    bk: fc.integer({ min: 1, max: 24 }),
  })
  .map(({ tm, tn, lanes, rows, columns, bk }): GemmSchedule => ({ tm, tn, lanes, bm: rows * tm, bn: columns * tn * lanes, bk }));

describe('gemm', () => {
  it('sums what float64 sums, whatever the schedule', () => {
    fc.assert(
      fc.property(problem, schedules, (p, s) => check(p, s)),
      { seed: 7, numRuns: 150 },
    );
  });

  it.each(['outer', 'inner', 'neither'] as const)('takes every layout with the schedule it chooses: a %s', (a) => {
    for (const b of ['outer', 'inner', 'neither'] as const) check({ batch: [], m: 29, n: 50, k: 37, a, b, dtype: 'f32', shared: false });
  });

  it.each(['outer', 'inner', 'neither'] as const)('takes bf16 by pairs in every layout, odd and even: a %s', (a) => {
    for (const b of ['outer', 'inner', 'neither'] as const)
      for (const k of [1, 2, 36, 37]) check({ batch: [], m: 15, n: 50, k, a, b, dtype: 'bf16', shared: false });
  });

  it.each([
    ['f32', 40],
    ['bf16', 40],
    ['bf16', 41],
  ] as const)('keeps the bits when the schedule changes: %s, %i products', (dtype, k) => {
    const p: Problem = { batch: [2], m: 13, n: 21, k, a: 'inner', b: 'outer', dtype, shared: true };
    const s = spec(p);
    const one = run(p, s, { bm: 4, bn: 8, bk: 7, tm: 2, tn: 2, lanes: 4 }).out;
    const two = run(p, s, { bm: 15, bn: 48, bk: 40, tm: 5, tn: 3, lanes: 16 }).out;
    expect(one).toEqual(two);
  });

  it('gives every element to the epilogue once, with its row, column and batch', () => {
    const p: Problem = { batch: [3], m: 7, n: 19, k: 5, a: 'inner', b: 'inner', dtype: 'f32', shared: false };
    const withBias: Epilogue =
      (q) =>
      (at, total): readonly Stmt[] => {
        const bias = e.load({ name: 'bias', dtype: 'f32' }, at.col, at.lanes);
        return [{ s: 'store', to: 'out', index: place(q, at), value: e.max(e.add(total, bias), 0) }];
      };
    const s = spec(p, withBias);
    const r = run(p, s, { bm: 4, bn: 16, bk: 3, tm: 2, tn: 2, lanes: 8 });
    visit(p, s, r, (at, _row, col, products) => {
      const expected = Math.max(0, sum(products) + (r.bias[col] as number));
      // the addition of the bias rounds once more
      expect(Math.abs((r.out[at] as number) - expected)).toBeLessThanOrEqual(bound([...products, r.bias[col] as number]));
    });
  });

  it('says truly of which number a column is a multiple', () => {
    const p: Problem = { batch: [], m: 3, n: 45, k: 2, a: 'inner', b: 'inner', dtype: 'i32', shared: false };
    const modulo: Epilogue = (q) => (at) => [
      { s: 'store', to: 'out', index: place(q, at), value: e.splat(e.cast(e.rem(at.col, at.colMultiple), 'i32'), at.lanes) },
    ];
    const r = run(p, spec(p, modulo), { bm: 2, bn: 32, bk: 2, tm: 2, tn: 2, lanes: 8 });
    expect(r.out).toEqual(new Int32Array(output(p)));
  });
});

describe('chooseGemm', () => {
  const choose = (m: number, n: number, k: number, t: Target = target, a: Problem['a'] = 'inner'): GemmSchedule =>
    chooseGemm(spec({ batch: [], m, n, k, a, b: 'inner', dtype: 'f32', shared: false }), t);
  const sizes = fc.integer({ min: 1, max: 5000 });
  it('fits the registers, the second cache and the stack, and tiles whole register tiles', () => {
    const targets = fc.record({
      vectorBytes: fc.constantFrom(4, 16, 32, 64),
      registers: fc.constantFrom(8, 16, 32),
      workers: fc.integer({ min: 1, max: 128 }),
    });
    fc.assert(
      fc.property(sizes, sizes, sizes, targets, fc.constantFrom<Problem['a']>('inner', 'outer'), (m, n, k, t, a) => {
        const s = choose(m, n, k, { ...target, ...t }, a);
        expect(s.tm * s.tn + s.tn + 1).toBeLessThanOrEqual(t.registers);
        expect(s.bm % s.tm).toBe(0);
        expect(s.bn % (s.tn * s.lanes)).toBe(0);
        expect(s.lanes * 4).toBeLessThanOrEqual(t.vectorBytes);
        // the arrays of a block, against what the second cache holds (half a vector more for each tile of rows)
        const tile = s.bk < k ? s.bm * s.bn : s.tm * s.tn * s.lanes;
        const rows = a === 'outer' ? s.bm : s.tm;
        const one = s.bm === s.tm && s.bn === s.tn * s.lanes;
        if (!one) expect(4 * (rows * s.bk + s.bk * s.bn + tile)).toBeLessThanOrEqual(1.5 * target.cacheBytes.l2);
        expect(4 * (rows * (s.bk + 2) + s.bk * s.bn + tile)).toBeLessThanOrEqual(4 << 20);
      }),
      { seed: 3, numRuns: 300 },
    );
  });
  it('packs a large weight once where the rows are few: a block takes all of them', () => {
    for (const m of [78, 257]) expect(choose(m, 4608, 1536).bm).toBeGreaterThanOrEqual(m);
  });
  it('gives many workers enough blocks', () => {
    const s = choose(384, 1536, 6400, { ...target, workers: 16 });
    expect(Math.ceil(384 / s.bm) * Math.ceil(1536 / s.bn)).toBeGreaterThanOrEqual(16);
  });
});

const shared = fc
  .record({
    tm: fc.constantFrom(1, 2, 4),
    tn: fc.constantFrom(1, 2, 4, 8),
    down: fc.constantFrom(1, 2, 4),
    over: fc.constantFrom(1, 2, 4),
    bk: fc.constantFrom(1, 2, 4, 8, 16),
  })
  .map(({ tm, tn, down, over, bk }): SharedSchedule => ({ tm, tn, bm: down * tm, bn: over * tn, bk }));

describe('gemm of tiles in shared memory', () => {
  const chosen = (p: Problem, t: Target = groups): SharedSchedule => sharedChooser(spec(p), t, 'gemm').first();
  it('sums what float64 sums, whatever the schedule', () => {
    fc.assert(
      fc.property(problem, shared, (p, s) => check(p, s)),
      { seed: 7, numRuns: 80 },
    );
  });

  it.each(['outer', 'inner', 'neither'] as const)('takes every layout with the schedule it chooses: a %s', (a) => {
    for (const b of ['outer', 'inner', 'neither'] as const) {
      const p: Problem = { batch: [], m: 29, n: 50, k: 37, a, b, dtype: 'f32', shared: false };
      check(p, chosen(p));
    }
  });

  it('makes the bits that one thread makes', () => {
    const p: Problem = { batch: [2], m: 13, n: 21, k: 40, a: 'inner', b: 'outer', dtype: 'f32', shared: true };
    const one = run(p, spec(p), { bm: 4, bn: 8, bk: 7, tm: 2, tn: 2, lanes: 4 }).out;
    expect(run(p, spec(p), chosen(p)).out).toEqual(one);
    expect(run(p, spec(p), { bm: 2, bn: 8, bk: 16, tm: 1, tn: 4 }).out).toEqual(one);
  });

  it('chooses tiles that fit the threads and the memory of a block, and leaves no processor idle where there is enough to do', () => {
    const sizes = fc.integer({ min: 1, max: 5000 });
    const targets = fc.record({ maxThreads: fc.constantFrom(2, 32, 128, 256, 1024), sharedBytes: fc.constantFrom(8192, 16384, 49152) });
    fc.assert(
      fc.property(sizes, sizes, sizes, targets, (m, n, k, t) => {
        const s = chosen({ batch: [], m, n, k, a: 'inner', b: 'inner', dtype: 'f32', shared: false }, { ...groups, ...t });
        expect((s.bm / s.tm) * (s.bn / s.tn)).toBeLessThanOrEqual(t.maxThreads);
        // the panel of an operand whose lines run along k has four more a line
        expect(4 * s.bk * (s.bm + s.bn + 8)).toBeLessThanOrEqual(t.sharedBytes);
        if (m >= 1024 && n >= 1024) expect(Math.ceil(m / s.bm) * Math.ceil(n / s.bn)).toBeGreaterThanOrEqual(groups.workers);
      }),
      { seed: 3, numRuns: 100 },
    );
    expect(chosen({ batch: [], m: 2056, n: 1536, k: 384, a: 'inner', b: 'inner', dtype: 'f32', shared: false })).toMatchObject({
      bm: 64,
      bn: 128,
      tm: 4,
      tn: 8,
    });
  });

  it('refuses a record that is not legal, with the reason', () => {
    const p: Problem = { batch: [], m: 64, n: 64, k: 64, a: 'inner', b: 'inner', dtype: 'f32', shared: false };
    const read = (record: object): unknown => sharedChooser(spec(p), groups, 'gemm').read(record as never);
    const good = { bm: 32, bn: 32, bk: 16, tm: 4, tn: 4 };
    expect(read(good)).toEqual(good);
    expect(read({ ...good, bm: 33 })).toBe('bm is 33, and tiles are powers of two');
    expect(read({ ...good, tm: 64 })).toBe('the tile of a thread is larger than that of its block');
    expect(read({ ...good, tm: 1, tn: 1 })).toBe('1024 threads a block, and the target has 256 at most');
    expect(read({ ...good, bk: 512 })).toMatch(/^its panels take 147456 bytes of shared memory, and there are 16384$/);
    expect(read({ ...good, lanes: 4 })).toBe('there is no lanes');
  });
});

describe('half floats of the test data', () => {
  it('survive their bits', () => {
    for (const t of ['f16', 'bf16'] as const) for (const v of numbers(200, t, 1)) expect(numberOf(bitsOf(v, t), t)).toBe(v);
  });
});
