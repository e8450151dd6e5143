/** Compute pipelines of kernels: one for each text, which depends on where the kernel's buffers lie, made together by as many threads as there are. */
import { FoveaError } from '../../compiler/error.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Places } from './bindings.ts';
import type { Life } from './life.ts';
import { counted } from './print.ts';

export interface Made {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Of so many bindings and perhaps the number of blocks; written out, for a kernel may leave a buffer alone. */
const layoutOf = (device: GPUDevice, bindings: number, many: boolean): GPUBindGroupLayout =>
  device.createBindGroupLayout({
    entries: Array.from({ length: bindings + (many ? 1 : 0) }, (_, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: binding < bindings ? ('storage' as const) : ('uniform' as const) },
    })),
  });

/** FV0302: the text of a kernel is refused, which is a fault of the compiler. FV0202: it needs more bindings than there are. */
const build = async (device: GPUDevice, life: Life, k: Kernel, code: string, places: Places, where: string): Promise<Made> => {
  const bindings = places.cuts.reduce((n, c) => n + c.length, 0);
  const most = device.limits.maxStorageBuffersPerShaderStage;
  if (bindings > most)
    throw new FoveaError('FV0202', `kernel ${k.name}${where} needs ${bindings} bindings, of which this device has ${most}`, {
      hint: 'Its tensors are larger than one binding may be: use a smaller batch.',
    });
  const module = device.createShaderModule({ code, label: k.name });
  const layout = layoutOf(device, bindings, counted(k));
  try {
    const pipeline = await life.wait(
      `kernel ${k.name}`,
      device.createComputePipelineAsync({
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        label: k.name,
        compute: { module, entryPoint: 'main' },
      }),
    );
    return { pipeline, layout };
  } catch (cause) {
    if (cause instanceof FoveaError) throw cause;
    const { messages } = await life.wait(`kernel ${k.name}`, module.getCompilationInfo());
    const first = messages.find((m) => m.type === 'error');
    const line = first ? `, line ${first.lineNum}: ${first.message}: ${code.split('\n')[first.lineNum - 1]?.trim()}` : `: ${String(cause)}`;
    throw new FoveaError('FV0302', `WebGPU refuses kernel ${k.name}${where}${line}`, {
      hint: 'This is a bug of Fovea: please report it.',
      cause,
    });
  }
};

/** `where` names the part of the user's program that asks, for errors. */
export type Pipelines = (kernel: number, places: Places, where: string) => Promise<Made>;

/** The text of a kernel, by number, for buffers that lie so: printed, or as it was printed when the program was exported. */
export type KernelText = (kernel: number, places: Places) => string;

export const pipelines = (
  device: GPUDevice,
  life: Life,
  kernels: readonly Kernel[],
  text: KernelText,
  ready: (done: number, of: number) => void,
): Pipelines => {
  const made = new Map<string, Promise<Made>>();
  let done = 0;
  return (kernel, places, where) => {
    const key = `${kernel} ${places.places.join()} ${places.cuts.join(';')}`;
    const old = made.get(key);
    if (old) return old;
    const fresh = build(device, life, kernels[kernel] as Kernel, text(kernel, places), places, where).then((m) => {
      ready(++done, made.size);
      return m;
    });
    made.set(key, fresh);
    return fresh;
  };
};
