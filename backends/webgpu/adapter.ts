/**
 * Where WebGPU comes from: `navigator.gpu` in a browser, Dawn (npm's `webgpu`) in Node, both by one interface.
 */
/// <reference types="@webgpu/types" />
import { FoveaError } from '../../compiler/error.ts';

const inNode = async (): Promise<GPU> => {
  try {
    const dawn = await import('webgpu');
    Object.assign(globalThis, dawn.globals);
    // no kernel reads shared memory that it has not written (the laws run every kernel in an interpreter that watches)
    return dawn.create(['enable-dawn-features=disable_workgroup_init']);
  } catch (cause) {
    throw new FoveaError('FV0307', `WebGPU is not there: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'In Node, install the package webgpu; in a browser, choose one that has navigator.gpu.',
      cause,
    });
  }
};

/** An instance is kept: Dawn's devices live as long as it does. */
let instance: Promise<GPU> | undefined;
const gpu = (): Promise<GPU> => {
  const own = (globalThis as { readonly navigator?: { readonly gpu?: GPU } }).navigator?.gpu;
  if (own) return Promise.resolve(own);
  instance ??= inNode();
  return instance;
};

/** What the adapter has beyond the defaults, as far as kernels use it. */
const wanted = [
  'maxStorageBuffersPerShaderStage',
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/** FV0307: there is no adapter, or it gives no device. */
export const requestDevice = async (): Promise<{ readonly device: GPUDevice; readonly name: string }> => {
  const adapter = await (await gpu()).requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter)
    throw new FoveaError('FV0307', 'WebGPU has no adapter', {
      hint: 'It needs a graphics driver: Vulkan on Linux, Metal on macOS, Direct3D 12 on Windows. Software ones serve too.',
    });
  const requiredLimits = Object.fromEntries(wanted.map((l) => [l, adapter.limits[l]]));
  try {
    const device = await adapter.requestDevice({ requiredLimits });
    return { device, name: adapter.info.description || adapter.info.architecture || adapter.info.vendor || 'WebGPU' };
  } catch (cause) {
    throw new FoveaError('FV0307', `the adapter gives no device: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'Another program may hold it: close it and try again.',
      cause,
    });
  }
};
