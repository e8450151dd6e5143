/**
 * How a contraction is cut up for warp groups (kernel/wgmma.ts), as a plain record: what makes one legal, and the ranking, in which the schedules of matrix.ts's
 * units take part. One warp group fetches and one or two multiply, 64 rows each. A panel takes as long as its products, what they read of shared memory, or what
 * comes from the cache that processors share; nothing waits but at the begin, and for the epilogue.
 *
 *   2056 x 1536 x 384 of bf16 on 132 processors      { bm: 128, bn: 128, stages: 4 }
 */
import { side } from '../kernel/matrix.ts';
import { groupRows, lineLength, warpGroup } from '../kernel/wgmma.ts';
import type { MatrixUnit, Target } from '../target.ts';
import { type MatrixSchedule, matrixChooser, matrixTimes } from './gemm-matrix-schedule.ts';
import type { GemmSpec } from './gemm-spec.ts';
import { canFetch } from './group-panel.ts';
import { type Chooser, recordChooser } from './schedules.ts';

export interface WgmmaSchedule {
  /** A block makes bm x bn results, of a line of products at a time. */
  readonly bm: number;
  readonly bn: number;
  /** Panels that are in use or on their way. */
  readonly stages: number;
}

const names = ['bm', 'bn', 'stages'] as const;
const cuts = (x: number, by: number): number => Math.ceil(x / by);
/** Columns of sums that pass through shared memory at once, and numbers behind them, which spread what a warp writes over the banks. */
export const pass = { columns: 2 * side, spread: 8 } as const;
export const panelBytes = ({ bm, bn }: Pick<WgmmaSchedule, 'bm' | 'bn'>): number => 2 * lineLength * (bm + bn);
const sharedBytes = (s: WgmmaSchedule): number => s.stages * panelBytes(s) + 4 * s.bm * (pass.columns + pass.spread) + 256;
const mostStages = 8;
const rows = [groupRows, 2 * groupRows];
const columns = [64, 128, 256];

/** The unit of warp groups for a contraction, where the target has one and boxes of the operands can be fetched. */
export const wgmmaFor = (spec: GemmSpec, { wgmma, maxThreads }: Target): MatrixUnit | undefined => {
  const { a, b, acc, m, n, k, batch } = spec;
  const fetched = canFetch(a, { rows: m, depth: k, batch }) && canFetch(b, { rows: n, depth: k, batch });
  const takes = acc === 'f32' && a.dtype === b.dtype && (wgmma?.dtypes as readonly string[] | undefined)?.includes(a.dtype);
  return takes && k > 0 && maxThreads >= 3 * warpGroup && fetched ? wgmma : undefined;
};

const fault = (target: Target, s: WgmmaSchedule): string | undefined => {
  if (!rows.includes(s.bm)) return `bm is ${s.bm}, and one or two warp groups make ${groupRows} rows each`;
  if (!columns.includes(s.bn)) return `bn is ${s.bn}, and not one of ${columns.join(' ')}`;
  if (s.stages < 2 || s.stages > mostStages) return `${s.stages} stages, and there are 2 to ${mostStages}`;
  const bytes = sharedBytes(s);
  return bytes > target.sharedBytes ? `it takes ${bytes} bytes of shared memory, and there are ${target.sharedBytes}` : undefined;
};

/** Bytes of shared memory, and of the cache, that a processor reads in a cycle; cycles of an mbarrier, and until a block's first panel is there; warps that hide what others wait for. */
const processor = { shared: 128, cache: 64, barrier: 30, start: 2700, waiting: 8 } as const;

const cost = (spec: GemmSpec, target: Target, unit: MatrixUnit, s: WgmmaSchedule): number => {
  const { bm, bn } = s;
  const panels = cuts(spec.k, lineLength);
  const blocks = spec.batch.reduce((p, d) => p * d, 1) * cuts(spec.m, bm) * cuts(spec.n, bn);
  const each = cuts(blocks, target.workers);
  // each warp group reads all columns
  const read = 2 * lineLength * (bm + (bm / groupRows) * bn);
  const step = Math.max((bm * bn * lineLength) / unit.products, read / processor.shared, panelBytes(s) / processor.cache);
  const finish = (bm * bn * 4 * 3) / processor.cache;
  // two warp groups that multiply take all registers; one leaves room for a second block
  const together = bm > groupRows ? 1 : Math.min(2, each, Math.floor(target.sharedBytes / sharedBytes(s)));
  const late = s.stages === 2 ? 1.15 : s.stages === 3 ? 1.02 : 1;
  const waits = Math.max(1, processor.waiting / (together * 4 * (bm / groupRows)));
  return each * late * waits * (panels * (step + processor.barrier) + (finish + processor.start) / together);
};

export interface Timed<S> {
  readonly s: S;
  readonly time: number;
}
const wgmmaTimes = (spec: GemmSpec, target: Target, unit: MatrixUnit): readonly Timed<WgmmaSchedule>[] =>
  rows.flatMap((bm) =>
    columns.flatMap((bn) =>
      [4, 3, 2, 6].flatMap((stages) => {
        const s = { bm, bn, stages };
        const [least, narrow] = [rows[0] as number, columns[0] as number];
        const idle =
          (bm >= 2 * spec.m && bm > least) || (bn >= 2 * spec.n && bn > narrow) || (stages > 2 && (stages - 1) * lineLength >= spec.k);
        return idle || fault(target, s) ? [] : [{ s, time: cost(spec, target, unit, s) }];
      }),
    ),
  );

/** Schedules of warp groups alone. */
export const wgmmaChooser = (spec: GemmSpec, target: Target, unit: MatrixUnit, key: string): Chooser<WgmmaSchedule> =>
  recordChooser(
    key,
    names,
    () => [...wgmmaTimes(spec, target, unit)].sort((x, y) => x.time - y.time).map(({ s }) => s),
    (s) => fault(target, s),
  );

export type UnitSchedule = MatrixSchedule | WgmmaSchedule;
export const ofWarps = (s: object): s is MatrixSchedule => 'wm' in s;

/** Schedules of the units of warps, and of those of warp groups where there are some. The bits are the same. */
export const unitChooser = (spec: GemmSpec, target: Target, unit: MatrixUnit, key: string): Chooser<UnitSchedule> => {
  const warps = matrixChooser(spec, target, unit, key);
  const wide = wgmmaFor(spec, target);
  if (!wide) return warps;
  const groups = wgmmaChooser(spec, target, wide, key);
  const ranking = (): readonly UnitSchedule[] =>
    [...matrixTimes(spec, target, unit), ...wgmmaTimes(spec, target, wide)].sort((x, y) => x.time - y.time).map(({ s }) => s);
  return {
    key,
    first: () => ranking()[0] as UnitSchedule,
    ranking,
    read: (record) => (ofWarps(record) ? warps.read(record) : groups.read(record)),
  };
};
