/**
 * Which schedule a template takes, where a record may say otherwise than its model. A record is filed under a key: one line that says
 * all that decides about speed (sizes, strides, types, what follows). Records come from outside, so each is checked before a kernel is
 * made of it; one that is not legal is left aside, with the reason, and the model's own choice taken.
 *
 *   gemm 2056x1536x384 f32[384 1] f32[384 1] then add mul erf  ->  { bm: 520, bn: 256, bk: 384, tm: 13, tn: 2, lanes: 16 }
 *
 * A schedule never changes the bits of a result: what may be chosen here changes in which order blocks and tiles are made, not in which
 * order a sum is added. Templates whose schedules are part of their numbers (reduce; the parts of stream) offer no choice.
 */
import type { Schedule, Schedules } from '../target.ts';

/** Raised when the kernels of a template change so that what was measured says nothing any more. */
export const scheduleVersion = 1;

/** What a template chose, and what it might have chosen. */
export interface Choice<S extends object = object> {
  readonly key: string;
  readonly schedule: S;
  /** Why the record of that key was left aside. */
  readonly ignored?: string;
  /** All schedules that may be tried, the model's first choice first. */
  readonly ranking: () => readonly Schedule[];
}

/** The part of a template that knows its schedules. */
export interface Chooser<S extends object> {
  readonly key: string;
  /** The head of `ranking`; asked for only where no record is taken. */
  readonly first: () => S;
  readonly ranking: () => readonly S[];
  /** What is wrong with a record, or the schedule that it is. */
  readonly read: (record: Schedule) => S | string;
}

export const choose = <S extends object>(schedules: Schedules, { key, first, ranking, read }: Chooser<S>): Choice<S> => {
  const all = (): readonly Schedule[] => ranking().map((s) => ({ ...s }) as Schedule);
  const record = schedules.get(key);
  const found = record && read(record);
  if (found === undefined || typeof found === 'string')
    return { key, schedule: first(), ranking: all, ...(found === undefined ? {} : { ignored: found }) };
  return { key, schedule: found, ranking: all };
};

/** The numbers of a record under the names given: what is wrong, or undefined. Every number counts something, from 1 on. */
export const misread = (record: Schedule, names: readonly string[]): string | undefined => {
  const wrong = names.find((n) => !(Number.isSafeInteger(record[n]) && (record[n] as number) >= 1));
  if (wrong !== undefined) return `${wrong} is ${record[wrong]}`;
  const other = Object.keys(record).find((n) => !names.includes(n));
  return other === undefined ? undefined : `there is no ${other}`;
};

/** A chooser of records that are nothing but their `names`: `ranked` is never empty, and `fault` says why one is not legal. */
export const recordChooser = <S extends object>(
  key: string,
  names: readonly (keyof S & string)[],
  ranked: () => readonly S[],
  fault: (s: S) => string | undefined,
): Chooser<S> => ({
  key,
  first: () => {
    const [s] = ranked();
    if (!s) throw new Error('internal: a contraction without a legal schedule');
    return s;
  },
  ranking: ranked,
  read: (record) => {
    const wrong = misread(record, names);
    if (wrong !== undefined) return wrong;
    const s = record as unknown as S; // its names were just checked
    return fault(s) ?? s;
  },
});
