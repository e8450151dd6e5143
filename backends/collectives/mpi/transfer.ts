/**
 * A collective as requests of MPI. Gathers move bits. MPI has no sum of bf16 and f16: they are widened, added up in float32 and rounded once. What its
 * maximum makes of a NaN is the library's affair: floats travel as integers in the same order (ordered.ts).
 *
 *   reduce-scatter bf16, 2 ranks:   [n * 2] bf16 -> f32  |  MPI_Ireduce_scatter_block of f32  |  [n] f32 -> bf16, when the transfer is waited for
 */
import type { Collective, CollectiveKind, Memory, Segment } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import { fromF32, toF32 } from '../../../compiler/graph/floats.ts';
import { bytesOf, type DType, isFloat } from '../../../compiler/graph/types.ts';
import { ordered, unordered } from '../ordered.ts';
import { addressOf, type Comm, type Mpi, mostElements, type Requests } from './bind.ts';
import type { Wire } from './handles.ts';

/** What a type is on the wire where bits are moved, and where numbers are added up, if MPI can. */
const wires: { readonly [T in DType]: { readonly gather: Wire; readonly sum?: Wire } } = {
  f32: { gather: 'f32', sum: 'f32' },
  i32: { gather: 'i32', sum: 'i32' },
  u32: { gather: 'u32', sum: 'u32' },
  bool: { gather: 'u8', sum: 'u8' },
  bf16: { gather: 'u16' },
  f16: { gather: 'u16' },
};

/** Numbers that travel as others: as which, and back. */
interface Way<X extends Float32Array | Int32Array> {
  readonly wire: Wire;
  readonly room: new (length: number) => X;
  readonly there: (x: Float32Array) => X;
  readonly back: (y: X) => Float32Array;
}
const widened: Way<Float32Array> = { wire: 'f32', room: Float32Array, there: (x) => x, back: (y) => y };
const inOrder = (reduction: 'max' | 'min'): Way<Int32Array> => ({
  wire: 'i32',
  room: Int32Array,
  there: (x) => ordered(x, reduction),
  back: unordered,
});

export const sums: readonly DType[] = (Object.keys(wires) as DType[]).filter((t) => wires[t].sum !== undefined);

export interface Transfer {
  readonly requests: Requests;
  /** Memory that MPI works on, besides the arena: held for as long as the transfer is. */
  readonly staged: readonly ArrayBufferView[];
  /** What is left to do when the requests have ended. */
  readonly finish: () => void;
}

/** Elements that a rank sends and receives, times `count`. */
const factors: { readonly [K in CollectiveKind]: (n: number) => readonly [send: number, receive: number] } = {
  'all-gather': (n) => [1, n],
  'reduce-scatter': (n) => [n, 1],
  'all-reduce': () => [1, 1],
};

const launch = (mpi: Mpi, c: Collective, comm: Comm, r: Requests, from: bigint, to: bigint, count: number, type: Wire): void => {
  if (c.kind === 'all-gather') mpi.allGather(from, to, count, type, comm, r);
  else if (c.kind === 'reduce-scatter') mpi.reduceScatter(from, to, count, type, c.reduction, comm, r);
  else mpi.allReduce(from, to, count, type, c.reduction, comm, r);
};

const none = (): void => {};
const halfOf = (t: DType): 'f16' | 'bf16' => (t === 'f16' ? 'f16' : 'bf16');

/** The wire of what travels as it is; undefined where `staged` is needed. */
const direct = ({ kind, dtype, reduction }: Collective): Wire | undefined => {
  if (kind === 'all-gather') return wires[dtype].gather;
  return reduction !== 'sum' && isFloat(dtype) ? undefined : wires[dtype].sum;
};

export const begin = (mpi: Mpi, c: Collective, memory: Memory, comm: Comm, ranks: number): Transfer => {
  const { kind, dtype, segments, scope, reduction } = c;
  const requests = mpi.requests(segments.length);
  const held: ArrayBufferView[] = [];
  const [sent, received] = factors[kind](ranks);
  const wire = direct(c);
  const floats = (offset: number, n: number): Float32Array => {
    const { buffer, byteOffset } = memory.view(offset, n * bytesOf[dtype]);
    return dtype === 'f32' ? new Float32Array(buffer, byteOffset, n) : toF32(new Uint16Array(buffer, byteOffset, n), halfOf(dtype));
  };
  /** Through arrays of this process's: what is left to do when it has arrived. */
  const staged = <X extends Float32Array | Int32Array>({ wire: as, room, there, back }: Way<X>, { send, receive, count }: Segment) => {
    const [out, got] = [there(floats(send, sent * count)), new room(received * count)];
    launch(mpi, c, comm, requests, addressOf(out), addressOf(got), count, as);
    held.push(out, got);
    return (): void => {
      const n = received * count;
      const x = back(got);
      const { buffer, byteOffset } = memory.view(receive, n * bytesOf[dtype]);
      if (dtype === 'f32') new Float32Array(buffer, byteOffset, n).set(x);
      else new Uint16Array(buffer, byteOffset, n).set(fromF32(x, halfOf(dtype)));
    };
  };
  const ends = segments.map((s: Segment): (() => void) => {
    const { send, receive, count } = s;
    if (count > mostElements)
      throw new FoveaError('FV0802', `${kind} of ${scope}: a piece of ${count} elements; MPI takes ${mostElements}`, {
        hint: 'Split over more ranks, or into smaller tensors.',
      });
    if (count === 0) return none;
    if (wire === undefined) return reduction === 'sum' ? staged(widened, s) : staged(inOrder(reduction), s);
    launch(mpi, c, comm, requests, memory.address + BigInt(send), memory.address + BigInt(receive), count, wire);
    return none;
  });
  return {
    requests,
    staged: held,
    finish: () => {
      for (const end of ends) end();
    },
  };
};
