/** The launches of a plan as dispatches: pipelines, bound slices of the arena, counts of blocks; and how they are encoded. */
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Launch, Plan } from '../../compiler/plan/types.ts';
import type { Arena, Sizes } from './arena.ts';
import type { Places } from './bindings.ts';
import { type Cut, cut, whole } from './cut.ts';
import type { Life } from './life.ts';
import { type Asks, labelOf, type Pipelines } from './pipelines.ts';
import { counted, lineOfBlocks } from './print.ts';

export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly blocks: readonly [number, number];
}
/** A launch that can be encoded. */
export interface Ready extends Asks {
  readonly label: string;
  readonly dispatches: readonly Dispatch[];
}
/** The kernels of a plan with the places of their buffers, each once: all that has to be printed where the arena is one buffer. */
export const placesOf = (plan: Plan): readonly { readonly kernel: number; readonly places: Places }[] => {
  const one = (offset: number, bytes: number) => [{ offset, bytes }];
  const found = plan.launches.flatMap(({ kernel, parts }) =>
    parts.map((p) => ({ kernel, places: whole(plan.kernels[kernel] as Kernel, p, one).places })),
  );
  return [...new Map(found.map((f) => [JSON.stringify(f), f])).values()];
};

/** The dispatches of each launch; buffers that they need go to `uniforms`. */
export const record = async (
  device: GPUDevice,
  plan: Plan,
  arena: Arena,
  pipelineOf: Pipelines,
  uniforms: GPUBuffer[],
  sizes: Sizes,
): Promise<readonly Ready[]> => {
  const dispatchOf = async (l: Launch, { first, end, places, pieces }: Cut): Promise<Dispatch> => {
    const k = plan.kernels[l.kernel] as Kernel;
    const { pipeline, layout } = await pipelineOf(l.kernel, places, l);
    const entries = pieces.map(
      (p, binding): GPUBindGroupEntry => ({ binding, resource: { buffer: p.buffer, offset: p.offset, size: p.bytes } }),
    );
    if (counted(k)) {
      const last = device.createBuffer({ size: 4, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      device.queue.writeBuffer(last, 0, new Uint32Array([end]));
      uniforms.push(last);
      entries.push({ binding: pieces.length, resource: { buffer: last } });
    }
    const group = device.createBindGroup({ layout, entries, label: labelOf(k, l) });
    const count = end - first;
    return { pipeline, group, blocks: [Math.min(count, lineOfBlocks), Math.ceil(count / lineOfBlocks)] };
  };
  const ready = async (l: Launch): Promise<Ready> => {
    const k = plan.kernels[l.kernel] as Kernel;
    const cuts = l.parts.flatMap((p) => cut(k, p, arena, sizes, l));
    const dispatches = await Promise.all(cuts.map((c) => dispatchOf(l, c)));
    return { label: labelOf(k, l), scope: l.scope, loc: l.loc, dispatches: dispatches.filter((d) => d.blocks[0] > 0) };
  };
  return Promise.all(plan.launches.map(ready));
};

export const dispatchAll = (pass: GPUComputePassEncoder, dispatches: readonly Dispatch[]): void => {
  for (const { pipeline, group, blocks } of dispatches) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...blocks);
  }
};

/** A launch in a pass of its own. */
export const alone = (device: GPUDevice, { label, dispatches }: Ready): GPUCommandBuffer => {
  const encoder = device.createCommandEncoder({ label });
  const pass = encoder.beginComputePass({ label });
  dispatchAll(pass, dispatches);
  pass.end();
  return encoder.finish();
};

/** Of a step that the device refuses, the launch that it does not take: each is encoded alone, and none is submitted. */
export const refusedOf = async (device: GPUDevice, life: Life, launches: readonly Ready[]): Promise<Ready | undefined> => {
  for (const launch of launches) {
    device.pushErrorScope('validation');
    alone(device, launch);
    if (await life.wait(launch.label, device.popErrorScope())) return launch;
  }
  return undefined;
};
