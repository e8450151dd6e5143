/** The backends that the command knows, by name. Only here does a name stand for a backend. */
import { ncclWorld } from '../backends/collectives/nccl/index.ts';
import { cpu } from '../backends/cpu/index.ts';
import { findCompiler } from '../backends/cpu/toolchain.ts';
import { cuda } from '../backends/cuda/index.ts';
import { reference } from '../backends/reference/index.ts';
import { webgpu } from '../backends/webgpu/index.ts';
import { FoveaError } from '../compiler/error.ts';
import type { Backend, Communicator } from '../index.ts';

interface BackendOptions {
  /** Threads of the cpu backend, unless FOVEA_THREADS or the number of processors is to decide. */
  readonly threads?: number;
  /** Of the cuda backend: which GPU, from 0 on. */
  readonly device?: number;
  /** Of the cuda backend: on the processor instead of a GPU. */
  readonly emulate?: boolean;
}

const backends: Readonly<Record<string, (options: BackendOptions) => Promise<Backend>>> = {
  cpu: async (options) => {
    // asked for again when kernels are compiled; asked here so that its lack is known before the passes run
    await findCompiler();
    return cpu(options);
  },
  cuda: ({ emulate = false, device = 0 }) => cuda({ emulate, device }),
  reference: async () => reference,
  webgpu: () => webgpu(),
};

export const backendNames: readonly string[] = Object.keys(backends);

/** FV0303: no such backend. FV0301: no C compiler. FV0307: no WebGPU. FV0310, FV0311: no CUDA. FV0503: only cuda has an emulator. */
export const backendOf = async (name: string, options: BackendOptions = {}): Promise<Backend> => {
  const make = Object.hasOwn(backends, name) ? backends[name] : undefined;
  if (!make) throw new FoveaError('FV0303', `unknown backend '${name}'`, { hint: `Known backends: ${backendNames.join(', ')}.` });
  if (options.emulate && name !== 'cuda')
    throw new FoveaError('FV0503', `--emulate: the ${name} backend has no emulator`, { hint: 'Add --backend cuda.' });
  return make(options);
};

/** Who carries data between the ranks of a backend: who already connects them, where the memory is the process's, and NCCL between GPUs. FV0310, FV0802. */
export const carrierOf = async (name: string, peers: Communicator): Promise<Communicator> => (name === 'cuda' ? ncclWorld(peers) : peers);
