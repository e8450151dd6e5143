/**
 * What a benchmark is, and what it reports. A case makes a program, says what of it is timed and how much work that is, and how its
 * results are compared with float64. A line is one measurement, in the names that `--json` prints.
 */
import type { FloatType } from '../../compiler/graph/types.ts';
import type { Backend, HostData } from '../../index.ts';
import type { Prepare } from './prepared.ts';

export const benches = ['forward', 'step', 'gemm', 'attention', 'map', 'reduce'] as const;
export type Bench = (typeof benches)[number];

/** How far results are from float64: the largest difference over the largest value of the same result. */
export interface Checked {
  /** null where nothing was compared; `against` says why. */
  readonly error: number | null;
  readonly against: string;
}

/** Results that the check asks for, by path, as of the first call. */
export type Outputs = (path: string) => HostData;

export interface Check {
  /** Results that are read after the first call. */
  readonly reads: (path: string) => boolean;
  readonly run: (outputs: Outputs, reference: Backend) => Promise<Checked>;
}

export interface Case {
  /** 'qkv', 'LayerNorm backward'. */
  readonly name: string;
  /** Sizes as the option `--shape` or `--size` would give them. */
  readonly shape: string;
  /** 'call': a whole call of the program. 'launches': the launches of a run, of all phases or of one, without what starts them. */
  readonly timed: 'call' | 'launches' | 'backward launches';
  /** Arithmetic of the timed part by definition, counted from the plan unless given. */
  readonly flops?: number;
  /** Bytes that the timed part cannot do without: every input read once, every result written once. */
  readonly bytes?: number;
  /** The roof that it should touch. */
  readonly bound: 'arithmetic' | 'memory';
  readonly prepare: Prepare;
  readonly check: Check;
}

/** One measurement. Times in milliseconds, work in 1e9, rates in 1e9 a second. */
export interface Line {
  readonly bench: Bench;
  readonly case: string;
  readonly shape: string;
  /** Of the operands of contractions; all else is float32. */
  readonly dtype: FloatType;
  readonly backend: string;
  /** The device, or the processor. */
  readonly machine: string;
  /** Of a processor. */
  readonly threads?: number;
  readonly runs: number;
  readonly median_ms: number;
  readonly min_ms: number;
  /** Processor time of the process in a run, of all threads together, mean over the runs. */
  readonly cpu_ms: number;
  readonly gflop?: number;
  readonly gflops?: number;
  /** Measured peak of multiply-adds of operands of this type. */
  readonly peak_gflops?: number;
  readonly gbyte?: number;
  readonly gbytes?: number;
  /** Measured bandwidth of a copy that touches as many bytes. */
  readonly peak_gbytes?: number;
  /** Rate at the median over the peak that bounds the case. */
  readonly of_peak?: number;
  /** Of arithmetic on a processor: the rate by its time, over the peak of one thread. What other programs take away is not in it. */
  readonly of_peak_cpu?: number;
  readonly error: number | null;
  readonly error_against: string;
  /** Largest resident memory of the process while this case was compiled and run. */
  readonly peak_memory_mib: number;
  readonly arena_mib?: number;
  readonly compile_ms: number;
  /** Kernels of the program, and how many of them the compiler had to be called for. */
  readonly kernels?: number;
  readonly kernels_compiled?: number;
}
