/**
 * How a contraction is cut up for matrix units, as a plain record: what makes one legal, and the ranking. A step of a tile takes as long as its products,
 * its reads of shared memory or what comes from the cache that processors share, whichever is longest, for copies run beside the work. A processor wants some
 * warps to have something to do while others wait.
 *
 *   2056 x 1536 x 384 of bf16 on 132 processors      { bm: 128, bn: 128, bk: 32, wm: 64, wn: 32, stages: 3 }
 */
import { side, warp } from '../kernel/matrix.ts';
import type { MatrixUnit, Target } from '../target.ts';
import type { GemmSpec } from './gemm-spec.ts';
import { type Chooser, recordChooser } from './schedules.ts';

export interface MatrixSchedule {
  /** A block makes bm x bn results, of bk products at a time. */
  readonly bm: number;
  readonly bn: number;
  readonly bk: number;
  /** A warp makes wm x wn of them. */
  readonly wm: number;
  readonly wn: number;
  /** Panels that are in use or on their way. */
  readonly stages: number;
}

const names = ['bm', 'bn', 'bk', 'wm', 'wn', 'stages'] as const;
const cuts = (x: number, by: number): number => Math.ceil(x / by);
const power = (x: number): boolean => Number.isInteger(Math.log2(x));
const warps = ({ bm, bn, wm, wn }: MatrixSchedule): number => (bm / wm) * (bn / wn);
const sharedBytes = ({ bm, bn, bk, wm, stages }: MatrixSchedule): number => 2 * stages * bk * (bm + bn) + 4 * side * (bm / wm) * (bn + 8);
/** Of a thread: sums, fragments, and some for addresses. */
const registers = ({ wm, wn }: MatrixSchedule): number => (wm * wn) / warp + (wm + wn) / 4 + 48;
const most = { warps: 8, registers: 240, stages: 8 } as const;

/** The unit that multiplies the operands of a contraction, where the target has one. */
export const matrixFor = ({ a, b, acc }: GemmSpec, { matrix, maxThreads }: Target): MatrixUnit | undefined =>
  matrix && acc === 'f32' && a.dtype === b.dtype && (matrix.dtypes as readonly string[]).includes(a.dtype) && maxThreads >= warp
    ? matrix
    : undefined;

const fault = (target: Target, s: MatrixSchedule): string | undefined => {
  const odd = names.find((name) => name !== 'stages' && !(power(s[name]) && s[name] >= side));
  if (odd) return `${odd} is ${s[odd]}, and tiles are powers of two, from ${side} on`;
  if (s.bm < s.wm || s.bn < s.wn) return 'the tile of a warp is larger than that of its block';
  if (s.stages < 2 || s.stages > most.stages) return `${s.stages} stages, and there are 2 to ${most.stages}`;
  if (warps(s) > Math.min(most.warps, Math.floor(target.maxThreads / warp))) return `${warps(s)} warps a block are too many`;
  if (registers(s) > Math.min(most.registers, target.registers)) return `${s.wm} x ${s.wn} sums do not fit the registers of a warp`;
  const bytes = sharedBytes(s);
  return bytes > target.sharedBytes ? `it takes ${bytes} bytes of shared memory, and there are ${target.sharedBytes}` : undefined;
};

/** Bytes of shared memory, and of the cache, that a processor reads in a cycle; cycles of a barrier, of a block's begin; warps that hide what others wait for. */
const processor = { shared: 128, cache: 64, barrier: 40, start: 800, waiting: 8, threads: 2048, registers: 65536 } as const;

const cost = (spec: GemmSpec, target: Target, unit: MatrixUnit, s: MatrixSchedule): number => {
  const { bm, bn, bk, wm, wn } = s;
  const panels = cuts(Math.max(1, spec.k), bk);
  const blocks = spec.batch.reduce((p, d) => p * d, 1) * cuts(spec.m, bm) * cuts(spec.n, bn);
  const each = cuts(blocks, target.workers);
  const came = 2 * (bm + bn);
  const step = Math.max((bm * bn) / unit.products, (2 * warps(s) * (wm + wn) + came) / processor.shared, came / processor.cache);
  // blocks that are there at the same time hide what each of them waits for
  const together = Math.min(
    each,
    Math.floor(target.sharedBytes / sharedBytes(s)),
    Math.floor(processor.threads / (warp * warps(s))),
    Math.floor(processor.registers / (warp * warps(s) * registers(s))),
  );
  const finish = (bm * bn * 4 * 3) / processor.cache;
  const alone = panels * processor.barrier + finish + processor.start;
  const block = step * panels * bk + alone / Math.min(2, Math.max(1, together));
  // one panel on its way comes later than one of several
  const late = s.stages === 2 ? 1.15 : s.stages === 3 ? 1.02 : 1;
  return each * block * late * Math.max(1, processor.waiting / (Math.max(1, together) * warps(s)));
};

const tiles = [16, 32, 64];
/** Legal schedules, the best first, and the cycles that each is expected to take. */
export const matrixTimes = (
  spec: GemmSpec,
  target: Target,
  unit: MatrixUnit,
): readonly { readonly s: MatrixSchedule; readonly time: number }[] => {
  const found: { readonly s: MatrixSchedule; readonly time: number }[] = [];
  for (const wm of tiles)
    for (const wn of tiles)
      for (const down of [1, 2, 4])
        for (const over of [1, 2, 4])
          for (const bk of [64, 32, 16])
            for (const stages of [4, 3, 2]) {
              const s = { bm: wm * down, bn: wn * over, bk, wm, wn, stages };
              // a tile twice as large as all there is has warps, or stages, without work
              const idle =
                (s.bm >= 2 * spec.m && s.bm > side) ||
                (s.bn >= 2 * spec.n && s.bn > side) ||
                (bk >= 2 * spec.k && bk > side) ||
                (stages > 2 && (stages - 1) * bk >= spec.k);
              if (!idle && !fault(target, s)) found.push({ s, time: cost(spec, target, unit, s) });
            }
  return found.sort((x, y) => x.time - y.time);
};

/** `key` is that of the contraction, which does not depend on the kind of schedule. */
export const matrixChooser = (spec: GemmSpec, target: Target, unit: MatrixUnit, key: string): Chooser<MatrixSchedule> =>
  recordChooser(
    key,
    names,
    () => matrixTimes(spec, target, unit).map(({ s }) => s),
    (s) => fault(target, s),
  );
