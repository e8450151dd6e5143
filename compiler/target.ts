/**
 * What the compiler knows of a machine, as data, and the two interfaces that a backend implements. Nothing else in the
 * compiler branches on a target's name. A backend is passed in as a value (`compile(f, specs, { backend })`).
 */
import type { Memory } from './collectives.ts';
import type { Graph, HostData, TensorType } from './graph/types.ts';
import type { Kernel, KMatrix } from './kernel/types.ts';
import type { Plan } from './plan/types.ts';

/** Units that multiply matrices of 16 x 16 halves, a warp of 32 threads together, and copies that run beside them (kernel/matrix.ts). */
export interface MatrixUnit {
  readonly dtypes: readonly KMatrix[];
  /** Multiply-adds that a processor starts in a cycle. */
  readonly products: number;
}

/** Sizes in bytes, counts as integers, peaks per second and over all threads. */
export interface Target {
  readonly name: string;
  /** Threads that run blocks at the same time (CPU cores, GPU multiprocessors). */
  readonly workers: number;
  /** Threads of one block; 1 = schedules without barriers. */
  readonly maxThreads: number;
  /** Neighbouring threads, from a multiple of so many on, that exchange values without memory, however many more it may be; 1 = none. */
  readonly subgroup: number;
  /** Widest vector of a lane type, 64 = AVX-512. */
  readonly vectorBytes: number;
  /** Vector registers that a register tile may use. */
  readonly registers: number;
  /** `dot2` is one instruction, at lanes of vectorBytes: contractions of bf16 are faster as pairs than as f32. */
  readonly bf16Dot: boolean;
  /** Arithmetic may take subnormal numbers for zero, coming in, between and going out. Absent where they are kept. */
  readonly flushes?: true;
  /** Its compiler takes a barrier only where it can prove that all threads of a block reach it, with less than verify takes for granted (kernel/meetings.ts). */
  readonly proves?: true;
  /** Absent where there is none. */
  readonly matrix?: MatrixUnit;
  /** Those that a warp group of 128 threads drives, with boxes of tensors that are fetched beside the work (kernel/wgmma.ts). Only where `matrix` is, too. */
  readonly wgmma?: MatrixUnit;
  readonly sharedBytes: number;
  readonly maxBuffers: number;
  /** Alignment of buffer offsets in the arena. */
  readonly alignment: number;
  readonly cacheBytes: { readonly l1: number; readonly l2: number };
  /** Tensors of so many bytes are written past the caches (plan/stores.ts). Absent where a target has no such way. */
  readonly nontemporalBytes?: number;
  readonly peak: { readonly flops: number; readonly bytes: number };
}

/** What a thread did of a launch, in seconds: when it began, counted from where the launch did, and how long it worked; 0 where it had no part. */
export interface Span {
  readonly from: number;
  readonly seconds: number;
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
  /** `write` may be called while a run is under way, which does not see it, for inputs whose places no result takes. Absent where it may not. */
  readonly ahead?: true;
  /** Runs one step. The event loop stays free. One run at a time. */
  run(): Promise<void>;
  /** A copy of output o as of the last run; later, where a device has to be asked. */
  read(o: number): HostData | Promise<HostData>;
  /** Runs the launches [first, first + count) and nothing else, for who runs a plan with collectives. Absent where a backend has no launches. */
  runSome?(first: number, count: number): Promise<void>;
  /** The arena, for collectives. Absent where this process does not see it. */
  readonly memory?: Memory;
  /** Runs one step as `run` does: seconds of each launch. Absent where a backend has no launches. */
  profile?(): Promise<Float64Array>;
  /** Of the last `profile`: for each launch what each thread did, where several take part. */
  spans?(): readonly (readonly Span[])[];
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
      /** The device, as it calls itself; absent where that is the processor. */
      readonly device?: string;
      /** Where finished plans are kept, if they are. */
      readonly plans?: PlanStore | undefined;
      /** `key` names the plan where it is kept: what is made of its kernels may be kept by the same name. */
      prepare(plan: Plan, progress?: Progress, key?: string): Promise<Executable>;
      /** The text of a kernel as the device's compiler gets it, without what kernels share: to be read. */
      readonly source?: (kernel: Kernel) => string;
      /** Where schedules are kept and measured; without it the model's choices are all there is. */
      readonly tuner?: Tuner;
    };

/**
 * Keeps plans as text by their names. A name stands for the program and its options, not for the compiler: a store must not give one compiler
 * what another has put. What it gives is checked: a text that is damaged or foreign is as good as none.
 */
export interface PlanStore {
  get(key: string): Promise<string | undefined>;
  /** Failing to keep a plan is no error. */
  put(key: string, text: string): Promise<void>;
}

/** Called as work proceeds: `done` of `total` kernels measured, where schedules are tuned, then compiled. */
export type Progress = (done: number, total: number, stage: 'measured' | 'compiled') => void;

/** A schedule as it is kept: the numbers of a template's record by name. */
export type Schedule = Readonly<Record<string, number>>;
/** Records by key; what a key says is the template's affair (tile/schedules.ts). */
export type Schedules = ReadonlyMap<string, Schedule>;

/** What a measurement of one key found. */
export interface Measured {
  readonly key: string;
  readonly schedule: Schedule;
  /** The model's first choice. */
  readonly model: Schedule;
  /** Seconds of one run, the fastest of several by turns. */
  readonly seconds: number;
  readonly modelSeconds: number;
  /** Schedules that were compared. */
  readonly tried: number;
}

/** Kernels with one list of buffers, on the same made-up numbers. */
export interface Race {
  /** What kernel i makes, as bytes, in memory that holds something else before. */
  results(i: number): Promise<readonly HostData[]>;
  /** Runs kernel i: seconds of one run. */
  seconds(i: number): Promise<number>;
  dispose(): void;
}

/** How a backend takes part in tuning. The rules of the game are in plan/tune.ts. */
export interface Tuner {
  /** Records for this target and this version. What else lies there is left out, with a notice. */
  known(): Promise<Schedules>;
  /** `flops` of one run say how often a small one is repeated. */
  race(kernels: readonly Kernel[], flops: number): Promise<Race>;
  keep(found: readonly Measured[]): Promise<void>;
  /** Tells the user, once, of something that is not used. */
  notice(text: string): void;
}
