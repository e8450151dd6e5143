/**
 * Runs a plan on a WebGPU device: one buffer as the arena, a pipeline for each kernel and pattern of shared places, and one submission a step.
 * Every slice of the arena is bound as `read_write`: slices of one dispatch may then lie in one buffer, as long as they do not overlap, and
 * slices that are one place are one binding.
 */
import { FoveaError } from '../../compiler/error.ts';
import { bytesOf, type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { hostData } from '../../compiler/kernel/scalar.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Launch, Part, Plan, Slot } from '../../compiler/plan/types.ts';
import type { Executable, Progress } from '../../compiler/target.ts';
import { counted, lineOfBlocks, printWgsl } from './print.ts';

const wrong = (message: string): never => {
  throw new FoveaError('FV0305', message);
};
const up4 = (n: number): number => Math.ceil(n / 4) * 4;

/** Buffers of one place have one number, in order of their first ones. */
const placesOf = (k: Kernel, offsets: readonly number[]): readonly number[] => {
  const numbers = new Map<number, number>();
  return k.buffers.map((b, i) => {
    // a buffer without elements lies nowhere
    const at = b.size === 0 ? -1 - i : (offsets[i] as number);
    if (!numbers.has(at)) numbers.set(at, numbers.size);
    return numbers.get(at) as number;
  });
};

interface Made {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly bindings: number;
}

/** Of so many slices and perhaps the number of blocks; written out, for a kernel may leave a buffer alone. */
const layoutOf = (device: GPUDevice, bindings: number, many: boolean): GPUBindGroupLayout =>
  device.createBindGroupLayout({
    entries: Array.from({ length: bindings + (many ? 1 : 0) }, (_, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: binding < bindings ? ('storage' as const) : ('uniform' as const) },
    })),
  });

/** FV0302: the text of a kernel is refused, which is a fault of the compiler. */
const build = async (device: GPUDevice, k: Kernel, places: readonly number[]): Promise<Made> => {
  const code = printWgsl(k, places);
  const module = device.createShaderModule({ code, label: k.name });
  const bindings = Math.max(0, ...places.map((p) => p + 1));
  const layout = layoutOf(device, bindings, counted(k));
  try {
    const pipeline = await device.createComputePipelineAsync({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      label: k.name,
      compute: { module, entryPoint: 'main' },
    });
    return { pipeline, layout, bindings };
  } catch (cause) {
    const { messages } = await module.getCompilationInfo();
    const first = messages.find((m) => m.type === 'error');
    const line = first ? `, line ${first.lineNum}: ${first.message}: ${code.split('\n')[first.lineNum - 1]?.trim()}` : `: ${String(cause)}`;
    throw new FoveaError('FV0302', `WebGPU refuses kernel ${k.name}${line}`, { hint: 'This is a bug of Fovea: please report it.', cause });
  }
};

interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly blocks: readonly [number, number];
}

export interface WebGpuExecutable extends Executable {
  read(o: number): Promise<HostData>;
}

