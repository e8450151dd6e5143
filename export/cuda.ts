/**
 * The loader of a program that was exported for NVIDIA GPUs: kernels are machine code, and the driver is called through the package koffi, which has
 * to be installed where the folder goes. No CUDA toolkit and nothing of the compiler is needed.
 *
 *   const step = await load({ device: 0 });
 *
 * FOVEA_CUDA_DRIVER names the driver library where it is not found by itself.
 */
import type { ExportedKernel } from '../backends/cuda/export.ts';
import { loadDriverAlone } from '../backends/cuda/libraries.ts';
import { openDevice } from '../backends/cuda/open.ts';
import { load as loadPlan } from '../backends/cuda/runtime.ts';
import { FoveaError } from '../compiler/error.ts';
import { caller, toHost } from '../program.ts';
import { type Loaded, loaded, openExport } from './document.ts';

/** Code for 8.0 runs on 8.9; code for 9.0a runs on 9.0 alone. */
const runsOn = (architecture: string, capability: number): boolean => {
  const [, digits = '', alone] = /^sm_(\d+)(a?)$/.exec(architecture) ?? [];
  const made = Number(digits);
  return alone ? capability === made : Math.floor(capability / 10) === Math.floor(made / 10) && capability >= made;
};

export { FoveaError, toHost };

/** FV0204, FV0205; FV0310, FV0311: no driver, no GPU; FV0202: no memory for the arena. */
export const load = async ({ device: ordinal = 0 }: { readonly device?: number } = {}): Promise<Loaded> => {
  const { manifest, document, plan, text, bytes } = await openExport(import.meta.url, 'cuda');
  const kernels = JSON.parse(await text('kernels.json')) as readonly ExportedKernel[];
  const device = openDevice(loadDriverAlone(), ordinal);
  const { architecture = '', sharedBytes = 0 } = manifest.needs;
  if (!runsOn(architecture, device.capability) || device.target.sharedBytes < sharedBytes)
    throw new FoveaError(
      'FV0205',
      `the program is exported for ${architecture} with ${sharedBytes} bytes of shared memory, and ${device.name} is sm_${device.capability} with ${device.target.sharedBytes}`,
      { hint: 'Export it on this machine, or with --target for its architecture.' },
    );
  const executable = await loadPlan(device, plan, kernels, kernels, {
    poison: undefined,
    check: false,
    imageOf: async (path) => Buffer.from(bytes(path)),
  });
  return loaded(caller({ executable, wide: false, ...document }));
};
