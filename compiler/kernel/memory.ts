/**
 * The memory of the kernel interpreter: buffers and arrays that know who touched each element last. An element that is
 * written may be touched by another thread of the block only if something orders the two, and never by another block.
 *
 * A clock ticks where threads meet. Every element keeps its last writer and its readers as (block, time, thread). What happened before the last barrier of
 * the block is over; else a thread has to have learned, from an mbarrier or a barrier of its warp, what the other's warp had done until then (`seen`).
 * Several readers of one block become "many threads"; readers of several blocks become "many blocks". An element to which a copy is
 * under way belongs to nobody. Products read atoms of lines (wgmma.ts): for each, the time at which a warp was through with it.
 */
import type { HostData } from '../graph/types.ts';
import { warp } from './matrix.ts';
import { bitsOf, numberOf } from './scalar.ts';
import type { KBuffer } from './types.ts';
import { atomSize } from './wgmma.ts';

/** Most warps of a block, and most mbarriers: what fetches bring is done by these. */
const mostWarps = 32;
export const mostPhases = 64;
/** The writer of what was fetched on mbarrier i. */
export const fetcher = (i: number): number => mostWarps * warp + i;
/** Whose time it is in what a thread has seen. */
export const actor = (thread: number): number => (thread < fetcher(0) ? Math.floor(thread / warp) : mostWarps + thread - fetcher(0));
/** Times by warp and mbarrier. */
export type Seen = Int32Array;
export const nothingSeen = (): Seen => new Int32Array(mostWarps + mostPhases);
/** Of an atom that products are reading. */
export const busy = 2 ** 31 - 1;

/** Who asks: the thread and what to call it in a message, and until when it knows what others did. */
export interface Who {
  readonly block: readonly [number, number, number];
  readonly thread: number;
  readonly seen: Seen;
}
export type Fail<T extends Who> = (message: string, t: T) => never;

export interface Place {
  readonly name: string;
  readonly size: number;
  read(i: number): number;
  write(i: number, v: number): void;
  /** An element may be written once only: a buffer with access `write`. */
  readonly once: boolean;
  /** Register arrays belong to one thread: nothing to track but what was written. */
  readonly space: 'buffer' | 'shared' | 'register';
  readonly written: Uint8Array | undefined;
  /** Of shared arrays, the thread, from 1 on, whose copy to an element is under way; 0 where none is. */
  readonly coming: Int32Array;
  /** Last writer and reader of each element: block, time, thread; -1 nobody, -2 several. Empty for register arrays. */
  readonly writes: Owners;
  readonly reads: Owners;
  /** Atoms that products read: by warp, the time at which it was through, or `busy`; -1 where it has not read it. */
  readonly atoms: Map<number, Int32Array>;
}
interface Owners {
  readonly block: Int32Array;
  readonly time: Int32Array;
  readonly thread: Int32Array;
}

const owners = (n: number): Owners => ({ block: new Int32Array(n).fill(-1), time: new Int32Array(n), thread: new Int32Array(n) });

export interface Memory {
  buffer(b: KBuffer, data: HostData): Place;
  local(name: string, size: number, space: 'shared' | 'register'): Place;
  enterBlock(n: number): void;
  barrier(): void;
  /** The clock ticks: what happened so far is earlier than the time that this gives. */
  tick(): number;
  /** The time of the last barrier of the block. */
  since(): number;
  load<T extends Who>(p: Place, i: number, t: T, fail: Fail<T>): number;
  /** As load, of products, whose reads are known by atoms. */
  look<T extends Who>(p: Place, i: number, t: T, fail: Fail<T>): number;
  store<T extends Who>(p: Place, i: number, v: number, t: T, fail: Fail<T>): void;
  /** A copy to an element of a shared array begins; and it comes. */
  begin<T extends Who>(p: Place, i: number, t: T, fail: Fail<T>): void;
  come<T extends Who>(p: Place, i: number, v: number, t: T, fail: Fail<T>): void;
  /** What was fetched comes; `by` wrote it. */
  land(p: Place, i: number, v: number, by: number): void;
  /** A warp reads an atom until `time`. */
  use(p: Place, atom: number, warp: number, time: number): void;
}

