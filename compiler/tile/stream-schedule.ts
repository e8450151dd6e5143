/**
 * How attention is cut up, forward and backward, and what else might be chosen. What a part holds decides in which order weights are added,
 * forward, so `rows` is no choice: it follows from the target. The tiles of sums that registers hold are one: each sum stays one chain,
 * whatever the tile.
 *
 *   queries 257 on AVX-512   { atOnce: 1, lanes: 16, tn: 2, tm: 12, tr: 6, rows: 96 }
 */
import type { Target } from '../target.ts';
import { type Job, lanesFor } from './job.ts';
import { type Chooser, misread } from './schedules.ts';
import type { Rows } from './stream-parts.ts';

export interface StreamSchedule {
  /** Products that one step adds to a sum: two where rows are bf16 and the target adds pairs. */
  readonly atOnce: 1 | 2;
  readonly lanes: number;
  /** Rows that are weighed before they are mixed. */
  readonly rows: number;
  /** Vectors that a panel is wide; 1 for the panel that is left where its rows fill no more. */
  readonly tn: number;
  /** Rows of a tile of `weigh`, which divides `rows` and which atOnce divides, and of one of `mix`, which has up to `across` vectors of d. */
  readonly tm: number;
  readonly tr: number;
}

/** Vectors of d in a tile of `mix`. */
const across = 4;
const most = { tm: 12, tn: 3, tr: 6 } as const;
const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i + 1);

/** Sums, the vectors of a panel, and some to spare; sums, the rows that are mixed, and a weight. */
const holds = ({ registers }: Target, { tm, tn, tr }: Pick<StreamSchedule, 'tm' | 'tn' | 'tr'>): boolean =>
  (tm * tn + tn + 3 <= registers || (tm <= 2 && tn === 1)) && (across * tr + across + 1 <= registers || tr === 1);

/** What the target gives and what no choice may change. */
const given = (target: Target, lined: number, rows: readonly Rows[]): Pick<StreamSchedule, 'atOnce' | 'lanes' | 'rows'> => {
  const atOnce = target.bf16Dot && rows.every((r) => r.place.dtype === 'bf16') ? 2 : 1;
  const widest = lanesFor(target, Number.POSITIVE_INFINITY);
  const lanes = Math.min(widest, 2 ** Math.ceil(Math.log2(Math.max(1, lined))));
  // whole tiles of as many rows as registers hold beside two vectors each
  const tn = lined > lanes ? 2 : 1;
  const fit = Math.min(most.tm, Math.floor((target.registers - tn - 3) / tn));
  const tm = Math.max(atOnce, fit - (fit % atOnce));
  return { atOnce, lanes, rows: tm * Math.max(1, Math.floor(96 / tm)) };
};

/** Multiply-adds, loads and idle lanes of both loops for one product of each. */
const cost = (lined: number, { lanes, tn, tm, tr }: StreamSchedule): number => {
  const wide = tn * lanes;
  const left = lined % wide;
  // what is left of the rows has a panel of one vector where that is enough
  const panels = Math.floor(lined / wide) * tn + (left === 0 ? 0 : left <= lanes && lined > wide ? 1 : tn);
  const weigh = Math.max(1, 8 / (tm * tn)) + (tm + tn) / (2 * tm * tn);
  const mix = 1 + (tr + across) / (2 * tr * across);
  return panels * lanes * (weigh + mix);
};

const rank = (target: Target, lined: number, rows: readonly Rows[]): readonly StreamSchedule[] => {
  const fixed = given(target, lined, rows);
  const all = list(lined > fixed.lanes ? most.tn : 1).flatMap((tn) =>
    list(most.tm).flatMap((tm) => list(most.tr).map((tr): StreamSchedule => ({ ...fixed, tn, tm, tr }))),
  );
  return all
    .filter((s) => fault(target, fixed, s) === undefined)
    .map((s) => ({ s, time: cost(lined, s) }))
    .sort((a, b) => a.time - b.time)
    .map(({ s }) => s);
};

const fault = (target: Target, { atOnce, lanes, rows }: ReturnType<typeof given>, s: Pick<StreamSchedule, 'tm' | 'tn' | 'tr'>) => {
  if (s.tm % atOnce !== 0 || rows % s.tm !== 0) return `parts of ${rows} rows are no whole number of tiles of ${s.tm}`;
  if (s.tn > 1 && lanes === 1) return 'a panel of single rows is one wide';
  return holds(target, s)
    ? undefined
    : `tiles of ${s.tm} x ${s.tn} and ${s.tr} x ${across} vectors do not fit ${target.registers} registers`;
};

/** The schedules of a group whose `rows` are the operands, with vectors along `lined` of them. */
export const streamChooser = (job: Job, batch: readonly number[], lined: number, rows: readonly Rows[]): Chooser<StreamSchedule> => {
  const { target, group } = job;
  const ranking = rank(target, lined, rows);
  const text = (r: Rows): string => `${r.count}x${r.width} ${r.place.dtype}[${[...r.batch, r.row, r.element].join(' ')}]`;
  return {
    key: `${group.template} ${batch.map((d) => `${d}x `).join('')}${rows.map(text).join(' ')}`,
    first: () => ranking[0] as StreamSchedule,
    ranking: () => ranking,
    read: (record) => {
      const fixed = given(target, lined, rows);
      const wrong = misread(record, ['atOnce', 'lanes', 'rows', 'tn', 'tm', 'tr']);
      if (wrong !== undefined) return wrong;
      const s = record as unknown as StreamSchedule; // the six names were just checked
      const other = (['atOnce', 'lanes', 'rows'] as const).find((name) => s[name] !== fixed[name]);
      if (other) return `${other} is ${s[other]}, and the target's is ${fixed[other]}`;
      return fault(target, fixed, s) ?? s;
    },
  };
};
