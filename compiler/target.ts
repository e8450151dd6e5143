/**
 * What the compiler knows of a machine, as data, and the two interfaces that a backend implements. Nothing else in the
 * compiler branches on a target's name. A backend is passed in as a value (`compile(f, specs, { backend })`).
 */
import type { Graph, HostData, TensorType } from './graph/types.ts';
import type { Plan } from './plan/types.ts';

/** Sizes in bytes, counts as integers, peaks per second and over all threads. */
export interface Target {
  readonly name: string;
  /** Threads that run blocks at the same time (CPU cores, GPU multiprocessors). */
  readonly workers: number;
  /** Threads of one block; 1 = schedules without barriers. */
  readonly maxThreads: number;
  /** Widest vector of a lane type, 64 = AVX-512. */
  readonly vectorBytes: number;
  /** Vector registers that a register tile may use. */
  readonly registers: number;
  /** `dot2` is one instruction, at lanes of vectorBytes: contractions of bf16 are faster as pairs than as f32. */
  readonly bf16Dot: boolean;
  readonly sharedBytes: number;
  readonly maxBuffers: number;
  /** Alignment of buffer offsets in the arena. */
  readonly alignment: number;
  readonly cacheBytes: { readonly l1: number; readonly l2: number };
  readonly peak: { readonly flops: number; readonly bytes: number };
}

/** A plan, or a graph, ready to run on a device. */
export interface Executable {
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
  /** aliases[o] = number of the input in whose place output o is written; -1 where it has its own. */
  readonly aliases: readonly number[];
  /** Launches of a run whose blocks several threads share; absent where a backend has no launches. */
  readonly shared?: number;
  /** Copies data into input i. Throws FV0305 on a wrong length or array type. */
  write(i: number, data: HostData): void;
  /** Runs one step. The event loop stays free. One run at a time. */
  run(): Promise<void>;
  /** A copy of output o as of the last run. */
  read(o: number): HostData;
  /** Frees the arena; later calls throw FV0304. */
  dispose(): void;
}

/** A backend takes the bound graph (an interpreter) or the finished plan (everything else). */
export type Backend =
  | { readonly kind: 'graph'; readonly name: string; prepare(graph: Graph, aliases: readonly number[]): Promise<Executable> }
  | {
      readonly kind: 'plan';
      readonly name: string;
      readonly target: Target;
      prepare(plan: Plan, progress?: Progress): Promise<Executable>;
    };

/** Called as work proceeds: `done` of `total` kernels compiled. */
export type Progress = (done: number, total: number) => void;
