/** A device of WebGPU that somebody can run plans on: what it is, how long to wait for it, how much it holds. */
import type { PlanStore } from '../../compiler/target.ts';
import { requestDevice } from './adapter.ts';
import type { Sizes } from './arena.ts';
import { type Life, lifeOf } from './life.ts';

export interface WebGpuOptions {
  /** Seconds to wait for an answer of the device before FV0309; 600 unless given. */
  readonly patience?: number;
  /** Bytes of a buffer and of a binding, and bindings of a kernel, at most, below the device's own limits: for tests of what happens there. */
  readonly most?: Partial<Sizes>;
  /** Use nothing beyond what every device has: no exchanges within subgroups, no type f16. */
  readonly plain?: boolean;
  /** Where finished plans are kept: in a browser, `plansInCache`. */
  readonly plans?: PlanStore | undefined;
}

export interface Opened {
  readonly device: GPUDevice;
  /** As the adapter calls itself. */
  readonly name: string;
  readonly life: Life;
  readonly sizes: Sizes;
}

/** FV0307: no adapter or no device; FV0309: they do not come. */
export const openDevice = async (gpu: GPU, { patience = 600, most = {} }: WebGpuOptions = {}): Promise<Opened> => {
  const { device, name } = await requestDevice(gpu, patience);
  const {
    minStorageBufferOffsetAlignment: unit,
    maxBufferSize,
    maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage: all,
  } = device.limits;
  const size = (own: number, wanted = own): number => Math.max(unit, Math.floor(Math.min(own, wanted) / unit) * unit);
  const sizes: Sizes = {
    buffer: size(maxBufferSize, most.buffer),
    binding: size(maxStorageBufferBindingSize, most.binding),
    bindings: Math.min(all, most.bindings ?? all),
    unit,
  };
  return { device, name, life: lifeOf(device, patience), sizes };
};
