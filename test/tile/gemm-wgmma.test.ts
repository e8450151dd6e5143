/**
 * The gemm template for warp groups against float64: ragged sizes, both ways that an operand may lie, batches, any legal schedule; its bits are those of the
 * template for matrix units of warps. Kernels run in the checking interpreter, so panels that nobody waited for, or that are fetched to too early, fail as well.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gpus } from '../../backends/cuda/gpus.ts';
import type { MatrixUnit, Target } from '../../compiler/target.ts';
import { lowerGemmMatrix } from '../../compiler/tile/gemm-matrix.ts';
import type { GemmSpec } from '../../compiler/tile/gemm-spec.ts';
import { lowerGemmWgmma } from '../../compiler/tile/gemm-wgmma.ts';
import { ofWarps, unitChooser, type WgmmaSchedule, wgmmaChooser, wgmmaFor } from '../../compiler/tile/gemm-wgmma-schedule.ts';
import { check, type Lower, type Problem, run, spec } from './gemm.ts';

const target: Target = gpus.sm_90a;
const by =
  (schedule: WgmmaSchedule): Lower =>
  (s) =>
    lowerGemmWgmma(s, schedule);
const narrow: Lower = (s) => lowerGemmMatrix(s, { bm: 32, bn: 32, bk: 16, wm: 16, wn: 16, stages: 2 });

const units = fc.constantFrom<Problem['a']>('outer', 'inner');
const problem = fc.record<Problem>({
  batch: fc.constantFrom<readonly number[]>([], [], [2], [1, 2]),
  m: fc.integer({ min: 1, max: 80 }),
  n: fc.integer({ min: 1, max: 50 }),
  k: fc.integer({ min: 1, max: 150 }),
  a: units,
  b: units,
  dtype: fc.constantFrom<Problem['dtype']>('f16', 'bf16'),
  shared: fc.boolean(),
  even: fc.constantFrom(8, 16),
});
const schedules = fc.record<WgmmaSchedule>({
  bm: fc.constantFrom(64, 64, 128),
  bn: fc.constantFrom(64, 64, 128),
  stages: fc.constantFrom(2, 3),
});

describe('gemm for warp groups', () => {
  it('sums what float64 sums, whatever the schedule', () => {
    fc.assert(
      fc.property(problem, schedules, (p, s) => {
        expect(wgmmaFor(spec(p), target)).toBe(target.wgmma);
        check(p, by(s));
      }),
      { seed: 8, numRuns: 10 },
    );
  }, 60_000);

  it('makes the bits of matrix units of warps, whatever the schedule', () => {
    for (const a of ['inner', 'outer'] as const) {
      const p: Problem = {
        batch: [2],
        m: 70,
        n: 72,
        k: 100,
        a,
        b: a === 'inner' ? 'outer' : 'inner',
        dtype: 'bf16',
        shared: true,
        even: 8,
      };
      const one = run(p, spec(p), narrow).out;
      expect(run(p, spec(p), by({ bm: 64, bn: 64, stages: 2 })).out).toEqual(one);
      expect(run(p, spec(p), by({ bm: 128, bn: 128, stages: 3 })).out).toEqual(one);
    }
  }, 30_000);
});

describe('schedules for warp groups', () => {
  const of = (m: number, n: number, k: number): GemmSpec =>
    spec({ batch: [], m, n, k, a: 'inner', b: 'inner', dtype: 'bf16', shared: false, even: 8 });
  const chooser = (s: GemmSpec, t: Target = target) => unitChooser(s, t, t.matrix as MatrixUnit, 'gemm');
  it('are taken where there is enough to do, and those of warps where there is not', () => {
    const sizes: readonly (readonly [number, number, number])[] = [
      [16448, 4096, 1024],
      [16448, 1024, 4096],
      [8192, 8192, 8192],
    ];
    for (const [m, n, k] of sizes) expect(chooser(of(m, n, k)).first()).toMatchObject({ bm: 128, bn: expect.toSatisfy((x) => x >= 128) });
    for (const [m, n, k] of [
      [16, 16, 16],
      [40, 24, 64],
    ] as const)
      expect(ofWarps(chooser(of(m, n, k)).first())).toBe(true);
    expect(ofWarps(chooser(of(8192, 8192, 8192), gpus.sm_80).first())).toBe(true);
  });
  it('read back, of either kind', () => {
    const sizes = fc.integer({ min: 1, max: 5000 });
    fc.assert(
      fc.property(sizes, sizes, sizes, (m, n, k) => {
        const c = chooser(of(m, n, k));
        for (const s of c.ranking().slice(0, 3)) expect(c.read({ ...s } as never)).toEqual(s);
      }),
      { seed: 3, numRuns: 40 },
    );
  });
  it('are refused with the reason', () => {
    const read = (record: object): unknown =>
      wgmmaChooser(of(512, 512, 512), target, target.wgmma as MatrixUnit, 'gemm').read(record as never);
    const good = { bm: 128, bn: 256, stages: 4 };
    expect(read(good)).toEqual(good);
    expect(read({ ...good, bm: 256 })).toBe('bm is 256, and one or two warp groups make 64 rows each');
    expect(read({ ...good, bn: 96 })).toBe('bn is 96, and not one of 64 128 256');
    expect(read({ ...good, stages: 1 })).toBe('1 stages, and there are 2 to 8');
    expect(read({ ...good, stages: 5 })).toBe('it takes 266496 bytes of shared memory, and there are 232448');
    expect(chooser(of(512, 512, 512)).read({ bm: 16, bn: 16, bk: 16, wm: 32, wn: 16, stages: 2 })).toMatch(/the tile of a warp is larger/);
  });
  it('are for operands of which boxes can be fetched', () => {
    const s = of(64, 64, 64);
    const a = (change: Partial<GemmSpec['a']>): GemmSpec => ({ ...s, a: { ...s.a, ...change } });
    expect(wgmmaFor(s, target)).toBe(target.wgmma);
    // a start, a line, a batch that is no multiple of 16 bytes; lines that overlap; no consecutive numbers; nothing to add; another type
    expect(wgmmaFor(a({ base: 4 }), target)).toBeUndefined();
    expect(wgmmaFor(a({ outer: 68 }), target)).toBeUndefined();
    expect(wgmmaFor({ ...a({ batch: [4] }), batch: [2] }, target)).toBeUndefined();
    expect(wgmmaFor(a({ outer: 56 }), target)).toBeUndefined();
    expect(wgmmaFor(a({ inner: 2, outer: 128 }), target)).toBeUndefined();
    expect(wgmmaFor({ ...s, k: 0 }, target)).toBeUndefined();
    expect(wgmmaFor(a({ dtype: 'f32' }), target)).toBeUndefined();
    expect(wgmmaFor(s, gpus.sm_80)).toBeUndefined();
    // batches along four axes, unless the operand is the same for all
    const batch = [2, 2, 2, 2];
    const other = { ...s.b, batch: [0, 0, 0, 0] };
    expect(wgmmaFor({ ...s, batch, b: other, a: { ...s.a, batch: [512, 256, 128, 64] } }, target)).toBeUndefined();
    expect(wgmmaFor({ ...s, batch, b: other, a: { ...s.a, batch: [0, 256, 128, 64] } }, target)).toBe(target.wgmma);
  });
});
