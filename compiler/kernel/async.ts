/**
 * What runs beside the threads of a block, for the interpreter: fetches, the mbarriers that count their bytes, and the products of warp groups. It is as
 * suspicious as may be: a fetch comes when no thread can go on without it, and no sooner; sums have no value, and operands may not be touched,
 * until their group of products was waited for. Who waits for a phase learns what those had done who arrived, and sees what was fetched.
 *
 *   phase       ends when all arrivals are there and no announced bytes are missing; the parity of the first one is 0
 *   products    of a group in the order in which they began, made at once, and held back until the wait
 */

import { warp } from './matrix.ts';
import { actor, busy, type Fail, fetcher, type Memory, mostPhases, nothingSeen, type Place, type Seen, type Who } from './memory.ts';
import { warpGroup } from './wgmma.ts';

interface Phases {
  readonly arrivals: number;
  /** Tells its phases from those of others. */
  readonly id: number;
  readonly made: number;
  missing: number;
  bytes: number;
  ended: number;
  /** What those who arrive have done; and as it was when the last phase ended. */
  readonly now: Seen;
  done: Seen;
}
interface Fetch {
  readonly to: Place;
  readonly elements: readonly (readonly [at: number, value: number])[];
  readonly on: string;
  readonly index: number;
  readonly bytes: number;
}
/** Products of a warp group. */
interface Group {
  fenced: boolean;
  /** The number of the group of products that is being made. */
  batch: number;
  readonly sums: Map<string, { readonly batch: number; readonly values: readonly (readonly number[])[] }>;
  reads: readonly { readonly of: Place; readonly atom: number; readonly batch: number }[];
  come: readonly (readonly [string, readonly (readonly number[])[]])[];
}

export interface Async<T extends Who> {
  mbarrier(name: string, size: number, arrivals: number): void;
  arrive(name: string, index: number, t: T): void;
  /** The warp of the thread arrives: what it did, and what its threads have `seen`, is done. */
  arriveWarp(name: string, index: number, seen: readonly Seen[], t: T): void;
  expect(name: string, index: number, bytes: number, t: T): void;
  /** Whether the phase of a parity has ended. */
  over(name: string, index: number, parity: number, t: T): boolean;
  learn(name: string, index: number, t: T): void;
  /** What a phase that does not end is lacking. */
  lacks(name: string, index: number): string;
  fetch(f: Fetch, t: T): void;
  /** One fetch comes, the last first; false where none is under way. */
  land(): boolean;
  fence(group: number): void;
  commit(group: number): void;
  /** Sums that are held back, of a variable. */
  held(group: number, name: string): readonly (readonly number[])[] | undefined;
  multiply(
    group: number,
    sums: readonly (readonly [string, readonly (readonly number[])[]])[],
    reads: readonly (readonly [Place, number])[],
    t: T,
  ): void;
  /** Waits for all but the last `pending` groups of products; and the values that variables got by that, of each thread. */
  settle(group: number, pending: number): void;
  settled(group: number): readonly (readonly [string, readonly (readonly number[])[]])[];
  end(t: T): void;
}

const merge = (to: Seen, from: Seen): void => {
  for (let i = 0; i < to.length; i++) to[i] = Math.max(to[i] as number, from[i] as number);
};

