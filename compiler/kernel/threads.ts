/**
 * The threads of a block, for the interpreter: each is a generator that stops where it waits for others. At a barrier it waits for all threads of
 * the block; at a meeting for those of its warp, which put together what they brought and go on with what each gets. The order in which threads run in
 * between is one that a correct kernel cannot notice.
 *
 *   yield 'barrier'
 *   yield { over: () => phase.ended, what }
 *   yield { at, width: 32, given: [line], together: (all) => fragments(all.map(([line]) => line), false), take: (words) => values.set(name, words) }
 */
import { FoveaError } from '../error.ts';
import { warp } from './matrix.ts';
import type { Memory, Place, Who } from './memory.ts';
import type { Stmt } from './types.ts';
import { warpGroup } from './wgmma.ts';

/** What a warp, or a warp group, does together: so many threads meet at the same statement. */
export interface Meeting {
  readonly at: Stmt;
  readonly width: number;
  readonly given: readonly (readonly number[])[];
  together(all: readonly Meeting['given'][]): readonly (readonly number[])[];
  take(result: readonly number[]): void;
}
/** What a thread waits for that others, or something beside them, will do. */
export interface Until {
  over(): boolean;
  readonly what: () => string;
}
export type Stop = 'barrier' | Meeting | Until;

interface Runner {
  readonly steps: Generator<Stop, void, void>;
  readonly thread: number;
  /** Undefined while it can run. */
  stop: Stop | 'ended' | undefined;
}

const meets = (stop: Stop | 'ended' | undefined): stop is Meeting => typeof stop === 'object' && 'at' in stop;
const waits = (stop: Stop | 'ended' | undefined): stop is Until => typeof stop === 'object' && 'over' in stop;

/** Runs all threads to their ends; `steps` are in the order in which they run. */
export const runThreads = (
  steps: readonly (readonly [thread: number, steps: Generator<Stop, void, void>])[],
  barrier: () => void,
  /** Something that runs beside the threads, and for which one of them waits, comes; false where there is nothing. */
  land: () => boolean,
  where: string,
): void => {
  const runners = steps.map(([thread, of]): Runner => ({ steps: of, thread, stop: undefined }));
  const fail = (message: string): never => {
    throw new FoveaError('FV0201', `${where}: ${message}`);
  };
  const sorted = [...runners].sort((a, b) => a.thread - b.thread);
  /** Those who meet, before anybody else does. */
  const meet = (width: number, first: number): boolean => {
    const members = sorted.slice(first, first + width);
    const all = members.map((r) => r.stop).filter(meets);
    const [one] = all;
    if (all.length < members.length || !one || all.some((m) => m.at !== one.at || m.width !== width)) return false;
    const results = one.together(all.map((m) => m.given));
    all.forEach((m, i) => m.take(results[i] as readonly number[]));
    for (const r of members) r.stop = undefined;
    return true;
  };
  const meetAll = (width: number): boolean => {
    let met = false;
    for (let first = 0; first < sorted.length; first += width) met = meet(width, first) || met;
    return met;
  };
  const pass = (): boolean => {
    const free = runners.filter((r) => waits(r.stop) && r.stop.over());
    for (const r of free) r.stop = undefined;
    return free.length > 0;
  };
  for (;;) {
    for (const r of runners) {
      if (r.stop !== undefined) continue;
      const { done, value } = r.steps.next();
      r.stop = done ? 'ended' : value;
    }
    const met = meetAll(warp);
    if (meetAll(warpGroup) || met || pass()) continue;
    const ended = runners.filter((r) => r.stop === 'ended').length;
    if (ended === runners.length) return;
    const waiting = runners.find((r) => waits(r.stop));
    if (waiting && land()) continue;
    if (waiting && waits(waiting.stop)) fail(`thread ${waiting.thread} waits for ${waiting.stop.what()}`);
    if (runners.some((r) => meets(r.stop))) fail('threads of a warp wait at different statements');
    if (ended > 0 && runners.some((r) => r.stop === 'barrier'))
      fail(`${ended} of ${runners.length} threads ended while others wait at a barrier`);
    for (const r of runners) r.stop = undefined;
    barrier();
  }
};

/** The copies of a thread that are under way. */
export interface Copies<T extends Who> {
  begin(to: Place, at: number, values: readonly number[], t: T): void;
  commit(): void;
  wait(pending: number, t: T): void;
  /** None may be under way when a thread ends. */
  end(t: T): void;
}

export const copies = <T extends Who>(mem: Memory, fail: (message: string, t: T) => never): Copies<T> => {
  let under: { readonly to: Place; readonly at: number; readonly value: number; readonly group: number }[] = [];
  let groups = 0;
  return {
    begin: (to, at, values, t) =>
      values.forEach((value, i) => {
        mem.begin(to, at + i, t, fail);
        under.push({ to, at: at + i, value, group: groups });
      }),
    commit: () => {
      groups++;
    },
    wait: (pending, t) => {
      for (const c of under) if (c.group < groups - pending) mem.come(c.to, c.at, c.value, t, fail);
      under = under.filter((c) => c.group >= groups - pending);
    },
    end: (t) => {
      const [first] = under;
      if (first) fail(`ends while copies to ${first.to.name} are under way`, t);
    },
  };
};
