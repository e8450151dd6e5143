/**
 * A plan's kernels as code for one architecture of GPUs: what `fovea compile --backend cuda` writes. The machine that compiles needs NVRTC, and a GPU
 * only where no architecture is named; or a C++ compiler alone, for the emulator, whose code runs with its double of the driver.
 */
import { FoveaError } from '../../compiler/error.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import type { Target } from '../../compiler/target.ts';
import { type Compiler, compileAll, compilerOf, imageOf } from './cubins.ts';
import { buildEmulator } from './emulator/build.ts';
import { architectureOf, gpus } from './gpus.ts';
import { partsOf } from './launches.ts';
import { loadDriver, loadNvrtc } from './libraries.ts';
import { bindNvrtc } from './nvrtc.ts';
import { openDevice } from './open.ts';
import { printCuda } from './print.ts';

/** kernels.json: where the code of each kernel lies, and the shared memory that it takes. */
export interface ExportedKernel {
  readonly path: string;
  readonly symbol: string;
  readonly sharedBytes: number;
}
export interface CudaParts {
  readonly kernels: readonly ExportedKernel[];
  /** By the paths of the kernels. */
  readonly images: ReadonlyMap<string, Uint8Array>;
  /** CUDA C++, to be read. */
  readonly source: string;
  /** sm_90a */
  readonly architecture: string;
}
export interface CudaExport {
  readonly target: Target;
  readonly parts: (plan: Plan) => Promise<CudaParts>;
}

export const architectures = Object.keys(gpus) as readonly (keyof typeof gpus)[];

const compilerFor = async (
  architecture: keyof typeof gpus | undefined,
  emulate: boolean,
): Promise<{ target: Target; compiler: Compiler }> => {
  const emulator = emulate ? await buildEmulator() : undefined;
  if (architecture !== undefined && !emulator)
    return { target: gpus[architecture], compiler: compilerOf(bindNvrtc(loadNvrtc()), architecture, undefined) };
  const { capability, target } = openDevice(loadDriver(emulator?.path), 0);
  return { target, compiler: compilerOf(bindNvrtc(loadNvrtc(emulator?.path)), architectureOf(capability), emulator?.version) };
};

/** FV0310: no NVRTC. FV0311: no GPU, and no architecture named. FV0301: no C++ compiler for the emulator. FV0503: no such architecture. */
export const cudaExport = async (architecture: string | undefined, emulate: boolean): Promise<CudaExport> => {
  if (architecture !== undefined && !Object.hasOwn(gpus, architecture))
    throw new FoveaError('FV0503', `--target ${architecture}: no such architecture`, { hint: `Known ones: ${architectures.join(', ')}.` });
  const { target, compiler } = await compilerFor(architecture as keyof typeof gpus | undefined, emulate);
  return {
    target,
    parts: async (plan) => {
      const rows = partsOf(plan);
      const printed = plan.kernels.map((k, i) => printCuda(k, rows[i]));
      const codes = await compileAll(printed, compiler);
      const names = new Map([...new Set(codes.map((c) => c.path))].map((path, i) => [path, `kernels${i}.cubin`]));
      const images = new Map<string, Uint8Array>();
      for (const [path, name] of names) images.set(name, await imageOf(path));
      return {
        kernels: codes.map(({ path, symbol }, i) => ({
          path: names.get(path) as string,
          symbol,
          sharedBytes: printed[i]?.sharedBytes ?? 0,
        })),
        images,
        source: [...new Set(printed.flatMap((p) => p.prelude)), ...printed.map((p, i) => `/* ${plan.kernels[i]?.name} */\n${p.text}`)].join(
          '\n',
        ),
        architecture: compiler.architecture,
      };
    },
  };
};