export const asyncOf = <T extends Who>(mem: Memory, fail: Fail<T>): Async<T> => {
  const barriers = new Map<string, readonly Phases[]>();
  const groups = new Map<number, Group>();
  const under: Fetch[] = [];
  const phases = (name: string, index: number, t?: T): Phases => {
    const all = barriers.get(name);
    const p = all?.[index];
    if (!p) {
      if (t) fail(`${name}[${index}] is no mbarrier: there are ${all?.length ?? 0}`, t);
      throw new Error('internal: an mbarrier that is not there');
    }
    if (t && p.made >= mem.since()) fail(`${name}[${index}] is used before a barrier`, t);
    return p;
  };
  const groupOf = (n: number): Group => {
    const old = groups.get(n) ?? { fenced: false, batch: 0, sums: new Map(), reads: [], come: [] };
    groups.set(n, old);
    return old;
  };
  const complete = (p: Phases): void => {
    if (p.missing > 0 || p.bytes > 0) return;
    p.ended++;
    p.missing = p.arrivals;
    p.done = p.now.slice();
  };
  const arrived = (name: string, index: number, bytes: number, t: T): Phases => {
    const p = phases(name, index, t);
    if (p.missing === 0) fail(`arrives at ${name}[${index}], where all have arrived in this phase`, t);
    p.missing--;
    p.bytes += bytes;
    merge(p.now, t.seen);
    return p;
  };
  return {
    mbarrier: (name, size, arrivals) => {
      if (barriers.has(name)) return;
      const first = [...barriers.values()].reduce((n, b) => n + b.length, 0);
      if (first + size > mostPhases) throw new Error('internal: too many mbarriers');
      const made = mem.tick();
      barriers.set(
        name,
        Array.from({ length: size }, (_, i) => ({
          ...{ arrivals, id: first + i, made, missing: arrivals, bytes: 0, ended: 0 },
          ...{ now: nothingSeen(), done: nothingSeen() },
        })),
      );
    },
    arrive: (name, index, t) => complete(arrived(name, index, 0, t)),
    arriveWarp: (name, index, seen, t) => {
      const p = arrived(name, index, 0, t);
      for (const s of seen) merge(p.now, s);
      p.now[Math.floor(t.thread / warp)] = mem.tick();
      complete(p);
    },
    expect: (name, index, bytes, t) => complete(arrived(name, index, bytes, t)),
    over: (name, index, parity, t) => phases(name, index, t).ended % 2 !== parity,
    learn: (name, index, t) => merge(t.seen, phases(name, index, t).done),
    lacks: (name, index) => {
      const p = phases(name, index);
      return `${p.missing} arrivals and ${p.bytes} bytes`;
    },
    fetch: (f, t) => {
      const p = phases(f.on, f.index, t);
      const announced = p.bytes - under.reduce((n, u) => n + (u.on === f.on && u.index === f.index ? u.bytes : 0), 0);
      if (announced < f.bytes) fail(`fetches ${f.bytes} bytes on ${f.on}[${f.index}], where ${announced} are announced`, t);
      for (const [at] of f.elements) mem.begin(f.to, at, t, fail);
      under.push(f);
    },
    land: () => {
      const f = under.pop();
      if (!f) return false;
      const p = phases(f.on, f.index);
      for (const [at, value] of f.elements) mem.land(f.to, at, value, fetcher(p.id));
      p.now[actor(fetcher(p.id))] = mem.tick();
      p.bytes -= f.bytes;
      complete(p);
      return true;
    },
    fence: (group) => {
      groupOf(group).fenced = true;
    },
    commit: (group) => {
      const g = groupOf(group);
      g.batch++;
      g.fenced = false;
    },
    held: (group, name) => groupOf(group).sums.get(name)?.values,
    multiply: (group, sums, reads, t) => {
      const g = groupOf(group);
      if (!g.fenced) fail('products begin without a fence since the last group of them', t);
      for (const [name, values] of sums) g.sums.set(name, { batch: g.batch, values });
      for (const [of, atom] of reads) for (let w = 0; w < 4; w++) mem.use(of, atom, 4 * group + w, busy);
      g.reads = [...g.reads, ...reads.map(([of, atom]) => ({ of, atom, batch: g.batch }))];
    },
    settle: (group, pending) => {
      const g = groupOf(group);
      const last = g.batch - pending;
      const come = [...g.sums].filter(([, { batch }]) => batch < last);
      for (const [name] of come) g.sums.delete(name);
      const still = g.reads.filter((r) => r.batch >= last);
      const keys = new Map<Place, Set<number>>();
      for (const r of still) keys.set(r.of, (keys.get(r.of) ?? new Set()).add(r.atom));
      const now = mem.tick() - 1;
      for (const { of, atom } of g.reads) if (!keys.get(of)?.has(atom)) for (let w = 0; w < 4; w++) mem.use(of, atom, 4 * group + w, now);
      g.reads = still;
      g.come = come.map(([name, { values }]) => [name, values]);
    },
    settled: (group) => groupOf(group).come,
    end: (t) => {
      const [first] = under;
      if (first) fail(`ends while fetches to ${first.to.name} are under way`, t);
      const g = groups.get(Math.floor(t.thread / warpGroup));
      if (g && g.sums.size > 0) fail('ends while products are under way', t);
    },
  };
};
