/**
 * A collective as requests of MPI. Gathers move bits. MPI has no sum of bf16 and f16: they are widened, added up in float32 and rounded once.
 *
 *   reduce-scatter bf16, 2 ranks:   [n * 2] bf16 -> f32  |  MPI_Ireduce_scatter_block of f32  |  [n] f32 -> bf16, when the transfer is waited for
 */
import type { Collective, CollectiveKind, Memory, Segment } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import { fromF32, toF32 } from '../../../compiler/graph/floats.ts';
import { type DType, hostArrays } from '../../../compiler/graph/types.ts';
import { addressOf, type Comm, type Mpi, mostElements, type Requests } from './bind.ts';
import type { Wire } from './handles.ts';

/** What a type is on the wire, and what stands for it where numbers are reduced. */
const wires: { readonly [T in DType]: { readonly gather: Wire; readonly reduce: Wire | 'widened' } } = {
  f32: { gather: 'f32', reduce: 'f32' },
  i32: { gather: 'i32', reduce: 'i32' },
  u32: { gather: 'u32', reduce: 'u32' },
  bool: { gather: 'u8', reduce: 'u8' },
  bf16: { gather: 'u16', reduce: 'widened' },
  f16: { gather: 'u16', reduce: 'widened' },
};

export const sums: readonly DType[] = (Object.keys(wires) as DType[]).filter((t) => wires[t].reduce !== 'widened');

export interface Transfer {
  readonly requests: Requests;
  /** Memory that MPI works on, besides the arena: held for as long as the transfer is. */
  readonly staged: readonly Float32Array[];
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

export const begin = (mpi: Mpi, c: Collective, memory: Memory, comm: Comm, ranks: number): Transfer => {
  const { kind, dtype, segments, scope } = c;
  const requests = mpi.requests(segments.length);
  const staged: Float32Array[] = [];
  const width = hostArrays[dtype].BYTES_PER_ELEMENT;
  const [sent, received] = factors[kind](ranks);
  const wire = kind === 'all-gather' ? wires[dtype].gather : wires[dtype].reduce;
  const words = (offset: number, n: number): Uint16Array => {
    const bytes = memory.view(offset, n * width);
    return new Uint16Array(bytes.buffer, bytes.byteOffset, n);
  };
  const ends = segments.map(({ send, receive, count }: Segment): (() => void) => {
    if (count > mostElements)
      throw new FoveaError('FV0802', `${kind} of ${scope}: a piece of ${count} elements; MPI takes ${mostElements}`, {
        hint: 'Split over more ranks, or into smaller tensors.',
      });
    if (count === 0) return none;
    if (wire !== 'widened') {
      launch(mpi, c, comm, requests, memory.address + BigInt(send), memory.address + BigInt(receive), count, wire);
      return none;
    }
    const half = dtype === 'f16' ? 'f16' : 'bf16';
    const wide = toF32(words(send, sent * count), half);
    const sum = new Float32Array(received * count);
    launch(mpi, c, comm, requests, addressOf(wide), addressOf(sum), count, 'f32');
    staged.push(wide, sum);
    return () => words(receive, received * count).set(fromF32(sum, half));
  });
  return {
    requests,
    staged,
    finish: () => {
      for (const end of ends) end();
    },
  };
};
