/**
 * N ranks in one process: the oracle of those who really send. A start leaves a note of what its rank sends and where; when the last rank of the
 * group has left its own, the bytes move, ranks in order, sums in float32 (bf16 and f16 too, rounded once). So results are the same bits every time.
 *
 * It sees what a real carrier cannot: ranks that say different things at the same time, ranks that wait while nobody is left to come, starts that
 * nobody waited for. All are FV0704, on every rank.
 *
 *   const worlds = simulated(4);      await Promise.all(worlds.map(async (w) => ...))
 */
import type { CarrierCaps, Collective, Communicator, Memory, Ticket } from '../../compiler/collectives.ts';
import { FoveaError } from '../../compiler/error.ts';
import { combine } from '../../compiler/graph/interpret-structure.ts';
import { bytesOf, type DType, type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { hostData, numberOf } from '../../compiler/kernel/scalar.ts';

const caps: CarrierCaps = { asyncProgress: true, deterministic: true, sums: ['f32', 'f16', 'bf16', 'i32', 'u32'] };

interface Note {
  readonly collective: Collective;
  readonly memory: Memory;
}
/** One collective of a group, or one exchange of texts, as its ranks arrive. */
interface Round {
  readonly notes: (Note | undefined)[];
  readonly texts: (string | undefined)[];
  here: number;
  /** Ranks that have done with it: when all have, it is forgotten. */
  gone: number;
  readonly done: Promise<void>;
  settle(error?: FoveaError): void;
}
interface Group {
  readonly name: string;
  readonly size: number;
  readonly rounds: Map<number, Round>;
  /** Of each rank, the rounds that it has joined, those under way, and whether it waits. */
  readonly joined: number[];
  readonly open: Set<number>[];
  readonly waits: (number | undefined)[];
  readonly closed: boolean[];
  readonly children: Map<string, Group>;
  failed: FoveaError | undefined;
  /** Of the process: a failure of one group is a failure of all. */
  readonly all: Set<Group>;
}

const round = (size: number): Round => {
  let settle: Round['settle'] = () => undefined;
  const done = new Promise<void>((resolve, reject) => {
    settle = (e) => (e ? reject(e) : resolve());
  });
  // somebody may never wait for it
  done.catch(() => undefined);
  return { notes: Array.from({ length: size }), texts: Array.from({ length: size }), here: 0, gone: 0, done, settle };
};

const newGroup = (name: string, size: number, all: Set<Group>): Group => {
  const g: Group = {
    name,
    size,
    rounds: new Map(),
    joined: new Array<number>(size).fill(0),
    open: Array.from({ length: size }, () => new Set()),
    waits: Array.from({ length: size }),
    closed: new Array<boolean>(size).fill(false),
    children: new Map(),
    failed: undefined,
    all,
  };
  all.add(g);
  return g;
};

const numbers = (m: Memory, dtype: DType, offset: number, count: number): HostData => {
  const bytes = m.view(offset, count * bytesOf[dtype]);
  return new hostArrays[dtype](bytes.buffer as ArrayBuffer, bytes.byteOffset, count);
};

/** A copy, f16 and bf16 as float32. */
const wide = (dtype: DType, x: HostData): HostData =>
  dtype === 'f16' || dtype === 'bf16' ? Float32Array.from(x, (bits) => numberOf(bits, dtype)) : x.slice();

/** Moves the bytes of one collective whose ranks are all there. */
const move = (notes: readonly Note[]): void => {
  const [first] = notes as readonly [Note];
  const { kind, dtype, reduction } = first.collective;
  const n = notes.length;
  first.collective.segments.forEach(({ count }, s) => {
    const of = (r: number) => notes[r]?.collective.segments[s] as Collective['segments'][number];
    if (kind === 'all-gather') {
      const all = notes.map(({ memory }, r) => numbers(memory, dtype, of(r).send, count).slice());
      notes.forEach(({ memory }, r) => {
        const out = numbers(memory, dtype, of(r).receive, n * count);
        all.forEach((x, i) => {
          out.set(x as never, i * count);
        });
      });
      return;
    }
    const length = kind === 'reduce-scatter' ? n * count : count;
    // f32 numbers (integers for integers), rank 0 first
    const total = wide(dtype, numbers(first.memory, dtype, of(0).send, length));
    for (let r = 1; r < n; r++) {
      const x = wide(dtype, numbers((notes[r] as Note).memory, dtype, of(r).send, length));
      for (let i = 0; i < length; i++) total[i] = combine[reduction](total[i] as number, x[i] as number);
    }
    const sum = dtype === 'f16' || dtype === 'bf16' ? hostData(dtype, total) : total;
    notes.forEach(({ memory }, r) => {
      const from = kind === 'reduce-scatter' ? r * count : 0;
      numbers(memory, dtype, of(r).receive, count).set(sum.subarray(from, from + count) as never);
    });
  });
};

/** What two ranks must agree on. Places in memory may differ. */
const saying = (c: Collective): string =>
  `${c.kind} of ${c.segments.map((s) => s.count).join(' + ')} ${c.dtype} (${c.reduction}) in ${c.group}, ${c.scope || 'no scope'}`;

const fail = (group: Group, message: string): FoveaError => {
  const error = new FoveaError('FV0704', message);
  for (const g of group.all) {
    g.failed ??= error;
    for (const r of g.rounds.values()) r.settle(error);
  }
  return error;
};

/** Nobody can come any more: all ranks that have not closed wait, and no round is full. */
const stuck = (group: Group): void => {
  const waiting = [...group.all].flatMap((g) => g.waits.map((w, rank) => ({ g, rank, at: w })).filter((x) => x.at !== undefined));
  const root = [...group.all][0] as Group;
  const gone = root.closed.filter(Boolean).length;
  if (waiting.length === 0 || waiting.length + gone < root.size) return;
  if (waiting.some(({ g, at }) => (g.rounds.get(at as number) as Round).here === g.size)) return;
  const { g, rank, at } = waiting[0] as { g: Group; rank: number; at: number };
  const missing = Array.from({ length: g.size }, (_, r) => r).filter((r) => (g.joined[r] as number) <= at);
  fail(group, `rank ${rank} of ${g.name} waits for ever: number ${at} was never started by rank ${missing.join(', ')}`);
};

const end = (group: Group, rank: number): Communicator => {
  const split: Communicator[] = [];
  const next = (): { readonly r: Round; readonly sequence: number } => {
    if (group.failed) throw group.failed;
    const sequence = group.joined[rank] as number;
    group.joined[rank] = sequence + 1;
    const r = group.rounds.get(sequence) ?? round(group.size);
    group.rounds.set(sequence, r);
    return { r, sequence };
  };
  const until = async (sequence: number): Promise<void> => {
    const r = group.rounds.get(sequence) as Round;
    group.waits[rank] = sequence;
    stuck(group);
    try {
      await r.done;
    } finally {
      group.waits[rank] = undefined;
      if (++r.gone === group.size) group.rounds.delete(sequence);
    }
  };
  const exchange: Communicator['exchange'] = async (text) => {
    const { r, sequence } = next();
    if (r.notes.some((n) => n !== undefined))
      throw fail(group, `rank ${rank} exchanges texts while another starts a collective (number ${sequence})`);
    r.texts[rank] = text;
    r.here++;
    if (r.here === group.size) r.settle();
    await until(sequence);
    return r.texts.map((t) => t as string);
  };
  return {
    rank,
    size: group.size,
    caps,
    start: (collective, memory): Ticket => {
      const { r, sequence } = next();
      const other = r.notes.find((n) => n !== undefined);
      if (r.here > 0 && !other) throw fail(group, `rank ${rank} starts a collective while another exchanges texts (number ${sequence})`);
      if (other && saying(other.collective) !== saying(collective)) {
        const who = r.notes.indexOf(other);
        throw fail(group, `number ${sequence}: rank ${who} starts ${saying(other.collective)}, rank ${rank} ${saying(collective)}`);
      }
      r.notes[rank] = { collective, memory };
      r.here++;
      group.open[rank]?.add(sequence);
      if (r.here === group.size) {
        move(r.notes as Note[]);
        r.settle();
      }
      return { collective, sequence };
    },
    wait: async ({ sequence, collective }) => {
      if (!group.open[rank]?.delete(sequence))
        throw fail(group, `rank ${rank} waits for number ${sequence} (${collective.kind}), which is not under way`);
      await until(sequence);
    },
    progress: () => undefined,
    exchange,
    split: async (colour, key) => {
      const all = (await exchange(`${colour} ${key}`)).map((t, r) => ({ r, c: t.split(' ')[0], k: Number(t.split(' ')[1]) }));
      const members = all.filter((x) => x.c === `${colour}`).sort((a, b) => a.k - b.k || a.r - b.r);
      const id = `${group.joined[rank]}:${colour}`;
      const child = group.children.get(id) ?? newGroup(`${group.name}/${colour}`, members.length, group.all);
      group.children.set(id, child);
      const own = end(
        child,
        members.findIndex((m) => m.r === rank),
      );
      split.push(own);
      return own;
    },
    check: () => {
      if (group.failed) throw group.failed;
    },
    abort: (reason) => {
      if (!group.failed) fail(group, `rank ${rank} gave up: ${reason}`);
    },
    close: async () => {
      if (group.closed[rank]) return;
      for (const c of split) await c.close();
      const left = [...(group.open[rank] ?? [])];
      group.closed[rank] = true;
      if (left.length > 0) throw fail(group, `rank ${rank} ends with number ${left.join(', ')} started and never waited for`);
      stuck(group);
    },
  };
};

/** The ends of a new world of `ranks` ranks. */
export const simulated = (ranks: number): readonly Communicator[] => {
  const world = newGroup('world', ranks, new Set());
  return Array.from({ length: ranks }, (_, r) => end(world, r));
};
