/**
 * Runs a plan on a WebGPU device: an arena, a pipeline for each kernel and pattern of places, and one submission a step. Every slice of the arena
 * is bound as `read_write`: slices of one dispatch may then lie in one buffer, as long as they do not overlap, and slices that are one place
 * are one binding.
 */
import { FoveaError } from '../../compiler/error.ts';
import { type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { hostData } from '../../compiler/kernel/scalar.ts';
import { largestOf } from '../../compiler/plan/largest.ts';
import type { Plan, Slot } from '../../compiler/plan/types.ts';
import type { Executable, Progress } from '../../compiler/target.ts';
import { arenaOf, up4 } from './arena.ts';
import type { Opened } from './device.ts';
import { dispatchAll, record } from './dispatch.ts';
import { type KernelText, pipelines } from './pipelines.ts';
import { launchTimes } from './times.ts';

const wrong = (message: string): never => {
  throw new FoveaError('FV0305', message);
};

export interface WebGpuExecutable extends Executable {
  read(o: number): Promise<HostData>;
  profile(): Promise<Float64Array>;
}

/** FV0202: the device has no room. */
export const load = async (
  { device, life, sizes }: Opened,
  plan: Plan,
  text: KernelText,
  progress?: Progress,
): Promise<WebGpuExecutable> => {
  life.check('prepare');
  // the index of an element is an i32
  const huge = plan.kernels.flatMap((k) => k.buffers).find((b) => b.size >= 2 ** 31);
  if (huge) throw new FoveaError('FV0202', `a tensor of ${huge.size} elements; the webgpu backend counts up to ${2 ** 31 - 1}`);
  const making = arenaOf(device, plan.arenaBytes, sizes, largestOf(plan));
  // one that comes too late is not kept
  const arena = await life.wait('arena', making).catch((e: unknown) => {
    void making.then((late) => late.destroy()).catch(() => {});
    throw e;
  });
  const ready = (done: number, of: number): void => progress?.(done, of, 'compiled');
  const uniforms: GPUBuffer[] = [];
  const free = (): void => {
    arena.destroy();
    for (const u of uniforms) u.destroy();
  };
  const launches = await record(device, plan, arena, pipelines(device, life, plan.kernels, text, ready), uniforms).catch((e: unknown) => {
    free();
    throw e;
  });

  /** What the device answered to what was written since the last run, with names for it. */
  let written: { readonly what: string; readonly refused: Promise<GPUError | null> }[] = [];
  /** Writes are of whole words. */
  const upload = (what: string, slot: Slot, data: HostData): void => {
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    const whole = bytes.length % 4 === 0 ? bytes : new Uint8Array(up4(bytes.length));
    if (whole !== bytes) whole.set(bytes);
    device.pushErrorScope('out-of-memory');
    arena.write(slot.offset, whole);
    // a lost device says so elsewhere
    written.push({ what, refused: device.popErrorScope().catch(() => null) });
  };
  const elements = (s: Slot): number => s.type.shape.reduce<number>((n, d) => n * Number(d), 1);
  for (const c of plan.constants) upload('a constant', c.slot, hostData(c.slot.type.dtype, c.data));

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
    for (const dispatches of launches) dispatchAll(pass, dispatches);
    pass.end();
    device.queue.submit([encoder.finish()]);
  };
  /** What `work` submits and waits for, as the one run that is allowed at a time. */
  const running = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    check(what);
    state = 'running';
    try {
      const before = written;
      written = [];
      device.pushErrorScope('out-of-memory');
      device.pushErrorScope('validation');
      let refused: Promise<readonly [GPUError | null, GPUError | null]>;
      let made: Promise<T>;
      try {
        made = work();
      } finally {
        refused = Promise.all([device.popErrorScope(), device.popErrorScope()]);
      }
      const lost = Promise.all(before.map(async (w) => ((await w.refused) ? w.what : undefined)));
      const [result, [error, full], unwritten] = await life.wait(what, Promise.all([made, refused, lost]));
      const missing = unwritten.filter((w) => w !== undefined);
      if (missing.length > 0 || full)
        throw new FoveaError('FV0202', `${what}: the device has no room to ${full ? 'do it' : `take ${missing.join(', ')}`}`, {
          hint: 'Nothing of this run is to be used: write its inputs again, with less on the device beside it, or use a smaller batch.',
        });
      if (error)
        throw new FoveaError('FV0302', `WebGPU refuses the step: ${error.message}`, {
          hint: 'This is a bug of Fovea: please report it.',
        });
      life.check(what);
      return result;
    } finally {
      state = 'idle';
    }
  };
  /** Asks for bytes of the arena as they are now, before anything that is submitted later. */
  const ask = (offset: number, bytes: number) => {
    device.pushErrorScope('out-of-memory');
    device.pushErrorScope('validation');
    const staging = device.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    arena.copyTo(encoder, offset, bytes, staging);
    device.queue.submit([encoder.finish()]);
    const refused = Promise.all([device.popErrorScope(), device.popErrorScope()]);
    // several are asked, and one after another is waited for
    refused.catch(() => {});
    return { staging, refused };
  };
  /** Copies them to `into`. FV0202: the device has no room for them to pass through. */
  const answered = async ({ staging, refused }: ReturnType<typeof ask>, into: Uint8Array): Promise<void> => {
    const [error] = (await life.wait('read', refused)).filter((e) => e !== null);
    if (error) throw new FoveaError('FV0202', `read: the device has no ${staging.size} bytes to copy a result through: ${error.message}`);
    await life.wait('read', staging.mapAsync(GPUMapMode.READ));
    into.set(new Uint8Array(staging.getMappedRange()));
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
      upload(`input ${i} (${s.type.dtype}[${s.type.shape.join(' ')}])`, s, data);
    },
    run: () =>
      running('run', () => {
        submit();
        return device.queue.onSubmittedWorkDone();
      }),
    profile: () => running('profile', () => launchTimes(device, life, launches)),
    read: async (o) => {
      check('read');
      const s = slot(plan.outputs, o, 'output');
      const Host = hostArrays[s.type.dtype];
      const count = elements(s);
      if (count === 0) return new Host(0);
      const bytes = up4(count * Host.BYTES_PER_ELEMENT);
      const starts = Array.from({ length: Math.ceil(bytes / sizes.buffer) }, (_, n) => n * sizes.buffer);
      const asked = starts.map((at) => ask(s.offset + at, Math.min(sizes.buffer, bytes - at)));
      const out = new Uint8Array(bytes);
      try {
        for (const [n, piece] of asked.entries()) await answered(piece, out.subarray(starts[n]));
      } finally {
        for (const { staging } of asked) staging.destroy();
      }
      return new Host(out.buffer, 0, count);
    },
    dispose: () => {
      if (state === 'disposed') return;
      if (state === 'running') wrong('dispose: a run is in progress; await it first');
      state = 'disposed';
      free();
    },
  };
};
