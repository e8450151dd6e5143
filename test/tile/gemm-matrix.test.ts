/**
 * The gemm template for matrix units against float64: ragged sizes, every layout and alignment of operands, batches, any legal schedule. Kernels run in the
 * checking interpreter, so copies that nobody waited for, elements outside of a buffer and elements written twice fail as well.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gpus } from '../../backends/cuda/gpus.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import type { MatrixUnit, Target } from '../../compiler/target.ts';
import { lowerGemmMatrix } from '../../compiler/tile/gemm-matrix.ts';
import { type MatrixSchedule, matrixChooser, matrixFor } from '../../compiler/tile/gemm-matrix-schedule.ts';
import type { GemmSpec } from '../../compiler/tile/gemm-spec.ts';
import { linesOf } from '../../compiler/tile/matrix-tile.ts';

import { check, kernelOf, type Lower, type Problem, run, spec } from './gemm.ts';

const target: Target = gpus.sm_80;
const chooser = (s: GemmSpec, t: Target = target) => matrixChooser(s, t, t.matrix as MatrixUnit, 'gemm');
const chosen: Lower = (s) => lowerGemmMatrix(s, chooser(s).first());
const by =
  (schedule: MatrixSchedule): Lower =>
  (s) =>
    lowerGemmMatrix(s, schedule);

const units = fc.constantFrom<Problem['a']>('outer', 'inner', 'neither');
const problem = fc.record<Problem>({
  batch: fc.constantFrom<readonly number[]>([], [], [2], [2, 3]),
  m: fc.integer({ min: 1, max: 40 }),
  n: fc.integer({ min: 1, max: 40 }),
  k: fc.integer({ min: 0, max: 70 }),
  a: units,
  b: units,
  dtype: fc.constantFrom<Problem['dtype']>('f16', 'bf16'),
  shared: fc.boolean(),
  even: fc.constantFrom(1, 2, 4, 8),
});
const schedules = fc
  .record({
    wm: fc.constantFrom(16, 32),
    wn: fc.constantFrom(16, 32),
    down: fc.constantFrom(1, 2),
    over: fc.constantFrom(1, 2),
    bk: fc.constantFrom(16, 32, 64),
    stages: fc.constantFrom(2, 3, 4),
  })
  .map(({ wm, wn, down, over, bk, stages }): MatrixSchedule => ({ bm: wm * down, bn: wn * over, bk, wm, wn, stages }));

describe('gemm for matrix units', () => {
  it('sums what float64 sums, whatever the schedule', () => {
    fc.assert(
      fc.property(problem, schedules, (p, s) => check(p, by(s))),
      { seed: 8, numRuns: 40 },
    );
  }, 60_000);

  it.each(['outer', 'inner', 'neither'] as const)('takes every layout and alignment with the schedule it chooses: a %s', (a) => {
    for (const b of ['outer', 'inner', 'neither'] as const)
      for (const even of [1, 2, 8]) check({ batch: [], m: 35, n: 50, k: 37, a, b, dtype: 'bf16', shared: false, even }, chosen);
  });

  it('keeps the bits when the schedule changes', () => {
    const p: Problem = { batch: [2], m: 40, n: 33, k: 90, a: 'inner', b: 'outer', dtype: 'f16', shared: true, even: 8 };
    const one = run(p, spec(p), by({ bm: 16, bn: 16, bk: 16, wm: 16, wn: 16, stages: 2 })).out;
    expect(run(p, spec(p), by({ bm: 64, bn: 32, bk: 64, wm: 32, wn: 32, stages: 3 })).out).toEqual(one);
    expect(run(p, spec(p), chosen).out).toEqual(one);
  });

  it('copies as many bytes at a time as strides allow', () => {
    const copies = (even: number): readonly number[] => {
      const p: Problem = { batch: [], m: 32, n: 32, k: 32, a: 'inner', b: 'outer', dtype: 'bf16', shared: false, even };
      return [...printKernel(kernelOf(p, spec(p), chosen)).matchAll(/copy\.(\d+)/g)].map((m) => Number(m[1]));
    };
    // lines of 32 numbers from an odd start, and the other way round
    for (const even of [2, 4, 8]) expect(new Set(copies(even))).toContain(even);
    expect(copies(1)).toEqual([]);
    // starts, lines and batches all count
    const piece = (base: number, batch: readonly number[], line: number): number => linesOf({ base, batch, outer: line, inner: 1 }).piece;
    expect([piece(8, [], 64), piece(4, [], 64), piece(8, [], 37), piece(8, [34], 64), piece(8, [0, 64], 4)]).toEqual([8, 4, 1, 2, 4]);
  });
});

describe('schedules for matrix units', () => {
  const of = (m: number, n: number, k: number): GemmSpec =>
    spec({ batch: [], m, n, k, a: 'inner', b: 'inner', dtype: 'bf16', shared: false, even: 8 });
  it('fit, and leave no processor idle where there is enough to do', () => {
    const sizes = fc.integer({ min: 1, max: 5000 });
    fc.assert(
      fc.property(sizes, sizes, sizes, fc.constantFrom(...Object.values(gpus)), (m, n, k, t) => {
        const s = chooser(of(m, n, k), t).first();
        expect(chooser(of(m, n, k), t).read({ ...s })).toEqual(s);
        if (m >= 2048 && n >= 2048) expect(Math.ceil(m / s.bm) * Math.ceil(n / s.bn)).toBeGreaterThanOrEqual(t.workers);
      }),
      { seed: 3, numRuns: 60 },
    );
  });
  it('are refused with the reason', () => {
    const read = (record: object): unknown => chooser(of(64, 64, 64)).read(record as never);
    const good = { bm: 64, bn: 64, bk: 32, wm: 32, wn: 32, stages: 3 };
    expect(read(good)).toEqual(good);
    expect(read({ ...good, bm: 48 })).toBe('bm is 48, and tiles are powers of two, from 16 on');
    expect(read({ ...good, wm: 128 })).toBe('the tile of a warp is larger than that of its block');
    expect(read({ ...good, stages: 1 })).toBe('1 stages, and there are 2 to 8');
    expect(read({ ...good, bm: 512 })).toBe('32 warps a block are too many');
    expect(read({ ...good, bm: 128, bn: 128, wm: 128, wn: 64 })).toBe('128 x 64 sums do not fit the registers of a warp');
    expect(read({ ...good, bk: 512 })).toMatch(/^it takes 402432 bytes of shared memory, and there are 166912$/);
    expect(read({ ...good, lanes: 4 })).toBe('there is no lanes');
  });
  it('are for halves of one type, on targets that have the unit', () => {
    const s = of(8, 8, 8);
    const { matrix: _, ...without } = target;
    expect(matrixFor(s, target)).toBe(target.matrix);
    expect(matrixFor(s, without)).toBeUndefined();
    expect(matrixFor({ ...s, a: { ...s.a, dtype: 'f32' } }, target)).toBeUndefined();
    expect(matrixFor({ ...s, a: { ...s.a, dtype: 'f16' } }, target)).toBeUndefined();
  });
});
