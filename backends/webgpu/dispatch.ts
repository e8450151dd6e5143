/** The launches of a plan as dispatches: pipelines, bound slices of the arena, counts of blocks. */
import { bytesOf } from '../../compiler/graph/types.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Launch, Part, Plan } from '../../compiler/plan/types.ts';
import { type Arena, type Piece, up16 } from './arena.ts';
import type { Places } from './bindings.ts';
import type { Pipelines } from './pipelines.ts';
import { counted, lineOfBlocks } from './print.ts';

/** The slices of a part's buffers, those of one place once, in order of their first ones; and the same as places. */
const slices = <P extends Pick<Piece, 'bytes'>>(
  k: Kernel,
  { offsets, sizes }: Part,
  arena: { readonly pieces: (offset: number, bytes: number) => readonly P[] },
): { readonly places: Places; readonly pieces: readonly P[] } => {
  const numbers = new Map<number, number>();
  const ends: { readonly offset: number; bytes: number }[] = [];
  const places = k.buffers.map((b, i) => {
    const bytes = Math.max(16, up16((sizes[i] as number) * bytesOf[b.dtype]));
    const offset = offsets[i] as number;
    // a buffer without elements lies nowhere
    const key = b.size === 0 ? -1 - i : offset;
    const known = numbers.get(key) ?? ends.push({ offset, bytes }) - 1;
    numbers.set(key, known);
    const end = ends[known] as (typeof ends)[number];
    end.bytes = Math.max(end.bytes, bytes);
    return known;
  });
  const pieces = ends.map(({ offset, bytes }) => arena.pieces(offset, bytes));
  const starts = (ps: readonly P[]): readonly number[] => {
    let at = 0;
    return ps.map((p) => {
      at += p.bytes / 4;
      return at - p.bytes / 4;
    });
  };
  return { places: { places, cuts: pieces.map(starts) }, pieces: pieces.flat() };
};

export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly blocks: readonly [number, number];
}
/** The kernels of a plan with the places of their buffers, each once: all that has to be printed where the arena is one buffer. */
export const placesOf = (plan: Plan): readonly { readonly kernel: number; readonly places: Places }[] => {
  const one = { pieces: (offset: number, bytes: number) => [{ offset, bytes }] };
  const found = plan.launches.flatMap(({ kernel, parts }) =>
    parts.map((p) => ({ kernel, places: slices(plan.kernels[kernel] as Kernel, p, one).places })),
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
): Promise<readonly (readonly Dispatch[])[]> => {
  const dispatchOf = async ({ kernel, scope }: Launch, part: Part): Promise<Dispatch> => {
    const k = plan.kernels[kernel] as Kernel;
    const { places, pieces } = slices(k, part, arena);
    const { pipeline, layout } = await pipelineOf(kernel, places, scope === '' ? '' : ` of ${scope}`);
    const entries = pieces.map(
      (p, binding): GPUBindGroupEntry => ({ binding, resource: { buffer: p.buffer, offset: p.offset, size: p.bytes } }),
    );
    if (counted(k)) {
      const count = device.createBuffer({ size: 4, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      device.queue.writeBuffer(count, 0, new Uint32Array([part.blocks]));
      uniforms.push(count);
      entries.push({ binding: pieces.length, resource: { buffer: count } });
    }
    const group = device.createBindGroup({ layout, entries });
    const x = Math.min(part.blocks, lineOfBlocks);
    return { pipeline, group, blocks: [x, Math.ceil(part.blocks / lineOfBlocks)] };
  };
  const all = await Promise.all(plan.launches.map((l) => Promise.all(l.parts.map((p) => dispatchOf(l, p)))));
  return all.map((ds) => ds.filter((d) => d.blocks[0] > 0));
};

export const dispatchAll = (pass: GPUComputePassEncoder, dispatches: readonly Dispatch[]): void => {
  for (const { pipeline, group, blocks } of dispatches) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...blocks);
  }
};
