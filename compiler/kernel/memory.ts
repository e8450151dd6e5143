/**
 * The memory of the kernel interpreter: buffers and arrays that know who touched each element last. An element that is
 * written may, until the next barrier of the block, be touched by the same thread only, and never by another block.
 *
 * Every element keeps its last writer and its readers as one number, an epoch: (block, phase between barriers, thread).
 * Several readers of one block and phase become "many threads"; readers of several blocks become "many blocks". An element to which a copy is
 * under way belongs to nobody.
 */
import type { HostData } from '../graph/types.ts';
import { bitsOf, numberOf } from './scalar.ts';
import type { KBuffer } from './types.ts';

/** Who asks: the thread and what to call it in a message. */
export interface Who {
  readonly block: readonly [number, number, number];
  readonly thread: number;
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
  /** Last writer and reader of each element: block, phase, thread; -1 nobody, -2 several. Empty for register arrays. */
  readonly writes: Owners;
  readonly reads: Owners;
}
interface Owners {
  readonly block: Int32Array;
  readonly phase: Int32Array;
  readonly thread: Int32Array;
}

const owners = (n: number): Owners => ({ block: new Int32Array(n).fill(-1), phase: new Int32Array(n), thread: new Int32Array(n) });

export interface Memory {
  buffer(b: KBuffer, data: HostData): Place;
  local(name: string, size: number, space: 'shared' | 'register'): Place;
  enterBlock(n: number): void;
  barrier(): void;
  load<T extends Who>(p: Place, i: number, t: T, fail: Fail<T>): number;
  store<T extends Who>(p: Place, i: number, v: number, t: T, fail: Fail<T>): void;
  /** A copy to an element of a shared array begins; and it comes. */
  begin<T extends Who>(p: Place, i: number, t: T, fail: Fail<T>): void;
  come<T extends Who>(p: Place, i: number, v: number, t: T, fail: Fail<T>): void;
}

export const memory = (): Memory => {
  let block = 0;
  let phase = 0;
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
  /** Whether an earlier access by `o` and one by thread `thread` now are unordered. */
  const apart = (o: Owners, i: number, thread: number): boolean => {
    const b = o.block[i] as number;
    if (b === -1) return false;
    return b !== block || (o.phase[i] === phase && o.thread[i] !== thread);
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
      if (apart(p.writes, i, t.thread) || apart(p.reads, i, t.thread))
        fail(`race: store ${p.name}[${i}], touched by another block or thread`, t);
      p.writes.block[i] = block;
      p.writes.phase[i] = phase;
      p.writes.thread[i] = t.thread;
    }
    if (p.written) p.written[i] = 1;
    p.write(i, v);
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
      };
    },
    enterBlock: (n) => {
      block = n;
      phase = 0;
    },
    barrier: () => {
      phase++;
    },
    load: (p, i, t, fail) => {
      bounds(p, i, 'load', t, fail);
      arrived(p, i, 'load', t, fail);
      if (p.written && !p.written[i]) fail(`load ${p.name}[${i}] reads an element that was never written`, t);
      if (p.writes.block.length > 0) {
        if (apart(p.writes, i, t.thread)) fail(`race: load ${p.name}[${i}], written by another block or thread`, t);
        const r = p.reads;
        const before = r.block[i] as number;
        const many = before !== -1 && before !== block;
        const fellow = before === block && r.phase[i] === phase && r.thread[i] !== t.thread;
        r.block[i] = many ? -2 : block;
        r.phase[i] = phase;
        r.thread[i] = fellow ? -2 : t.thread;
      }
      return p.read(i);
    },
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
  };
};
