/**
 * Measures one case: compile, call once, read what is to be compared, run a number of times, then compare. Peak memory is read before
 * the comparison, which may need more than the program.
 *
 * Wall time is what a user waits; processor time is the steadier figure on a machine that other programs share.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { FloatType } from '../../compiler/graph/types.ts';
import type { Backend, HostData, Progress, Tune } from '../../index.ts';
import type { Peaks } from './peaks.ts';
import { compiledKernels, launchSeconds, type Prepared } from './prepared.ts';
import type { Bench, Case, Checked, Line } from './types.ts';

export interface MeasureOptions {
  readonly bench: Bench;
  readonly dtype: FloatType;
  readonly tune: Tune;
  readonly progress: Progress;
  readonly backend: Backend;
  readonly peaks: Peaks | undefined;
  /** Of the processor; a device has its own. */
  readonly threads: number | undefined;
  readonly runs: number;
  /** Runs before the first that counts, the one that is checked not included. */
  readonly warm?: number;
  /** Backend of the comparison; without one results are not compared. */
  readonly reference?: Backend | undefined;
}

/** Where the system can forget the largest memory so far, it does: what is read later belongs to what came after. */
const forgetPeakMemory = (): void => {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // not Linux, or not allowed: the figure is then that of the whole process
  }
};

/** Largest resident memory of this process, in bytes. */
export const peakMemory = (): number => {
  try {
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
};

export const median = (xs: readonly number[]): number => {
  const sorted = [...xs].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

/** Seconds of one run of the part that the case times. */
const runOnce = async ({ timed }: Case, p: Prepared): Promise<number> => {
  if (timed === 'call' || p.report.plan === undefined) {
    const start = performance.now();
    await p.call();
    return (performance.now() - start) / 1e3;
  }
  const seconds = await launchSeconds(p.executable);
  const { launches } = p.report.plan;
  return Array.from(seconds).reduce((sum, s, i) => sum + (timed === 'launches' || launches[i]?.phase === 'bwd' ? s : 0), 0);
};

const readAll = async (c: Case, p: Prepared): Promise<ReadonlyMap<string, HostData>> => {
  const wanted = p.paths().flatMap((path, o) => (c.check.reads(path) ? [{ path, o }] : []));
  return new Map(await Promise.all(wanted.map(async ({ path, o }) => [path, await p.executable.read(o)] as const)));
};

const compared = async (c: Case, read: ReadonlyMap<string, HostData>, reference: Backend | undefined): Promise<Checked> =>
  reference ? c.check.run((path) => read.get(path) as HostData, reference) : { error: null, against: 'not asked for' };

const round = (x: number, digits = 4): number => Number(x.toPrecision(digits));

/** Rates and peaks of a run of `seconds`. */
const rates = async (
  c: Case,
  p: Prepared,
  seconds: number,
  cpuSeconds: number,
  { threads, peaks, dtype }: MeasureOptions,
): Promise<Partial<Line>> => {
  const counted = p.report.plan?.launches.reduce((s, l) => s + l.flops, 0);
  const flops = c.bound === 'arithmetic' ? (c.flops ?? counted) : undefined;
  const { bytes } = c;
  const [flopPeak, bytePeak] = [flops && (await peaks?.flops(dtype)), bytes && (await peaks?.copy(bytes))];
  const share =
    c.bound === 'arithmetic' ? flops && flopPeak && flops / seconds / flopPeak : bytes && bytePeak && bytes / seconds / bytePeak;
  return {
    ...(flops ? { gflop: round(flops / 1e9), gflops: round(flops / seconds / 1e9) } : {}),
    ...(flopPeak ? { peak_gflops: round(flopPeak / 1e9) } : {}),
    ...(bytes ? { gbyte: round(bytes / 1e9), gbytes: round(bytes / seconds / 1e9) } : {}),
    ...(bytePeak ? { peak_gbytes: round(bytePeak / 1e9) } : {}),
    ...(share ? { of_peak: round(share, 3) } : {}),
    ...(threads && flops && flopPeak && c.timed !== 'backward launches'
      ? { of_peak_cpu: round((flops / cpuSeconds / flopPeak) * threads, 3) }
      : {}),
  };
};

export const measure = async (c: Case, o: MeasureOptions): Promise<Line> => {
  forgetPeakMemory();
  const p = await c.prepare(o.backend, o.dtype, { tune: o.tune, progress: o.progress });
  try {
    await p.call();
    const read = o.reference ? await readAll(c, p) : new Map<string, HostData>();
    for (let i = 0; i < (o.warm ?? 1); i++) await runOnce(c, p);
    const seconds: number[] = [];
    const before = process.cpuUsage();
    for (let i = 0; i < o.runs; i++) seconds.push(await runOnce(c, p));
    const { user, system } = process.cpuUsage(before);
    const memory = peakMemory();
    const { plan } = p.report;
    const [mid, min] = [median(seconds), Math.min(...seconds)];
    const work = await rates(c, p, mid, (user + system) / 1e6 / o.runs, o);
    const compiled = compiledKernels(p.executable);
    const { error, against } = await compared(c, read, o.reference);
    return {
      bench: o.bench,
      case: c.name,
      shape: c.shape,
      dtype: o.dtype,
      backend: o.backend.name,
      machine: (o.backend.kind === 'plan' ? o.backend.device : undefined) ?? cpus()[0]?.model.trim() ?? process.arch,
      ...(o.threads === undefined ? {} : { threads: o.threads }),
      runs: o.runs,
      median_ms: round(1e3 * mid),
      min_ms: round(1e3 * min),
      cpu_ms: round((user + system) / 1e3 / o.runs),
      ...work,
      error: error === null ? null : round(error, 3),
      error_against: against,
      peak_memory_mib: round(memory / 2 ** 20),
      ...(plan ? { arena_mib: round(plan.arenaBytes / 2 ** 20), kernels: plan.kernels.length } : {}),
      ...(compiled === undefined ? {} : { kernels_compiled: compiled }),
      compile_ms: round(p.compileMs),
    };
  } finally {
    p.dispose();
  }
};
