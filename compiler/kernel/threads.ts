/**
 * The threads of a block, for the interpreter: each is a generator that stops where it waits for others. At a barrier it waits for all threads of
 * the block; at a meeting for those of its warp, which put together what they brought and go on with what each gets. The order in which threads run in
 * between is one that a correct kernel cannot notice.
 *
 *   yield 'barrier'
 *   yield { at, given: [line], together: (all) => fragments(all.map(([line]) => line), false), take: (words) => values.set(name, words) }
 */
import { FoveaError } from '../error.ts';
import { warp } from './matrix.ts';
import type { Memory, Place, Who } from './memory.ts';
import type { Stmt } from './types.ts';

/** What a warp does together: threads meet at the same statement. */
export interface Meeting {
  readonly at: Stmt;
  readonly given: readonly (readonly number[])[];
  together(all: readonly Meeting['given'][]): readonly (readonly number[])[];
  take(result: readonly number[]): void;
}
export type Stop = 'barrier' | Meeting;

interface Runner {
  readonly steps: Generator<Stop, void, void>;
  readonly thread: number;
  /** Undefined while it can run. */
  stop: Stop | 'ended' | undefined;
}

/** Runs all threads to their ends; `steps` are in the order in which they run. */
export const runThreads = (
  steps: readonly (readonly [thread: number, steps: Generator<Stop, void, void>])[],
  barrier: () => void,
  where: string,
): void => {
  const runners = steps.map(([thread, of]): Runner => ({ steps: of, thread, stop: undefined }));
  const fail = (message: string): never => {
    throw new FoveaError('FV0201', `${where}: ${message}`);
  };
  const warps = new Map<number, Runner[]>();
  for (const r of [...runners].sort((a, b) => a.thread - b.thread)) {
    const w = Math.floor(r.thread / warp);
    warps.set(w, [...(warps.get(w) ?? []), r]);
  }
  const meet = (members: readonly Runner[]): boolean => {
    const all = members.map((r) => r.stop).filter((s) => typeof s === 'object');
    const [first] = all;
    if (all.length < members.length || !first || all.some((m) => m.at !== first.at)) return false;
    const results = first.together(all.map((m) => m.given));
    all.forEach((m, i) => m.take(results[i] as readonly number[]));
    for (const r of members) r.stop = undefined;
    return true;
  };
  for (;;) {
    for (const r of runners) {
      if (r.stop !== undefined) continue;
      const { done, value } = r.steps.next();
      r.stop = done ? 'ended' : value;
    }
    const met = [...warps.values()].filter(meet).length;
    if (met > 0) continue;
    const ended = runners.filter((r) => r.stop === 'ended').length;
    if (ended === runners.length) return;
    if (runners.some((r) => typeof r.stop === 'object')) fail('threads of a warp wait at different statements');
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
