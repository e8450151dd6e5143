/** The WebGPU backend on whatever gives adapters: a browser's `navigator.gpu`, or Dawn in Node. */
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import type { Progress, Target } from '../../compiler/target.ts';
import { requestDevice } from './adapter.ts';
import type { Sizes } from './arena.ts';
import { lifeOf } from './life.ts';
import { printWgsl } from './print.ts';
import { load, type WebGpuExecutable } from './runtime.ts';

export interface WebGpuBackend {
  readonly kind: 'plan';
  readonly name: 'webgpu';
  readonly target: Target;
  /** As the adapter calls itself. */
  readonly adapter: string;
  readonly source: (kernel: Kernel) => string;
  prepare(plan: Plan, progress?: Progress): Promise<WebGpuExecutable>;
  /** Lets the device go; executables of it end with it. */
  destroy(): void;
}

/** The capability record of a device. Peaks are guesses that rank schedules: WebGPU does not tell them. */
export const webgpuTarget = ({ limits }: Pick<GPUDevice, 'limits'>): Target => ({
  name: 'webgpu',
  workers: 32,
  maxThreads: limits.maxComputeInvocationsPerWorkgroup,
  vectorBytes: 16,
  registers: 64,
  bf16Dot: false,
  sharedBytes: limits.maxComputeWorkgroupStorageSize,
  maxBuffers: limits.maxStorageBuffersPerShaderStage,
  alignment: limits.minStorageBufferOffsetAlignment,
  cacheBytes: { l1: 16 << 10, l2: 32 << 10 },
  peak: { flops: 10e12, bytes: 400e9 },
});

export interface WebGpuOptions {
  /** Seconds to wait for an answer of the device before FV0309; 600 unless given. */
  readonly patience?: number;
  /** Bytes of a buffer and of a binding at most, below the device's own limits: for tests of what happens there. */
  readonly most?: Partial<Sizes>;
}

/** FV0307: no adapter or no device. */
export const webgpuOn = async (gpu: GPU, { patience = 600, most = {} }: WebGpuOptions = {}): Promise<WebGpuBackend> => {
  const { device, name } = await requestDevice(gpu);
  const life = lifeOf(device, patience);
  const { minStorageBufferOffsetAlignment: unit, maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const size = (own: number, wanted = own): number => Math.max(unit, Math.floor(Math.min(own, wanted) / unit) * unit);
  const sizes: Sizes = { buffer: size(maxBufferSize, most.buffer), binding: size(maxStorageBufferBindingSize, most.binding) };
  return {
    kind: 'plan',
    name: 'webgpu',
    target: webgpuTarget(device),
    adapter: name,
    source: (k) => printWgsl(k),
    prepare: (plan, progress) => load(device, plan, life, sizes, progress),
    destroy: () => device.destroy(),
  };
};
