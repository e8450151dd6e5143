/**
 * The plan: what a backend runs. One arena with static offsets, a list of launches in order, and where inputs, outputs
 * and constants lie in the arena. It is plain data: serialisable, comparable, readable without the compiler.
 *
 * A plan for one rank of several also has collectives, which start and end between launches.
 */
import type { Collective, PlanEvent } from '../collectives.ts';
import type { Loc } from '../error.ts';
import type { Phase, TensorType } from '../graph/types.ts';
import type { Kernel } from '../kernel/types.ts';
import type { Schedule } from '../target.ts';

/** Bytes [offset, offset + bytes) of the arena. */
export interface Slot {
  readonly type: TensorType;
  readonly offset: number;
  readonly bytes: number;
}

/** A kernel's work on buffers of its own. Kernels that stand for several sizes have the grid and the buffers of the largest. */
export interface Part {
  /** Arena offset of each of the kernel's buffers, in order, and the elements that lie there. */
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
  /** Blocks [0, blocks) of the kernel's grid, axis 0 first. */
  readonly blocks: number;
}

export interface Launch {
  /** Index into Plan.kernels. */
  readonly kernel: number;
  /**
   * One or more, which may run in any order or at the same time: none reads or writes what another writes. A launch numbers the blocks of
   * all its parts through: parts of 3 and 5 blocks are 8 blocks, of which the last is block 4 of the second part.
   */
  readonly parts: readonly Part[];
  readonly scope: string;
  /** The user's line that it comes from; not kept with the plan, since lines move. */
  readonly loc?: Loc | undefined;
  readonly phase: Phase;
  /** What it computes (template and main primitives) and why the group ends where it ends. */
  readonly label: string;
  readonly reason: string;
  /** Arithmetic and memory traffic, by count: the two numbers of the roofline. */
  readonly flops: number;
  readonly bytes: number;
}

/** A value's life in the arena, for the memory report: launches [first, last]. */
export interface Lifetime {
  readonly slot: Slot;
  readonly scope: string;
  readonly first: number;
  readonly last: number;
}

/** The schedule of kernels whose template had a choice. */
export interface Chosen {
  /** What it is filed under: sizes, strides and types, in one line. */
  readonly key: string;
  readonly schedule: Schedule;
  /** Why a record of that key was left aside. */
  readonly ignored?: string;
}

export interface Plan {
  /** Distinct kernels: launches of equal text share one. */
  readonly kernels: readonly Kernel[];
  readonly launches: readonly Launch[];
  /** Empty in a plan for one device. */
  readonly collectives: readonly Collective[];
  /** In order; `before` never falls. */
  readonly events: readonly PlanEvent[];
  readonly inputs: readonly Slot[];
  readonly outputs: readonly Slot[];
  /** aliases[o] = input whose slot output o shares, or -1. */
  readonly aliases: readonly number[];
  readonly constants: readonly { readonly slot: Slot; readonly data: readonly number[] }[];
  readonly arenaBytes: number;
  readonly lifetimes: readonly Lifetime[];
  /** One a key. */
  readonly chosen: readonly Chosen[];
}
