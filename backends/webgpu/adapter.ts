/** A device of an adapter, with whatever the adapter has beyond the defaults, as far as kernels use it. */
/// <reference types="@webgpu/types" />
import { FoveaError } from '../../compiler/error.ts';

const wanted = [
  'maxStorageBuffersPerShaderStage',
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/** Times of launches, where they are measured; and what probe.ts tries out. */
const features = ['timestamp-query', 'shader-f16', 'subgroups'] as const;

/** What a page or a worker of a browser has; undefined elsewhere. */
export const ofBrowser = (): GPU | undefined => (globalThis as { readonly navigator?: { readonly gpu?: GPU } }).navigator?.gpu;

/** FV0307: there is no adapter, or it gives no device. */
export const requestDevice = async (gpu: GPU): Promise<{ readonly device: GPUDevice; readonly name: string }> => {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter)
    throw new FoveaError('FV0307', 'WebGPU has no adapter', {
      hint: 'It needs a graphics driver: Vulkan on Linux, Metal on macOS, Direct3D 12 on Windows. Software ones serve too.',
    });
  const requiredLimits = Object.fromEntries(wanted.map((l) => [l, adapter.limits[l]]));
  try {
    const requiredFeatures = features.filter((f) => adapter.features.has(f));
    const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
    return { device, name: adapter.info.description || adapter.info.architecture || adapter.info.vendor || 'WebGPU' };
  } catch (cause) {
    throw new FoveaError('FV0307', `the adapter gives no device: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'Another program may hold it: close it and try again.',
      cause,
    });
  }
};