/** Pipelines are made together, by as many threads as the implementation likes. FV0202: the device has no room. */
export const load = async (
  device: GPUDevice,
  plan: Plan,
  lost: () => string | undefined,
  progress?: Progress,
): Promise<WebGpuExecutable> => {
  const size = Math.max(256, up4(plan.arenaBytes));
  if (size > device.limits.maxBufferSize)
    throw new FoveaError(
      'FV0202',
      `the arena has ${(size / 2 ** 30).toFixed(2)} GiB, a buffer of this device at most ${(device.limits.maxBufferSize / 2 ** 30).toFixed(2)}`,
    );
  device.pushErrorScope('out-of-memory');
  const arena = device.createBuffer({
    size,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    label: 'arena',
  });
  if (await device.popErrorScope()) throw new FoveaError('FV0202', `the device has no ${(size / 2 ** 30).toFixed(2)} GiB for the arena`);

  const made = new Map<string, Promise<Made>>();
  let ready = 0;
  const pipelineOf = (kernel: number, places: readonly number[]): Promise<Made> => {
    const key = `${kernel}:${places.join()}`;
    const old = made.get(key);
    if (old) return old;
    const fresh = build(device, plan.kernels[kernel] as Kernel, places).then((m) => {
      progress?.(++ready, made.size, 'compiled');
      return m;
    });
    made.set(key, fresh);
    return fresh;
  };
  const uniforms: GPUBuffer[] = [];
  const dispatchOf = async ({ kernel }: Launch, part: Part): Promise<Dispatch> => {
    const k = plan.kernels[kernel] as Kernel;
    const places = placesOf(k, part.offsets);
    const { pipeline, layout, bindings } = await pipelineOf(kernel, places);
    const entries = Array.from({ length: bindings }, (_, n): GPUBindGroupEntry => {
      const here = k.buffers.flatMap((b, i) =>
        places[i] === n ? [{ at: part.offsets[i] as number, bytes: (part.sizes[i] as number) * bytesOf[b.dtype] }] : [],
      );
      const bytes = Math.max(4, ...here.map((h) => up4(h.bytes)));
      return { binding: n, resource: { buffer: arena, offset: (here[0] as (typeof here)[number]).at, size: bytes } };
    });
    if (counted(k)) {
      const count = device.createBuffer({ size: 4, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      device.queue.writeBuffer(count, 0, new Uint32Array([part.blocks]));
      uniforms.push(count);
      entries.push({ binding: bindings, resource: { buffer: count } });
    }
    const group = device.createBindGroup({ layout, entries });
    const x = Math.min(part.blocks, lineOfBlocks);
    return { pipeline, group, blocks: [x, Math.ceil(part.blocks / lineOfBlocks)] };
  };
  const dispatches = (await Promise.all(plan.launches.flatMap((l) => l.parts.map((p) => dispatchOf(l, p))))).filter((d) => d.blocks[0] > 0);

  /** Writes are of whole words. */
  const upload = (slot: Slot, data: HostData): void => {
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    const whole = bytes.length % 4 === 0 ? bytes : new Uint8Array(up4(bytes.length));
    if (whole !== bytes) whole.set(bytes);
    if (whole.length > 0) device.queue.writeBuffer(arena, slot.offset, whole);
  };
  const elements = (s: Slot): number => s.type.shape.reduce<number>((n, d) => n * Number(d), 1);
  for (const c of plan.constants) upload(c.slot, hostData(c.slot.type.dtype, c.data));

  let state: 'idle' | 'running' | 'disposed' = 'idle';
  const check = (what: string): void => {
    if (state === 'disposed') throw new FoveaError('FV0304', `${what}: this executable was disposed`);
    const reason = lost();
    if (reason !== undefined)
      throw new FoveaError('FV0308', `${what}: the device was lost: ${reason}`, { hint: 'Compile the program again, on a new device.' });
    if (state === 'running') wrong(`${what}: a run is in progress; await it first`);
  };
  const slot = (list: readonly Slot[], i: number, what: string): Slot => list[i] ?? wrong(`${what} ${i}: there are ${list.length}`);
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
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        for (const { pipeline, group, blocks } of dispatches) {
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          pass.dispatchWorkgroups(...blocks);
        }
        pass.end();
        device.queue.submit([encoder.finish()]);
        const [error] = await Promise.all([device.popErrorScope(), device.queue.onSubmittedWorkDone()]);
        if (error)
          throw new FoveaError('FV0302', `WebGPU refuses the step: ${error.message}`, {
            hint: 'This is a bug of Fovea: please report it.',
          });
      } finally {
        state = 'idle';
      }
      check('run');
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
        encoder.copyBufferToBuffer(arena, s.offset, staging, 0, bytes);
        device.queue.submit([encoder.finish()]);
        await staging.mapAsync(GPUMapMode.READ);
        return new Host(staging.getMappedRange().slice(0, count * Host.BYTES_PER_ELEMENT));
      } finally {
        staging.destroy();
      }
    },
    dispose: () => {
      if (state === 'disposed') return;
      check('dispose');
      state = 'disposed';
      arena.destroy();
      for (const u of uniforms) u.destroy();
    },
  };
};
