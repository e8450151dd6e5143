/**
 * The functions of NCCL that collectives need, called through koffi. Addresses are the device's, streams those of the driver; what is called here only
 * puts work into a stream. Each returns NCCL's code; one that is not 0 becomes FV0802 with NCCL's own words.
 *
 * NCCL works on the device whose context is current in this thread.
 */
import type { Reduction } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import type { DType } from '../../../compiler/graph/types.ts';
import type { loadNccl } from '../../cuda/libraries.ts';
import { koffi } from '../../native/koffi.ts';

type Address = bigint;
export type Comm = bigint;

/** ncclDataType_t. A bool is a byte. */
const types: { readonly [T in DType]: number } = { bool: 1, i32: 2, u32: 3, f16: 6, f32: 7, bf16: 9 };
/** ncclRedOp_t. */
const operations: { readonly [R in Reduction]: number } = { sum: 0, max: 2, min: 3 };
/** Bytes of ncclUniqueId. */
const idBytes = 128;
/** ncclCommSplit is there from 2.18 on. */
const oldest = 21800;

export interface Nccl {
  readonly version: string;
  /** What ranks of one world must have in common: made by one of them. */
  readonly uniqueId: () => Uint8Array;
  /** All ranks together; the thread waits for them. */
  readonly init: (id: Uint8Array, size: number, rank: number) => Comm;
  readonly split: (c: Comm, colour: number, key: number) => Comm;
  readonly rank: (c: Comm) => number;
  readonly size: (c: Comm) => number;
  /** `count` elements a rank. */
  readonly allGather: (from: Address, to: Address, count: number, type: DType, c: Comm, stream: bigint) => void;
  readonly reduceScatter: (from: Address, to: Address, count: number, type: DType, op: Reduction, c: Comm, stream: bigint) => void;
  readonly allReduce: (from: Address, to: Address, count: number, type: DType, op: Reduction, c: Comm, stream: bigint) => void;
  /** What `calls` puts into streams goes as one. */
  readonly group: (calls: () => void) => void;
  /** What went wrong on a device or on the way since; undefined where nothing did. */
  readonly asyncError: (c: Comm) => string | undefined;
  readonly destroy: (c: Comm) => void;
  /** Ends what is under way, without the other ranks. */
  readonly abort: (c: Comm) => void;
}

const versionText = (v: number): string => `${Math.floor(v / 10000)}.${Math.floor(v / 100) % 100}.${v % 100}`;

/** FV0310: the library is too old. */
export const bindNccl = (lib: ReturnType<typeof loadNccl>): Nccl => {
  type Argument = Address | number | ArrayBufferView | { readonly internal: Uint8Array } | null;
  type Call = (...a: readonly Argument[]) => number;
  const [P, H, A, N, I] = ['void *', 'uintptr_t', 'uint64_t', 'size_t', 'int'] as const;
  const id = koffi.struct({ internal: koffi.array('uint8_t', idBytes, 'Typed') });
  const describe = lib.func('const char *ncclGetErrorString(int code)') as unknown as (code: number) => string;
  const last = lib.func('const char *ncclGetLastError(uintptr_t comm)') as unknown as (comm: Comm) => string | null;
  const words = (code: number): string => [describe(code), last(0n)].filter((t) => t).join(': ');
  const bind = (name: string, ...parameters: readonly (string | typeof id)[]) => {
    const f = lib.func(name, 'int', [...parameters]) as unknown as Call;
    return (...a: readonly Argument[]): void => {
      const code = f(...a);
      if (code !== 0)
        throw new FoveaError('FV0802', `${name}: ${words(code)}`, { hint: 'Set NCCL_DEBUG=WARN to have NCCL say more, on every rank.' });
    };
  };
  const number = new Int32Array(1);
  const read = (call: (out: Int32Array) => void): number => {
    call(number);
    return number[0] as number;
  };
  const made = (call: (out: BigUint64Array) => void): Comm => {
    const out = new BigUint64Array(1);
    call(out);
    return out[0] as bigint;
  };
  const getVersion = bind('ncclGetVersion', P);
  const version = read((out) => getVersion(out));
  if (version < oldest)
    throw new FoveaError('FV0310', `NCCL ${versionText(version)} is too old: ${versionText(oldest)} or newer is needed`, {
      hint: "Install a newer one, for example Python's package nvidia-nccl-cu12, or name one in FOVEA_NCCL.",
    });
  const c = {
    uniqueId: bind('ncclGetUniqueId', P),
    init: bind('ncclCommInitRank', P, I, id, I),
    split: bind('ncclCommSplit', H, I, I, P, P),
    rank: bind('ncclCommUserRank', H, P),
    size: bind('ncclCommCount', H, P),
    allGather: bind('ncclAllGather', A, A, N, I, H, H),
    reduceScatter: bind('ncclReduceScatter', A, A, N, I, I, H, H),
    allReduce: bind('ncclAllReduce', A, A, N, I, I, H, H),
    groupStart: bind('ncclGroupStart'),
    groupEnd: bind('ncclGroupEnd'),
    asyncError: bind('ncclCommGetAsyncError', H, P),
    destroy: bind('ncclCommDestroy', H),
    abort: bind('ncclCommAbort', H),
  };
  return {
    version: versionText(version),
    uniqueId: () => {
      const out = new Uint8Array(idBytes);
      c.uniqueId(out);
      return out;
    },
    init: (internal, size, rank) => made((out) => c.init(out, size, { internal }, rank)),
    split: (comm, colour, key) => made((out) => c.split(comm, colour, key, out, null)),
    rank: (comm) => read((out) => c.rank(comm, out)),
    size: (comm) => read((out) => c.size(comm, out)),
    allGather: (from, to, n, t, comm, s) => c.allGather(from, to, n, types[t], comm, s),
    reduceScatter: (from, to, n, t, op, comm, s) => c.reduceScatter(from, to, n, types[t], operations[op], comm, s),
    allReduce: (from, to, n, t, op, comm, s) => c.allReduce(from, to, n, types[t], operations[op], comm, s),
    group: (calls) => {
      c.groupStart();
      try {
        calls();
      } finally {
        c.groupEnd();
      }
    },
    asyncError: (comm) => {
      const code = read((out) => c.asyncError(comm, out));
      return code === 0 ? undefined : words(code);
    },
    destroy: (comm) => c.destroy(comm),
    abort: (comm) => c.abort(comm),
  };
};
