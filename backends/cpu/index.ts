/**
 * The native CPU backend: kernels printed as C, compiled by the system's compiler, run by a pool of threads.
 *
 *   const step = await compile(trainStep, specs, { backend: cpu({ threads: 4 }) });
 *
 * Results do not depend on the number of threads. Environment: FOVEA_CC, FOVEA_CACHE, FOVEA_THREADS, FOVEA_TARGET.
 */
import type { Plan } from '../../compiler/plan/types.ts';
import type { Progress, Target } from '../../compiler/target.ts';
import { architecture, type CpuTarget, cpuTarget, threadCount } from './machine.ts';
import { poolSource } from './pool.ts';
import { printC, printUnit } from './print.ts';
import { type CpuExecutable, load } from './runtime.ts';
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
  /**
   * Kernels in one translation unit, 1 by default. More compile faster in sum, and are compiled anew whenever one of them changes: for
   * programs that run once, as those of tests.
   */
  readonly unit?: number;
  /**
   * Every launch of more than one block goes to all threads, also one that a single thread would have finished before the others joined.
   * For tests that compare numbers of threads: their programs are small. Default false.
   */
  readonly shareAll?: boolean;
  /** A word that fills the arena of each program when it is loaded, 0 by default: what nobody wrote then shows in the results. */
  readonly poison?: number;
}

export interface CpuBackend {
  readonly kind: 'plan';
  readonly name: 'cpu';
  readonly target: Target;
  /** Throws FV0301 (no C compiler), FV0302 (it failed), FV0202 (no memory). */
  prepare(plan: Plan, progress?: Progress): Promise<CpuExecutable>;
}

/** Throws FV0616 for a target that is unknown, or that this machine does not run. */
export const cpu = (options: CpuOptions = {}): CpuBackend => {
  const threads = threadCount(options.threads);
  const arch = architecture(options.target);
  const { unit = 1, poison = 0, shareAll = false } = options;
  const sourcesOf = ({ kernels }: Plan): readonly KernelSource[] =>
    unit === 1
      ? kernels.map((k) => ({ name: k.name, text: printC(k) }))
      : Array.from({ length: Math.ceil(kernels.length / unit) }, (_, i) => {
          const some = kernels.slice(i * unit, (i + 1) * unit);
          return { name: some.map((k) => k.name).join(', '), text: printUnit(some), count: some.length };
        });
  return {
    kind: 'plan',
    name: 'cpu',
    target: cpuTarget(threads, arch),
    prepare: async (plan, progress) =>
      load(plan, await buildLibrary(sourcesOf(plan), poolSource, progress, arch), { threads, poison, shareAll }),
  };
};
