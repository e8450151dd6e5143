/**
 * Runs a plan on a WebGPU device: an arena, a pipeline for each kernel and pattern of places, and one submission a step. Every slice of the arena
 * is bound as `read_write`: slices of one dispatch may then lie in one buffer, as long as they do not overlap, and slices that are one place
 * are one binding.
 */
import { FoveaError } from '../../compiler/error.ts';
import { bytesOf, type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { hostData } from '../../compiler/kernel/scalar.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Launch, Part, Plan, Slot } from '../../compiler/plan/types.ts';
import type { Executable, Progress } from '../../compiler/target.ts';
import { type Arena, arenaOf, type Piece, type Sizes } from './arena.ts';
import type { Places } from './bindings.ts';
import type { Life } from './life.ts';
import { type Pipelines, pipelines } from './pipelines.ts';
import { counted, lineOfBlocks } from './print.ts';

const wrong = (message: string): never => {
  throw new FoveaError('FV0305', message);
};
const up4 = (n: number): number => Math.ceil(n / 4) * 4;

/** The slices of a part's buffers, those of one place once, in order of their first ones; and the same as places. */
const slices = (k: Kernel, { offsets, sizes }: Part, arena: Arena): { readonly places: Places; readonly pieces: readonly Piece[] } => {
  const numbers = new Map<number, number>();
  const ends: { readonly offset: number; bytes: number }[] = [];
  const places = k.buffers.map((b, i) => {
    const bytes = Math.max(4, up4((sizes[i] as number) * bytesOf[b.dtype]));
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
  const starts = (ps: readonly Piece[]): readonly number[] => {
    let at = 0;
    return ps.map((p) => {
      at += p.bytes / 4;
      return at - p.bytes / 4;
    });
  };
  return { places: { places, cuts: pieces.map(starts) }, pieces: pieces.flat() };
};

interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly blocks: readonly [number, number];
}
interface Recorded {
  readonly dispatches: readonly Dispatch[];
  readonly uniforms: readonly GPUBuffer[];
}

const record = async (device: GPUDevice, plan: Plan, arena: Arena, pipelineOf: Pipelines): Promise<Recorded> => {
  const uniforms: GPUBuffer[] = [];
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
  const all = await Promise.all(plan.launches.flatMap((l) => l.parts.map((p) => dispatchOf(l, p))));
  return { dispatches: all.filter((d) => d.blocks[0] > 0), uniforms };
};

export interface WebGpuExecutable extends Executable {
  read(o: number): Promise<HostData>;
}

/** FV0202: the device has no room. */
export const load = async (device: GPUDevice, plan: Plan, life: Life, sizes: Sizes, progress?: Progress): Promise<WebGpuExecutable> => {
  life.check('prepare');
  // the index of an element is an i32
  const huge = plan.kernels.flatMap((k) => k.buffers).find((b) => b.size >= 2 ** 31);
  if (huge) throw new FoveaError('FV0202', `a tensor of ${huge.size} elements; the webgpu backend counts up to ${2 ** 31 - 1}`);
  const arena = await life.wait('arena', arenaOf(device, plan.arenaBytes, sizes));
  const ready = (done: number, of: number): void => progress?.(done, of, 'compiled');
  const { dispatches, uniforms } = await record(device, plan, arena, pipelines(device, life, plan.kernels, ready));

  /** Writes are of whole words. */
  const upload = (slot: Slot, data: HostData): void => {
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    const whole = bytes.length % 4 === 0 ? bytes : new Uint8Array(up4(bytes.length));
    if (whole !== bytes) whole.set(bytes);
    arena.write(slot.offset, whole);
  };
  const elements = (s: Slot): number => s.type.shape.reduce<number>((n, d) => n * Number(d), 1);
  for (const c of plan.constants) upload(c.slot, hostData(c.slot.type.dtype, c.data));

  let state: 'idle' | 'running' | 'disposed' = 'idle';
  const check = (what: string): void => {
    if (state === 'disposed') throw new FoveaError('FV0304', `${what}: this executable was disposed`);
    life.check(what);
    if (state === 'running') wrong(`${what}: a run is in progress; await it first`);
  };
  const slot = (list: readonly Slot[], i: number, what: string): Slot => list[i] ?? wrong(`${what} ${i}: there are ${list.length}`);
  const submit = (): void => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, group, blocks } of dispatches) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...blocks);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
  };
  return {
    inputs: plan.inputs.map((s) => s.type),
    outputs: plan.outputs.map((s) => s.type),
    aliases: plan.aliases,
    write: (i, data) => {
      check('write');
      const s = slot(plan.inputs, i, 'input');
      const Host = hostArrays[s.type.dtype];
      if (data.constructor !== Host) wrong(`input ${i} (${s.type.dtype}) takes a ${Host.name}, got a ${data.constructor.name}`);
      if (data.length !== elements(s))
        wrong(`input ${i} has ${elements(s)} elements (${s.type.dtype}[${s.type.shape.join(' ')}]), got ${data.length}`);
      upload(s, data);
    },
    run: async () => {
      check('run');
      state = 'running';
      try {
        device.pushErrorScope('validation');
        let refused: Promise<GPUError | null>;
        try {
          submit();
        } finally {
          refused = device.popErrorScope();
        }
        const [error] = await life.wait('run', Promise.all([refused, device.queue.onSubmittedWorkDone()]));
        if (error)
          throw new FoveaError('FV0302', `WebGPU refuses the step: ${error.message}`, {
            hint: 'This is a bug of Fovea: please report it.',
          });
      } finally {
        state = 'idle';
      }
      life.check('run');
    },
    read: async (o) => {
      check('read');
      const s = slot(plan.outputs, o, 'output');
      const Host = hostArrays[s.type.dtype];
      const count = elements(s);
      if (count === 0) return new Host(0);
      const bytes = up4(count * Host.BYTES_PER_ELEMENT);
      const staging = device.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      try {
        const encoder = device.createCommandEncoder();
        arena.copyTo(encoder, s.offset, bytes, staging);
        device.queue.submit([encoder.finish()]);
        await life.wait('read', staging.mapAsync(GPUMapMode.READ));
        return new Host(staging.getMappedRange().slice(0, count * Host.BYTES_PER_ELEMENT));
      } finally {
        staging.destroy();
      }
    },
    dispose: () => {
      if (state === 'disposed') return;
      if (state === 'running') wrong('dispose: a run is in progress; await it first');
      state = 'disposed';
      arena.destroy();
      for (const u of uniforms) u.destroy();
    },
  };
};
