/**
 * What ranks say to each other, as data, and the interface of those who carry it: N simulated ranks in one process, or MPI.
 *
 * A plan for one rank of several is its launches and, between them, events: a collective is started before one launch and waited for
 * before a later one (plan/types.ts). Every rank has the same plan. An executor runs the launches up to the next event in one call, then
 * starts or waits, and so on; it knows neither the backend nor who carries the bytes.
 *
 *   launch 0..4 | start #0 all-gather | launch 5..9 | wait #0 | launch 10 ..
 *
 * A collective moves contiguous pieces of the arena, several at once: a bucket. Nothing is packed by the plan; who carries may do as it likes.
 */
import type { CollectiveKind, DType, GroupName, Phase, Reduction } from './graph/types.ts';

export { type CollectiveKind, collectiveKinds, type GroupName, groupNames, type Reduction } from './graph/types.ts';

/**
 * One contiguous piece. `send` and `receive` are byte offsets in the arena, which do not overlap. With n ranks in the group and `count` elements:
 *
 *   all-gather       sends count, receives n * count: the piece of place i stands at element i * count
 *   reduce-scatter   sends n * count, receives count: place i gets the reduction of everybody's elements from i * count on
 *   all-reduce       sends count, receives count
 */
export interface Segment {
  readonly send: number;
  readonly receive: number;
  readonly count: number;
}

/** Bytes that each of n ranks sends of an operand of `bytes`, by a ring: a gather and a scatter pass on all pieces but one, a reduction to all does both. */
export const ringBytes = (kind: CollectiveKind, n: number, bytes: number): number =>
  kind === 'all-gather' ? (n - 1) * bytes : ((kind === 'all-reduce' ? 2 : 1) * (n - 1) * bytes) / n;

export interface Collective {
  readonly kind: CollectiveKind;
  readonly group: GroupName;
  /** Of all segments, in memory and on the wire. Sums of bf16 and f16 accumulate in float32 and are rounded once, but NCCL rounds after each rank. */
  readonly dtype: DType;
  /** Sum for an all-gather, which has none. */
  readonly reduction: Reduction;
  readonly segments: readonly Segment[];
  readonly scope: string;
  readonly phase: Phase;
}

/** A start or a wait, which happens before launch number `before` (the number of launches: after the last), in the order of the list. */
export interface PlanEvent {
  readonly what: 'start' | 'wait';
  /** Index into Plan.collectives. Each is started once and waited for once, later. */
  readonly collective: number;
  readonly before: number;
}

/** The arena of a rank. */
export interface Memory {
  /** Where byte 0 lies; 0n where the memory has no address that C could use. Of a device's memory it is the device's. */
  readonly address: bigint;
  /** Throws FV0305 where a device has memory of its own. */
  view(offset: number, bytes: number): Uint8Array;
  /** There where the memory is a device's: who carries puts work in one of its streams. */
  readonly device?: DeviceQueue;
}

/**
 * A stream that runs beside the launches. What is put there begins when all has ended that is under way in the executable, and is done when the function
 * that comes back says so. All transfers of a rank share the stream, so they run in the order of their starts.
 */
export interface DeviceQueue {
  put(work: (stream: bigint) => void): () => boolean;
  /** The bytes, when they have come. */
  download(offset: number, bytes: number): () => Uint8Array | undefined;
  upload(offset: number, data: Uint8Array): () => boolean;
}

/** What a carrier can do, as data: cost model and executor ask this, never for a name. */
export interface CarrierCaps {
  /** Transfers proceed while launches run; otherwise the executor calls `progress` between stretches. */
  readonly asyncProgress: boolean;
  /** Equal inputs give equal bits from run to run for one number of ranks. */
  readonly deterministic: boolean;
  /** Types that `sum` takes as they are; the others are widened and rounded by the carrier itself. */
  readonly sums: readonly DType[];
}

/** A transfer under way. Its memory belongs to it until `wait` has settled. */
export interface Ticket {
  readonly collective: Collective;
  /** Number of the start on this communicator, from 0: equal on all ranks. */
  readonly sequence: number;
}

/**
 * One rank's end of a group of ranks. Calls come in the same order on all ranks; a carrier that sees two ranks disagree, wait for ever, or end
 * with a start that nobody waited for, says so (FV0704) on every rank. `wait` keeps the event loop free.
 */
export interface Communicator {
  readonly rank: number;
  readonly size: number;
  readonly caps: CarrierCaps;
  start(collective: Collective, memory: Memory): Ticket;
  wait(ticket: Ticket): Promise<void>;
  /** Lets transfers proceed. Cheap; does nothing where they proceed by themselves. */
  progress(): void;
  /** Everybody's text in rank order: programs and options are compared with it at the start; also a barrier. */
  exchange(text: string): Promise<readonly string[]>;
  /** The ranks that give the same colour, in the order of key, as a communicator of their own. All ranks call it together. */
  split(colour: number, key: number): Promise<Communicator>;
  /** Throws if a peer is known to have failed. */
  check(): void;
  /** Ends the job: what all ranks wait for fails with the reason. */
  abort(reason: string): void;
  /** Closes those that were split off first. All ranks call it together. A second call does nothing. */
  close(): Promise<void>;
}

/** The communicators of one rank by the names that collectives use. */
export type Communicators = { readonly [G in GroupName]: Communicator };
