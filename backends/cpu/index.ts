/**
 * The native CPU backend: kernels printed as C, compiled by the system's compiler, run by a pool of threads.
 *
 *   const step = await compile(trainStep, specs, { backend: cpu({ threads: 4 }) });
 *
 * Results do not depend on the number of threads. Environment: FOVEA_CC, FOVEA_CACHE, FOVEA_THREADS.
 */
import type { Plan } from '../../compiler/plan/types.ts';
import type { Progress, Target } from '../../compiler/target.ts';
import { cpuTarget, threadCount } from './machine.ts';
import { poolSource } from './pool.ts';
import { printC } from './print.ts';
import { type CpuExecutable, load } from './runtime.ts';
import { buildLibrary } from './toolchain.ts';

export { cpuTarget } from './machine.ts';
export { kernelSymbol, printC, printParts } from './print.ts';
export type { CpuExecutable } from './runtime.ts';

export interface CpuOptions {
  /** Threads that share a launch's blocks; FOVEA_THREADS or the processors of this process otherwise. */
  readonly threads?: number;
}

export interface CpuBackend {
  readonly kind: 'plan';
  readonly name: 'cpu';
  readonly target: Target;
  /** Throws FV0301 (no C compiler), FV0302 (it failed), FV0202 (no memory). */
  prepare(plan: Plan, progress?: Progress): Promise<CpuExecutable>;
}

export const cpu = (options: CpuOptions = {}): CpuBackend => {
  const threads = threadCount(options.threads);
  return {
    kind: 'plan',
    name: 'cpu',
    target: cpuTarget(threads),
    prepare: async (plan, progress) => {
      const sources = plan.kernels.map((k) => ({ name: k.name, text: printC(k) }));
      return load(plan, await buildLibrary(sources, poolSource, progress), threads);
    },
  };
};
