/**
 * Tuning: the model's ranking put to the test. For every key of a program that has no record yet, the head of the ranking (the
 * reference) and the best of the rest are compiled and run by turns on the same made-up numbers. Who makes other bits than the
 * reference is out; who ends first by more than `margin` is recorded, else the reference is. The backend runs the kernels; this file
 * only says which, and judges.
 *
 *   gemm 1536x384x2056 f32[1 1536] f32[1 384]: 24 tried, { bm: 504, .. } 23.1 ms, reference 26.3 ms  ->  recorded
 */
import { fuse } from '../fuse/fuse.ts';
import type { Graph, HostData } from '../graph/types.ts';
import { verifyKernel } from '../kernel/verify.ts';
import type { Measured, Progress, Race, Schedule, Schedules, Target, Tuner } from '../target.ts';
import type { Group } from '../tile/group.ts';
import { lower } from '../tile/lower.ts';
import { withElements } from './build.ts';

/** What a faster schedule must save: less is within what two measurements of one kernel differ by. */
const margin = 0.03;
/** Schedules that are compared, and those that are still measured after the first rounds. */
const most = 24;
const finalists = 4;
const rounds = { first: 2, last: 7 } as const;

/** The sentence about a record that cannot be used. */
export const illegal = (key: string, why: string): string => `the schedule of ${key} is not legal here: ${why}`;

export interface TuneOptions {
  readonly target: Target;
  readonly tuner: Tuner;
  readonly known: Schedules;
  readonly progress?: Progress | undefined;
}

/**
 * Of a ranking, those to be tried: the head, then by turns the best of each kind (same register tile and depth) and the next of the head's own,
 * since neighbours in the ranking differ by little more than a row.
 */
export const shortlist = (ranking: readonly Schedule[], most: number): readonly Schedule[] => {
  const kind = ({ bm: _, bn: __, ...rest }: Schedule): string => JSON.stringify(rest);
  const [head] = ranking;
  if (!head) return [];
  const kinds = new Map<string, Schedule>();
  for (const s of ranking) if (!kinds.has(kind(s))) kinds.set(kind(s), s);
  const others = [...kinds.values()].slice(1);
  const own = ranking.filter((s) => s !== head && kind(s) === kind(head));
  const turns = Array.from({ length: Math.max(others.length, own.length) }, (_, i) => [others[i], own[i]]).flat();
  return [head, ...turns.filter((s) => s !== undefined)].slice(0, most);
};

/** Bits, not numbers: NaN is NaN, and -0 is not 0. */
const same = (a: readonly HostData[], b: readonly HostData[]): boolean =>
  a.every((x, i) => {
    const [p, q] = [x, b[i] as HostData].map(({ buffer, byteOffset, byteLength }) =>
      byteOffset % 4 === 0 && byteLength % 4 === 0
        ? new Uint32Array(buffer, byteOffset, byteLength / 4)
        : new Uint8Array(buffer, byteOffset, byteLength),
    ) as [Uint32Array | Uint8Array, Uint32Array | Uint8Array];
    for (let j = 0; j < p.length; j++) if (p[j] !== q[j]) return false;
    return p.length === q.length;
  });

/** Seconds of the fastest run of each runner, by turns. */
const fastest = async (race: Race, runners: readonly number[], rounds: number, best: Map<number, number>): Promise<void> => {
  for (let r = 0; r < rounds; r++)
    for (const i of runners) best.set(i, Math.min(best.get(i) ?? Number.POSITIVE_INFINITY, await race.seconds(i)));
};

/** The best of `schedules`, of which the first is the reference. */
const judge = async (race: Race, key: string, schedules: readonly Schedule[]): Promise<Measured> => {
  const reference = await race.results(0);
  const runners = [0];
  for (let i = 1; i < schedules.length; i++) if (same(reference, await race.results(i))) runners.push(i);
  const best = new Map<number, number>();
  const time = (i: number): number => best.get(i) as number;
  await fastest(race, runners, rounds.first, best);
  const ordered = runners.filter((i) => i > 0).sort((a, b) => time(a) - time(b));
  const last = [0, ...ordered.slice(0, finalists)];
  await fastest(race, last, rounds.last, best);
  const winner = last.reduce((a, b) => (time(b) < time(a) ? b : a));
  const taken = time(winner) < (1 - margin) * time(0) ? winner : 0;
  return {
    key,
    schedule: schedules[taken] as Schedule,
    model: schedules[0] as Schedule,
    seconds: time(taken),
    modelSeconds: time(0),
    tried: schedules.length,
  };
};

/** Records for all keys of a graph: those known, and for the rest what was measured, which the backend keeps. */
export const tune = async (g: Graph, { target, tuner, known, progress }: TuneOptions): Promise<Schedules> => {
  const open = new Map<string, { readonly group: Group; readonly ranking: () => readonly Schedule[]; readonly flops: number }>();
  for (const group of fuse(withElements(g), target).groups) {
    const { choice, flops } = lower(group, target, known);
    if (!choice || open.has(choice.key)) continue;
    const { key, ignored, ranking } = choice;
    if (ignored !== undefined) tuner.notice(illegal(key, ignored));
    if (ignored !== undefined || !known.has(key)) open.set(key, { group, ranking, flops });
  }
  const all = new Map(known);
  let done = 0;
  for (const [key, { group, ranking, flops }] of open) {
    progress?.(done++, open.size, 'measured');
    const schedules = shortlist(ranking(), most);
    const kernels = schedules.map((s, i) => {
      const { kernel } = lower(group, target, new Map([[key, s]]));
      return verifyKernel({ ...kernel, name: `s${i}_${kernel.name}` }, target.proves);
    });
    const race = await tuner.race(kernels, flops);
    try {
      const found = await judge(race, key, schedules);
      all.set(key, found.schedule);
      await tuner.keep([found]);
    } finally {
      race.dispose();
    }
  }
  if (open.size > 0) progress?.(open.size, open.size, 'measured');
  return all;
};
