/**
 * The native CPU backend: kernels printed as C, compiled by the system's compiler, run by a pool of threads.
 *
 *   const step = await compile(trainStep, specs, { backend: cpu({ threads: 4 }) });
 *
 * Results do not depend on the number of threads. Environment: FOVEA_CC, FOVEA_CACHE, FOVEA_PLANS, FOVEA_SCHEDULES, FOVEA_THREADS, FOVEA_TARGET.
 */

import { FoveaError } from '../../compiler/error.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import type { PlanStore, Progress, Target, Tuner } from '../../compiler/target.ts';
import { readSealed } from '../native/cache.ts';
import { planStore } from '../native/plans.ts';
import { foreign } from './foreign.ts';
import { architecture, type CpuTarget, cpuTarget, instructionsOf, threadCount } from './machine.ts';
import { poolSource } from './pool.ts';
import { printC, printParts } from './print.ts';
import { raceOf } from './race.ts';
import { type CpuExecutable, load } from './runtime.ts';
import { schedulesFile } from './schedules.ts';
import { buildLibrary, type KernelSource } from './toolchain.ts';

export { architecture, type CpuTarget, cpuTarget } from './machine.ts';
export { kernelSymbol, printC, printParts } from './print.ts';
export type { CpuExecutable } from './runtime.ts';

export interface CpuOptions {
  /** Threads that share a launch's blocks; FOVEA_THREADS or the processors of this process otherwise. */
  readonly threads?: number;
  /**
   * What kernels are compiled for: FOVEA_TARGET or `native`, this machine, otherwise. A level that it shares with others, as x86-64-v3
   * (AVX2, no AVX-512), has their schedules and their instructions.
   */
  readonly target?: CpuTarget;
  /** Most kernels that are compiled together, as one translation unit; 8 by default. More compile faster in sum, on fewer processors. */
  readonly unit?: number;
  /**
   * The file of measured schedules that `tune: 'cached'` reads and `tune: 'measure'` adds to; FOVEA_SCHEDULES or schedules.jsonl in the
   * kernel cache otherwise. It may be shipped: records for other machines lie in it side by side.
   */
  readonly schedules?: string;
  /**
   * Every launch of more than one block goes to all threads, also one that a single thread would have finished before the others joined.
   * For tests that compare numbers of threads: their programs are small. Default false.
   */
  readonly shareAll?: boolean;
  /** A word that fills the arena of each program when it is loaded, 0 by default: what nobody wrote then shows in the results. */
  readonly poison?: number;
  /**
   * Whether finished plans are kept beside the kernels, and taken from there when the same program is compiled again: yes, unless
   * FOVEA_PLANS is `off`.
   */
  readonly plans?: boolean;
}

export interface ExportedCpu {
  /** The bytes of the shared library. */
  readonly library: Uint8Array;
  /** Of each kernel. */
  readonly symbols: readonly string[];
  readonly source: string;
  /** Flags of /proc/cpuinfo. */
  readonly needs: readonly string[];
}

export interface CpuBackend {
  readonly kind: 'plan';
  readonly name: 'cpu';
  readonly target: Target;
  readonly plans?: PlanStore | undefined;
  readonly tuner: Tuner;
  readonly source: (kernel: Kernel) => string;
  /** For `fovea compile`: the compiled library of a plan, its text, and what a processor must have to run it. */
  readonly exported: (plan: Plan, progress?: Progress) => Promise<ExportedCpu>;
  /** Throws FV0301 (no C compiler), FV0302 (it failed), FV0202 (no memory). */
  prepare(plan: Plan, progress?: Progress, key?: string): Promise<CpuExecutable>;
}

/** Throws FV0616 for a target that is unknown, or that this machine does not run. */
export const cpu = (options: CpuOptions = {}): CpuBackend => {
  const threads = threadCount(options.threads);
  const arch = architecture(options.target);
  const { unit, poison = 0, shareAll = false, plans = process.env['FOVEA_PLANS'] !== 'off' } = options;
  const store = plans ? planStore() : undefined;
  const sourcesOf = ({ kernels }: Plan): readonly KernelSource[] =>
    kernels.map((k) => {
      const [prelude, body] = printParts(k);
      return { name: k.name, prelude, body };
    });
  const target = cpuTarget(threads, arch);
  const prepare = async (plan: Plan, progress?: Progress, key?: string): Promise<CpuExecutable> => {
    const name = key === undefined ? undefined : store?.nameOf(key);
    const library = await buildLibrary(() => sourcesOf(plan), poolSource, { progress, arch, name, unit });
    return load(plan, library, foreign(library.path), { threads, poison, shareAll });
  };
  const file = schedulesFile(target, options.schedules);
  return {
    kind: 'plan',
    name: 'cpu',
    target,
    plans: store,
    prepare,
    source: (k) => printParts(k)[1],
    exported: async (plan, progress) => {
      const { path, symbols } = await buildLibrary(() => sourcesOf(plan), poolSource, { progress, arch, unit });
      const library = await readSealed(path);
      if (!library) throw new FoveaError('FV0302', `the kernel cache lost ${path}`, { hint: 'Run again.' });
      const source = plan.kernels.map((k) => `/* ${k.name} */\n${printC(k, k.name)}`).join('\n');
      return { library, symbols, source, needs: instructionsOf(arch) };
    },
    tuner: { ...file, race: (kernels, flops) => raceOf(prepare, target, kernels, flops) },
  };
};
