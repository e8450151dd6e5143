/**
 * The functions of MPI that collectives need, called through koffi. Every handle is declared as a word of 64 bits (handles.ts). Functions return
 * MPI's code; one that is not 0 becomes FV0802 with MPI's own words.
 *
 * Requests of a transfer lie side by side in one array, as MPI_Testall wants them. Memory that MPI is told of must be held until it has ended.
 */

import type { Reduction } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import { koffi } from '../../native/koffi.ts';
import { type Handles, handlesOf, type Wire } from './handles.ts';
import type { Library } from './library.ts';

type Address = bigint;
export type Comm = bigint;

/** Requests under way: `add` is where the next one is written. The array stays where it is for as long as this object is held. */
export interface Requests {
  readonly add: () => Address;
  readonly memory: Uint8Array;
  readonly count: () => number;
}

/** Where an array's memory begins. It does not move while the array is held. */
export const addressOf = (x: ArrayBufferView): Address => BigInt(koffi.address(x));

/** The longest piece of a transfer, in elements: MPI counts in 32 bits. */
export const mostElements = 2 ** 31 - 1;

export interface Mpi {
  readonly handles: Handles;
  readonly rank: (c: Comm) => number;
  readonly size: (c: Comm) => number;
  readonly split: (c: Comm, colour: number, key: number) => Comm;
  readonly free: (c: Comm) => void;
  readonly requests: (most: number) => Requests;
  /** `count` elements a rank; the requests are taken from `r`. */
  readonly allGather: (from: Address, to: Address, count: number, type: Wire, c: Comm, r: Requests) => void;
  readonly reduceScatter: (from: Address, to: Address, count: number, type: Wire, op: Reduction, c: Comm, r: Requests) => void;
  readonly allReduce: (from: Address, to: Address, count: number, type: Wire, op: Reduction, c: Comm, r: Requests) => void;
  /** Whether all requests have ended. Lets them proceed. */
  readonly test: (r: Requests) => boolean;
  /** Gives the rest of this thread's time to others. */
  readonly pause: () => void;
  readonly finalize: () => void;
  /** Ends all processes of the job, this one too. */
  readonly abort: (c: Comm) => void;
}

/** Loads nothing and starts MPI: once a process. FV0802: MPI refuses. */
export const startMpi = ({ lib, family }: Library): Mpi => {
  const symbol = (name: string): bigint => BigInt(koffi.address(lib.symbol(name)));
  const handles = handlesOf(family, symbol);
  type Argument = Address | number | ArrayBufferView | null;
  const raw = (name: string, types: readonly string[]) =>
    lib.func(name, 'int', [...types]) as unknown as (...a: readonly Argument[]) => number;
  const describe = raw('MPI_Error_string', ['int', 'void *', 'void *']);
  const words = (code: number): string => {
    const [text, length] = [Buffer.alloc(4096), new Int32Array(1)];
    return describe(code, text, length) === 0 ? text.toString('latin1', 0, length[0]).replaceAll('\0', '').trim() : `code ${code}`;
  };
  const bind = (name: string, ...types: readonly string[]) => {
    const f = raw(name, types);
    return (...a: readonly Argument[]): void => {
      const code = f(...a);
      if (code !== 0) throw new FoveaError('FV0802', `${name}: ${words(code)}`, { hint: 'MPI says no more; its own output may.' });
    };
  };
  const [H, P, I] = ['uint64_t', 'void *', 'int'];
  const c = {
    init: bind('MPI_Init_thread', P, P, I, P),
    errors: bind('MPI_Comm_set_errhandler', H, H),
    rank: bind('MPI_Comm_rank', H, P),
    size: bind('MPI_Comm_size', H, P),
    split: bind('MPI_Comm_split', H, I, I, P),
    free: bind('MPI_Comm_free', P),
    allGather: bind('MPI_Iallgather', P, I, H, P, I, H, H, P),
    reduceScatter: bind('MPI_Ireduce_scatter_block', P, P, I, H, H, H, P),
    allReduce: bind('MPI_Iallreduce', P, P, I, H, H, H, P),
    test: bind('MPI_Testall', I, P, P, P),
    finalize: bind('MPI_Finalize'),
    abort: bind('MPI_Abort', H, I),
  };
  const number = (f: typeof c.rank) => (comm: Comm) => {
    const out = new Int32Array(1);
    f(comm, out);
    return out[0] as number;
  };
  // one process's pages may be closed to another (containers), which Open MPI finds out too late; and two copies are faster for most sizes
  process.env['OMPI_MCA_btl_vader_single_copy_mechanism'] ??= 'none';
  const funneled = 1; // only this thread calls
  c.init(null, null, funneled, new Int32Array(1));
  c.errors(handles.world, handles.errorsReturn);
  const { types, operations } = handles;
  const flag = new Int32Array(new ArrayBuffer(4));
  const yieldTime = process.platform === 'win32' ? () => 0 : koffi.load(null).func('int sched_yield()');
  return {
    handles,
    rank: number(c.rank),
    size: number(c.size),
    split: (comm, colour, key) => {
      // a handle of 32 bits leaves the upper half zero
      const out = new BigUint64Array(1);
      c.split(comm, colour, key, out);
      return out[0] as bigint;
    },
    free: (comm) => c.free(BigUint64Array.of(comm)),
    requests: (most) => {
      const memory = new Uint8Array(new ArrayBuffer(most * handles.bytes));
      const at = addressOf(memory);
      let used = 0;
      return {
        memory,
        count: () => used,
        add: () => at + BigInt(handles.bytes * used++),
      };
    },
    allGather: (from, to, n, t, comm, r) => c.allGather(from, n, types[t], to, n, types[t], comm, r.add()),
    reduceScatter: (from, to, n, t, op, comm, r) => c.reduceScatter(from, to, n, types[t], operations[op], comm, r.add()),
    allReduce: (from, to, n, t, op, comm, r) => c.allReduce(from, to, n, types[t], operations[op], comm, r.add()),
    test: (r) => {
      c.test(r.count(), r.memory, flag, handles.statusesIgnore);
      return flag[0] !== 0;
    },
    pause: () => yieldTime(),
    finalize: () => c.finalize(),
    abort: (comm) => c.abort(comm, 1),
  };
};
