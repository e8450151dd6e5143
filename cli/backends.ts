/** The backends that the command knows, by name. Only here does a name stand for a backend. */
import { cpu } from '../backends/cpu/index.ts';
import { findCompiler } from '../backends/cpu/toolchain.ts';
import { reference } from '../backends/reference/index.ts';
import { webgpu } from '../backends/webgpu/index.ts';
import { FoveaError } from '../compiler/error.ts';
import type { Backend } from '../index.ts';

/** Threads of the cpu backend, unless FOVEA_THREADS or the number of processors is to decide. */
interface BackendOptions {
  readonly threads?: number;
}

const backends: Readonly<Record<string, (options: BackendOptions) => Promise<Backend>>> = {
  cpu: async (options) => {
    // asked for again when kernels are compiled; asked here so that its lack is known before the passes run
    await findCompiler();
    return cpu(options);
  },
  reference: async () => reference,
  webgpu: () => webgpu(),
};

export const backendNames: readonly string[] = Object.keys(backends);

/** FV0303: no such backend. FV0301: no C compiler. FV0307: no WebGPU. */
export const backendOf = async (name: string, options: BackendOptions = {}): Promise<Backend> => {
  const make = Object.hasOwn(backends, name) ? backends[name] : undefined;
  if (!make) throw new FoveaError('FV0303', `unknown backend '${name}'`, { hint: `Known backends: ${backendNames.join(', ')}.` });
  return make(options);
};
