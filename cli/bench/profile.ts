/**
 * Where the time of a run goes, kernel by kernel: the two numbers of the roofline (arithmetic, bytes) beside the measured time. A
 * launch counts with its fastest time of several runs, since a launch that another program interrupts says nothing about the kernel.
 *
 *   of peak: arithmetic a second over the measured peak, or bytes a second over the bandwidth of a large copy, whichever is higher
 */
import type { FloatType } from '../../compiler/graph/types.ts';
import type { Backend, Plan, Progress, Tune } from '../../index.ts';
import type { Peaks } from './peaks.ts';
import { launchSeconds } from './prepared.ts';
import type { Case } from './types.ts';

/** All launches of one kernel in a run. */
export interface KernelLine {
  readonly kernel: string;
  readonly template: string;
  readonly label: string;
  readonly phase: string;
  /** Scope of the first launch. */
  readonly scope: string;
  readonly launches: number;
  readonly ms: number;
  /** Of the time of all kernels. */
  readonly share: number;
  readonly gflop: number;
  readonly gbyte: number;
  readonly gflops: number;
  readonly gbytes: number;
  readonly of_peak: number;
}

export interface Profile {
  readonly kernels: readonly KernelLine[];
  readonly ms: number;
  readonly gflop: number;
  readonly gbyte: number;
  /** Measured: 1e9 operations, 1e9 bytes a second. */
  readonly peak_gflops: number;
  readonly peak_gbytes: number;
}

/** More than any cache holds. */
const large = 256e6;

/** Things by key, keys in the order of their first thing. */
export const grouped = <X, K>(xs: Iterable<X>, key: (x: X) => K): ReadonlyMap<K, readonly X[]> => {
  const out = new Map<K, X[]>();
  for (const x of xs) {
    const k = key(x);
    const known = out.get(k);
    if (known) known.push(x);
    else out.set(k, [x]);
  }
  return out;
};

const fastest = (runs: readonly ArrayLike<number>[], i: number): number => Math.min(...runs.map((r) => r[i] as number));

const kernelLines = (plan: Plan, runs: readonly ArrayLike<number>[], flopPeak: number, bytePeak: number): readonly KernelLine[] => {
  const seconds = plan.launches.map((_, i) => fastest(runs, i));
  const total = seconds.reduce((a, b) => a + b, 0);
  const groups = grouped(plan.launches.keys(), (i) => plan.launches[i]?.kernel as number);
  const lines = [...groups].map(([kernel, members]): KernelLine => {
    const add = (f: (i: number) => number): number => members.reduce((s, i) => s + f(i), 0);
    const launch = plan.launches[members[0] as number] as Plan['launches'][number];
    const time = add((i) => seconds[i] as number);
    const [flops, bytes] = [add((i) => plan.launches[i]?.flops ?? 0), add((i) => plan.launches[i]?.bytes ?? 0)];
    return {
      kernel: plan.kernels[kernel]?.name ?? '',
      template: launch.label.split(':')[0] as string,
      label: launch.label,
      phase: launch.phase,
      scope: launch.scope,
      launches: members.length,
      ms: 1e3 * time,
      share: time / total,
      gflop: flops / 1e9,
      gbyte: bytes / 1e9,
      gflops: flops / time / 1e9,
      gbytes: bytes / time / 1e9,
      of_peak: Math.max(flops / time / flopPeak, bytes / time / bytePeak),
    };
  });
  return lines.sort((a, b) => b.ms - a.ms);
};

export interface ProfileOptions {
  readonly backend: Backend;
  readonly dtype: FloatType;
  readonly tune?: Tune;
  readonly progress?: Progress;
  readonly peaks: Peaks | undefined;
  readonly runs: number;
}

/** Runs the program of a case a few times; undefined on a backend without launches. */
export const profile = async (c: Case, { backend, dtype, tune, progress, peaks, runs }: ProfileOptions): Promise<Profile | undefined> => {
  const p = await c.prepare(backend, dtype, { ...(tune ? { tune } : {}), ...(progress ? { progress } : {}) });
  try {
    const { plan } = p.report;
    if (!plan || !peaks) return undefined;
    await p.call();
    const times: ArrayLike<number>[] = [];
    for (let i = 0; i < runs; i++) times.push(await launchSeconds(p.executable));
    const [flopPeak, bytePeak] = [await peaks.flops(dtype), await peaks.copy(large)];
    const kernels = kernelLines(plan, times, flopPeak, bytePeak);
    const add = (f: (k: KernelLine) => number): number => kernels.reduce((s, k) => s + f(k), 0);
    return {
      kernels,
      ms: add((k) => k.ms),
      gflop: add((k) => k.gflop),
      gbyte: add((k) => k.gbyte),
      peak_gflops: flopPeak / 1e9,
      peak_gbytes: bytePeak / 1e9,
    };
  } finally {
    p.dispose();
  }
};
