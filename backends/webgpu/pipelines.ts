/** Compute pipelines of kernels: one for each text, which depends on where the kernel's buffers lie, made together by as many threads as there are. */
import { FoveaError } from '../../compiler/error.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Launch } from '../../compiler/plan/types.ts';
import type { Places } from './bindings.ts';
import type { Life } from './life.ts';
import { counted } from './print.ts';

export interface Made {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Which part of the user's program asks, for labels and errors. */
export type Asks = Pick<Launch, 'scope' | 'loc'>;
/** What a pipeline, a group of bindings or a pass is called: by WebGPU in its errors, and by tools that record frames. */
export const labelOf = (k: Pick<Kernel, 'name'>, { scope }: Asks): string => `${k.name}${scope === '' ? '' : ` of ${scope}`}`;
/** For what is no fault of the user's. */
export const report = 'This is a bug of Fovea: please report it.';

/** Of so many bindings and perhaps the number of blocks; written out, for a kernel may leave a buffer alone. */
const layoutOf = (device: GPUDevice, bindings: number, many: boolean): GPUBindGroupLayout =>
  device.createBindGroupLayout({
    entries: Array.from({ length: bindings + (many ? 1 : 0) }, (_, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: binding < bindings ? ('storage' as const) : ('uniform' as const) },
    })),
  });

/** FV0302: the text of a kernel is refused, which is a fault of the compiler. */
const build = async (device: GPUDevice, life: Life, k: Kernel, code: string, places: Places, asks: Asks): Promise<Made> => {
  const label = labelOf(k, asks);
  const bindings = places.cuts.reduce((n, c) => n + c.length, 0);
  // what is wrong with the text is asked for below, and not told to the console besides
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code, label });
  device.popErrorScope().catch(() => {});
  const layout = layoutOf(device, bindings, counted(k));
  try {
    const pipeline = await life.wait(
      `kernel ${k.name}`,
      device.createComputePipelineAsync({
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        label,
        compute: { module, entryPoint: 'main' },
      }),
    );
    return { pipeline, layout };
  } catch (cause) {
    if (cause instanceof FoveaError) throw cause;
    const { messages } = await life.wait(`kernel ${k.name}`, module.getCompilationInfo());
    const first = messages.find((m) => m.type === 'error');
    const line = first ? `, line ${first.lineNum}: ${first.message}: ${code.split('\n')[first.lineNum - 1]?.trim()}` : `: ${String(cause)}`;
    throw new FoveaError('FV0302', `WebGPU refuses kernel ${label}${line}`, { scope: asks.scope, loc: asks.loc, hint: report, cause });
  }
};

export type Pipelines = (kernel: number, places: Places, asks: Asks) => Promise<Made>;

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
  return (kernel, places, asks) => {
    const key = `${kernel} ${places.places.join()} ${places.cuts.join(';')} ${places.first ?? 0}`;
    const old = made.get(key);
    if (old) return old;
    const fresh = build(device, life, kernels[kernel] as Kernel, text(kernel, places), places, asks).then((m) => {
      ready(++done, made.size);
      return m;
    });
    made.set(key, fresh);
    return fresh;
  };
};
