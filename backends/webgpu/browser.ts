/**
 * The WebGPU backend of a browser, in a page or a worker.
 *
 *   const step = await compile(trainStep, specs, { backend: await webgpu() });
 */
import { FoveaError } from '../../compiler/error.ts';
import { ofBrowser } from './adapter.ts';
import { type WebGpuBackend, type WebGpuOptions, webgpuOn } from './backend.ts';

export { type WebGpuBackend, type WebGpuOptions, webgpuTarget } from './backend.ts';
export { plansInCache, versionOf } from './plans.ts';
export { printWgsl } from './print.ts';
export type { WebGpuExecutable } from './runtime.ts';

/** FV0307: no WebGPU, no adapter or no device. */
export const webgpu = async (options: WebGpuOptions = {}): Promise<WebGpuBackend> => {
  const gpu = ofBrowser();
  if (!gpu)
    throw new FoveaError('FV0307', 'this browser has no WebGPU (navigator.gpu)', {
      hint: 'Chrome, Edge, Firefox and Safari have it in recent versions, on pages served by https or from localhost.',
    });
  return webgpuOn(gpu, options);
};