export const memory = (): Memory => {
  let block = 0;
  let clock = 0;
  let begun = 0;
  const accessors = (b: KBuffer, data: HostData): Pick<Place, 'read' | 'write'> => {
    const { dtype } = b;
    if (dtype === 'f16' || dtype === 'bf16')
      return {
        read: (i) => numberOf(data[i] as number, dtype),
        write: (i, v) => {
          data[i] = bitsOf(v, dtype);
        },
      };
    return {
      read: (i) => data[i] as number,
      write: (i, v) => {
        data[i] = v;
      },
    };
  };
  const bounds = <T extends Who>(p: Place, i: number, what: string, t: T, fail: Fail<T>): void => {
    if (!(Number.isInteger(i) && i >= 0 && i < p.size)) fail(`${what} ${p.name}[${i}] is out of bounds (${p.size} elements)`, t);
  };
  /** Whether an earlier access by `o` and one by a thread now are unordered. */
  const apart = (o: Owners, i: number, t: Who): boolean => {
    const [b, time, by] = [o.block[i] as number, o.time[i] as number, o.thread[i] as number];
    if (b === -1) return false;
    if (b !== block) return true;
    if (time < begun || by === t.thread) return false;
    return by < 0 || time >= (t.seen[actor(by)] as number);
  };
  /** A warp whose products may still read an element that the thread is to write. */
  const reader = (p: Place, i: number, t: Who): number =>
    p.atoms.get(Math.floor(i / atomSize))?.findIndex((time, w) => time === busy || (time >= begun && time >= (t.seen[w] as number))) ?? -1;
  const own = (o: Owners, i: number, by: number): void => {
    o.block[i] = block;
    o.time[i] = clock;
    o.thread[i] = by;
  };
  const arrived = <T extends Who>(p: Place, i: number, what: string, t: T, fail: Fail<T>): void => {
    if (p.coming[i]) fail(`${what} ${p.name}[${i}], where a copy of thread ${(p.coming[i] as number) - 1} is under way`, t);
  };
  const store = <T extends Who>(p: Place, i: number, v: number, t: T, fail: Fail<T>): void => {
    bounds(p, i, 'store', t, fail);
    arrived(p, i, 'store', t, fail);
    if (p.writes.block.length > 0) {
      if (p.once && p.writes.block[i] === block && p.writes.thread[i] === t.thread)
        fail(`store ${p.name}[${i}] writes an element twice`, t);
      if (apart(p.writes, i, t) || apart(p.reads, i, t)) fail(`race: store ${p.name}[${i}], touched by another block or thread`, t);
      const w = reader(p, i, t);
      if (w >= 0) fail(`race: store ${p.name}[${i}], which products of warp ${w} read`, t);
      own(p.writes, i, t.thread);
    }
    if (p.written) p.written[i] = 1;
    p.write(i, v);
  };
  const look = <T extends Who>(p: Place, i: number, t: T, fail: Fail<T>): number => {
    bounds(p, i, 'load', t, fail);
    arrived(p, i, 'load', t, fail);
    if (p.written && !p.written[i]) fail(`load ${p.name}[${i}] reads an element that was never written`, t);
    if (p.writes.block.length > 0 && apart(p.writes, i, t)) fail(`race: load ${p.name}[${i}], written by another block or thread`, t);
    return p.read(i);
  };
  return {
    buffer: (b, data) => ({
      name: b.name,
      size: b.size,
      ...accessors(b, data),
      once: b.access === 'write',
      space: 'buffer',
      written: undefined,
      coming: new Int32Array(0),
      writes: owners(b.access === 'read' ? 0 : b.size),
      reads: owners(b.access === 'read' ? 0 : b.size),
      atoms: new Map(),
    }),
    local: (name, size, space) => {
      const data = new Float64Array(size);
      const tracked = space === 'shared' ? size : 0;
      return {
        name,
        size,
        read: (i) => data[i] as number,
        write: (i, v) => {
          data[i] = v;
        },
        once: false,
        space,
        written: new Uint8Array(size),
        coming: new Int32Array(tracked),
        writes: owners(tracked),
        reads: owners(tracked),
        atoms: new Map(),
      };
    },
    enterBlock: (n) => {
      block = n;
      begun = ++clock;
    },
    barrier: () => {
      begun = ++clock;
    },
    tick: () => ++clock,
    since: () => begun,
    load: (p, i, t, fail) => {
      const v = look(p, i, t, fail);
      if (p.writes.block.length > 0) {
        const r = p.reads;
        const before = r.block[i] as number;
        const many = before !== -1 && before !== block;
        const fellow = before === block && apart(r, i, t);
        own(r, i, fellow ? -2 : t.thread);
        if (many) r.block[i] = -2;
      }
      return v;
    },
    look,
    store,
    begin: (p, i, t, fail) => {
      // what was there is gone from here on
      store(p, i, Number.NaN, t, fail);
      p.coming[i] = t.thread + 1;
    },
    come: (p, i, v, t, fail) => {
      p.coming[i] = 0;
      store(p, i, v, t, fail);
    },
    land: (p, i, v, by) => {
      p.coming[i] = 0;
      own(p.writes, i, by);
      if (p.written) p.written[i] = 1;
      p.write(i, v);
    },
    use: (p, atom, w, time) => {
      const times = p.atoms.get(atom) ?? new Int32Array(mostWarps).fill(-1);
      p.atoms.set(atom, times);
      times[w] = time;
    },
  };
};
