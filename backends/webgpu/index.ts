/**
 * The WebGPU backend: kernels printed as WGSL, run by Dawn (npm's `webgpu`) in Node. Bundlers for browsers take browser.ts in its place.
 *
 *   const step = await compile(trainStep, specs, { backend: await webgpu() });
 */
import { FoveaError } from '../../compiler/error.ts';
import { ofBrowser } from './adapter.ts';
import { type WebGpuBackend, type WebGpuOptions, webgpuOn } from './backend.ts';

export { type WebGpuBackend, type WebGpuOptions, webgpuTarget } from './backend.ts';
export { printWgsl } from './print.ts';
export type { WebGpuExecutable } from './runtime.ts';

/** An instance is kept: Dawn's devices live as long as it does. */
let instance: Promise<GPU> | undefined;
/** Dawn, with options of its own besides. FV0307: it is not there. */
export const dawn = async (options: readonly string[] = []): Promise<GPU> => {
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    // no kernel reads shared memory that it has not written (the laws run every kernel in an interpreter that watches), and a
    // profile wants times as they are
    return create(['enable-dawn-features=disable_workgroup_init', 'disable-dawn-features=timestamp_quantization', ...options]);
  } catch (cause) {
    throw new FoveaError('FV0307', `WebGPU is not there: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'In Node, install the package webgpu; in a browser, choose one that has navigator.gpu.',
      cause,
    });
  }
};

/** FV0307: no WebGPU, no adapter or no device. */
export const webgpu = async (options: WebGpuOptions = {}): Promise<WebGpuBackend> => {
  instance ??= Promise.resolve(ofBrowser() ?? dawn());
  return webgpuOn(await instance, options);
};
