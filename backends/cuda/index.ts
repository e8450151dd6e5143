/**
 * The CUDA backend: kernels printed as CUDA C++, compiled by NVRTC for the GPU that is there, run as one CUDA graph a step. It needs the NVIDIA driver
 * and NVRTC, which are called directly; or a C++ compiler alone, for `emulate`.
 *
 *   const step = await compile(trainStep, specs, { backend: await cuda() });
 *
 * Environment: FOVEA_CUDA_DRIVER, FOVEA_NVRTC, FOVEA_CUDA_UNITS, FOVEA_CUDA_CHECK, FOVEA_CACHE, FOVEA_PLANS; FOVEA_CXX for the emulator.
 */

import { FoveaError } from '../../compiler/error.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import type { PlanStore, Progress, Target } from '../../compiler/target.ts';
import { planStore } from '../native/plans.ts';
import { compileAll, compilerOf, imageOf } from './cubins.ts';
import { buildEmulator } from './emulator/build.ts';
import { architectureOf } from './gpus.ts';
import { partsOf } from './launches.ts';
import { loadDriver, loadNvrtc } from './libraries.ts';
import { bindNvrtc } from './nvrtc.ts';
import { openDevice } from './open.ts';
import { printCuda } from './print.ts';
import { type CudaExecutable, load } from './runtime.ts';

export { gpus } from './gpus.ts';
export { partsOf } from './launches.ts';
export { cudaText, kernelSymbol, printCuda } from './print.ts';
export type { CudaExecutable } from './runtime.ts';
export { type Usage, usageOf } from './usage.ts';

export interface CudaOptions {
  /** Which GPU, from 0 on. */
  readonly device?: number;
  /**
   * Runs the same kernels and the same calls in an emulator instead, on the processor: for tests, not for speed. Every access to memory is
   * checked. Its devices 0, 1 and 2 run the threads of a block forward, in reverse and shuffled.
   */
  readonly emulate?: boolean;
  /** Launches one by one, so that the launch at which a kernel fails is named, with its scope and the user's line. Slower.
   * Unless given here, as FOVEA_CUDA_CHECK says: 1 or nothing. */
  readonly check?: boolean;
  /** A word that fills the arena of each program when it is loaded: what nobody wrote then shows in the results. */
  readonly poison?: number;
  /**
   * Which matrix units contractions and attention take that could take both, for tests and comparisons: those of warps or of warp groups. Unless named, here or in
   * FOVEA_CUDA_UNITS, those that are expected to be faster.
   */
  readonly units?: 'mma' | 'wgmma';
  /** Most kernels that are compiled together; 4 by default. */
  readonly unit?: number;
  /** Whether finished plans are kept, as the cpu backend does: yes, unless FOVEA_PLANS is `off`. */
  readonly plans?: boolean;
}

export interface CudaBackend {
  readonly kind: 'plan';
  readonly name: 'cuda';
  readonly target: Target;
  /** As the GPU calls itself. */
  readonly device: string;
  readonly plans?: PlanStore | undefined;
  /** FV0302: NVRTC refuses a kernel. FV0202: no room. */
  prepare(plan: Plan, progress?: Progress): Promise<CudaExecutable>;
}

const unitsOf = (named: string | undefined): CudaOptions['units'] => {
  if (!named) return undefined;
  if (named === 'mma' || named === 'wgmma') return named;
  throw new FoveaError('FV0503', `FOVEA_CUDA_UNITS is ${named}, and matrix units are mma or wgmma`);
};
/** A target whose other units are not there, or not worth taking. */
const takes = ({ wgmma, matrix, ...target }: Target, units: CudaOptions['units']): Target => {
  if (units === 'mma' || !wgmma || !matrix) return { ...target, ...(matrix && { matrix }) };
  return { ...target, wgmma, matrix: units === 'wgmma' ? { ...matrix, products: 1 } : matrix };
};

/** FV0310: no driver library or no NVRTC. FV0311: no GPU that kernels run on. FV0301: no C++ compiler for the emulator. */
export const cuda = async ({
  device: ordinal = 0,
  emulate = false,
  check = !['', '0'].includes(process.env['FOVEA_CUDA_CHECK']?.trim() ?? ''),
  poison,
  unit,
  units = unitsOf(process.env['FOVEA_CUDA_UNITS']?.trim()),
  plans = process.env['FOVEA_PLANS'] !== 'off',
}: CudaOptions = {}): Promise<CudaBackend> => {
  const emulator = emulate ? await buildEmulator() : undefined;
  const device = openDevice(loadDriver(emulator?.path), ordinal);
  const nvrtc = bindNvrtc(loadNvrtc(emulator?.path));
  if (!nvrtc.knows(device.capability))
    throw new FoveaError(
      'FV0311',
      `NVRTC ${nvrtc.version} does not know compute capability ${(device.capability / 10).toFixed(1)}, which ${device.name} has`,
      {
        hint: 'Use a CUDA toolkit as new as the GPU, or as old as it.',
      },
    );
  const architecture = architectureOf(device.capability);
  const compiler = compilerOf(nvrtc, architecture, emulator?.version, unit);
  return {
    kind: 'plan',
    name: 'cuda',
    target: takes(device.target, units),
    device: device.name,
    // kept plans know no lines of the user's program
    plans: plans && !check ? planStore() : undefined,
    prepare: async (plan, progress) => {
      const parts = partsOf(plan);
      const printed = plan.kernels.map((k: Kernel, i) => printCuda(k, parts[i]));
      const codes = await compileAll(printed, compiler, progress);
      return load(device, plan, printed, codes, { poison, check, imageOf });
    },
  };
};
