/** A device of an adapter, with whatever the adapter has beyond the defaults, as far as kernels use it. */
/// <reference types="@webgpu/types" />
import { FoveaError } from '../../compiler/error.ts';
import { within } from './life.ts';

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

/** FV0307: there is no adapter, or it gives no device; FV0309: none within `patience` seconds. */
export const requestDevice = async (gpu: GPU, patience: number): Promise<{ readonly device: GPUDevice; readonly name: string }> => {
  const adapter = await within(patience, 'asking for an adapter', gpu.requestAdapter({ powerPreference: 'high-performance' }));
  if (!adapter)
    throw new FoveaError('FV0307', 'WebGPU has no adapter', {
      hint: 'It needs a graphics driver: Vulkan on Linux, Metal on macOS, Direct3D 12 on Windows. Software ones serve too.',
    });
  const requiredLimits = Object.fromEntries(wanted.map((l) => [l, adapter.limits[l]]));
  try {
    const requiredFeatures = features.filter((f) => adapter.features.has(f));
    const asked = adapter.requestDevice({ requiredLimits, requiredFeatures });
    const device = await within(patience, 'asking for a device', asked, (late) => late.destroy());
    return { device, name: adapter.info.description || adapter.info.architecture || adapter.info.vendor || 'WebGPU' };
  } catch (cause) {
    if (cause instanceof FoveaError) throw cause;
    throw new FoveaError('FV0307', `the adapter gives no device: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'Another program may hold it: close it and try again.',
      cause,
    });
  }
};
