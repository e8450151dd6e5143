/**
 * The plan: what a backend runs. One arena with static offsets, a list of launches in order, and where inputs, outputs
 * and constants lie in the arena. It is plain data: serialisable, comparable, readable without the compiler.
 */
import type { Phase, TensorType } from '../graph/types.ts';
import type { Kernel } from '../kernel/types.ts';

/** Bytes [offset, offset + bytes) of the arena. */
export interface Slot {
  readonly type: TensorType;
  readonly offset: number;
  readonly bytes: number;
}

export interface Launch {
  /** Index into Plan.kernels. */
  readonly kernel: number;
  /** Arena offset of each of the kernel's buffers, in order. */
  readonly offsets: readonly number[];
  /**
   * Where launches of several sizes share a kernel, whose own grid and buffers are those of the largest: blocks to run, and elements
   * of each buffer.
   */
  readonly part?: { readonly blocks: number; readonly sizes: readonly number[] };
  readonly scope: string;
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

export interface Plan {
  /** Distinct kernels: launches of equal text share one. */
  readonly kernels: readonly Kernel[];
  readonly launches: readonly Launch[];
  readonly inputs: readonly Slot[];
  readonly outputs: readonly Slot[];
  /** aliases[o] = input whose slot output o shares, or -1. */
  readonly aliases: readonly number[];
  readonly constants: readonly { readonly slot: Slot; readonly data: readonly number[] }[];
  readonly arenaBytes: number;
  readonly lifetimes: readonly Lifetime[];
}
