/** The WebGPU backend on whatever gives adapters: a browser's `navigator.gpu`, or Dawn in Node. */
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import type { PlanStore, Progress, Target } from '../../compiler/target.ts';
import { openDevice, type WebGpuOptions } from './device.ts';
import type { Dialect } from './dialect.ts';
import { printWgsl } from './print.ts';
import { abilitiesOf, none } from './probe.ts';
import { load, type WebGpuExecutable } from './runtime.ts';

export type { WebGpuOptions } from './device.ts';

export interface WebGpuBackend {
  readonly kind: 'plan';
  readonly name: 'webgpu';
  readonly target: Target;
  /** As its adapter calls itself. */
  readonly device: string;
  /** What its kernels use beyond what every device has; of subgroups, target.subgroup. */
  readonly dialect: Dialect;
  readonly plans?: PlanStore | undefined;
  readonly source: (kernel: Kernel) => string;
  prepare(plan: Plan, progress?: Progress): Promise<WebGpuExecutable>;
  /** Lets the device go; executables of it end with it. */
  destroy(): void;
}

/** The capability record of a device. Peaks are guesses that rank schedules: WebGPU does not tell them. */
export const webgpuTarget = ({ limits }: Pick<GPUDevice, 'limits'>, subgroup = 1): Target => ({
  name: 'webgpu',
  workers: 32,
  maxThreads: limits.maxComputeInvocationsPerWorkgroup,
  subgroup,
  vectorBytes: 16,
  registers: 64,
  bf16Dot: false,
  // the language allows it, and no device says what it does
  flushes: true,
  proves: true,
  sharedBytes: limits.maxComputeWorkgroupStorageSize,
  maxBuffers: limits.maxStorageBuffersPerShaderStage,
  alignment: limits.minStorageBufferOffsetAlignment,
  cacheBytes: { l1: 16 << 10, l2: 32 << 10 },
  peak: { flops: 10e12, bytes: 400e9 },
});

/** The limits that every device of WebGPU has: what is planned for them runs on all of them. */
export const commonLimits = {
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
  maxStorageBuffersPerShaderStage: 8,
  minStorageBufferOffsetAlignment: 256,
};

/** FV0307: no adapter or no device; FV0308, FV0309: it does not answer. */
export const webgpuOn = async (gpu: GPU, options: WebGpuOptions = {}): Promise<WebGpuBackend> => {
  const opened = await openDevice(gpu, options);
  const { device, name, life, sizes } = opened;
  const { f16, subgroup } = options.plain
    ? none
    : await abilitiesOf(device, life, (device.adapterInfo as GPUAdapterInfo | undefined)?.subgroupMinSize ?? 1).catch((e: unknown) => {
        device.destroy();
        throw e;
      });
  const dialect: Dialect = { f16 };
  return {
    kind: 'plan',
    name: 'webgpu',
    target: { ...webgpuTarget(device, subgroup), maxBuffers: sizes.bindings },
    dialect,
    plans: options.plans,
    device: name,
    source: (k) => printWgsl(k, undefined, dialect),
    prepare: (plan, progress) => load(opened, plan, (k, places) => printWgsl(plan.kernels[k] as Kernel, places, dialect), progress),
    destroy: () => device.destroy(),
  };
};
