/**
 * Runs a plan on a WebGPU device: an arena, a pipeline for each kernel and pattern of places, and one submission a step, with which its small results
 * come back (readback.ts); inputs of the next step are taken while it is under way. Every slice of the arena is bound as `read_write`: slices of one dispatch may then lie in one buffer, as long as they do not overlap, and slices that are one place
 * are one binding.
 */
import { FoveaError } from '../../compiler/error.ts';
import { type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { reach } from '../../compiler/kernel/reach.ts';
import { hostData } from '../../compiler/kernel/scalar.ts';
import { largestOf } from '../../compiler/plan/largest.ts';
import type { Plan, Slot } from '../../compiler/plan/types.ts';
import type { Executable, Progress } from '../../compiler/target.ts';
import { arenaOf, up4 } from './arena.ts';
import type { Opened } from './device.ts';
import { dispatchAll, record, refusedOf } from './dispatch.ts';
import { type KernelText, pipelines, report } from './pipelines.ts';
import { numbersOf, readback } from './readback.ts';
import { launchTimes } from './times.ts';

const wrong = (message: string): never => {
  throw new FoveaError('FV0305', message);
};

export interface WebGpuExecutable extends Executable {
  read(o: number): Promise<HostData>;
  profile(): Promise<Float64Array>;
}

/** Addresses are i32 (docs/architecture.md): FV0202 where one that a kernel computes, or the end of a tensor, may be larger than that. */
const counts = ({ kernels, launches }: Plan): void => {
  const most = 2 ** 31 - 1;
  kernels.forEach((k, n) => {
    const blocks = k.grid[0] * k.grid[1] * k.grid[2];
    const largest = Math.max(blocks, ...k.buffers.map((b) => b.size), reach(k, 0, blocks).largest);
    if (largest <= most) return;
    const l = launches.find((l) => l.kernel === n);
    throw new FoveaError('FV0202', `kernel ${k.name} counts up to ${largest}; the webgpu backend counts up to ${most}`, {
      scope: l?.scope,
      loc: l?.loc,
      hint: 'Use a smaller batch.',
    });
  });
};

/** FV0202: the device has no room. */
export const load = async (
  { device, life, sizes }: Opened,
  plan: Plan,
  text: KernelText,
  progress?: Progress,
): Promise<WebGpuExecutable> => {
  life.check('prepare');
  counts(plan);
  const making = arenaOf(device, plan.arenaBytes, sizes, largestOf(plan));
  // one that comes too late is not kept
  const arena = await life.wait('arena', making).catch((e: unknown) => {
    void making.then((late) => late.destroy()).catch(() => {});
    throw e;
  });
  const ready = (done: number, of: number): void => progress?.(done, of, 'compiled');
  const uniforms: GPUBuffer[] = [];
  const back = readback(device, life, arena, sizes.buffer);
  const numbers = numbersOf(device, arena, plan.outputs);
  const free = (): void => {
    arena.destroy();
    back.destroy();
    numbers.destroy();
    for (const u of uniforms) u.destroy();
  };
  const launches = await record(device, plan, arena, pipelines(device, life, plan.kernels, text, ready), uniforms, sizes).catch(
    (e: unknown) => {
      free();
      throw e;
    },
  );

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
  const there = (what: string): void => {
    if (state === 'disposed') throw new FoveaError('FV0304', `${what}: this executable was disposed`);
    life.check(what);
  };
  const check = (what: string): void => {
    there(what);
    if (state === 'running') wrong(`${what}: a run is in progress; await it first`);
  };
  const slot = (list: readonly Slot[], i: number, what: string): Slot => list[i] ?? wrong(`${what} ${i}: there are ${list.length}`);
  const submit = (): void => {
    const encoder = device.createCommandEncoder({ label: 'step' });
    const pass = encoder.beginComputePass({ label: 'step' });
    for (const { dispatches } of launches) dispatchAll(pass, dispatches);
    pass.end();
    numbers.copy(encoder);
    device.queue.submit([encoder.finish()]);
  };
  /** What `work` submits and waits for, as the one run that is allowed at a time. */
  const running = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    check(what);
    back.flush();
    numbers.settle(false);
    state = 'running';
    let well = false;
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
      if (error) {
        const at = await refusedOf(device, life, launches);
        throw new FoveaError('FV0302', `WebGPU refuses ${at?.label ?? 'the step'}: ${error.message}`, {
          scope: at?.scope,
          loc: at?.loc,
          hint: report,
        });
      }
      life.check(what);
      well = true;
      return result;
    } finally {
      state = 'idle';
      numbers.settle(well);
    }
  };
  return {
    inputs: plan.inputs.map((s) => s.type),
    outputs: plan.outputs.map((s) => s.type),
    aliases: plan.aliases,
    ahead: true,
    write: (i, data) => {
      // the queue takes it after a run that is under way; where a result lies, that may not change
      if (plan.aliases.includes(i)) check('write');
      else there('write');
      const s = slot(plan.inputs, i, 'input');
      const Host = hostArrays[s.type.dtype];
      if (data.constructor !== Host) wrong(`input ${i} (${s.type.dtype}) takes a ${Host.name}, got a ${data.constructor.name}`);
      if (data.length !== elements(s))
        wrong(`input ${i} has ${elements(s)} elements (${s.type.dtype}[${s.type.shape.join(' ')}]), got ${data.length}`);
      back.flush();
      upload(`input ${i} (${s.type.dtype}[${s.type.shape.join(' ')}])`, s, data);
    },
    run: () =>
      running('run', async () => {
        submit();
        await Promise.all([device.queue.onSubmittedWorkDone(), numbers.come()]);
      }),
    profile: () => running('profile', () => launchTimes(device, life, launches)),
    read: async (o) => {
      check('read');
      const s = slot(plan.outputs, o, 'output');
      const Host = hostArrays[s.type.dtype];
      const count = elements(s);
      if (count === 0) return new Host(0);
      const out = numbers.of(o) ?? (await back.read(s.offset, up4(count * Host.BYTES_PER_ELEMENT)));
      return new Host(out.buffer as ArrayBuffer, 0, count);
    },
    dispose: () => {
      if (state === 'disposed') return;
      if (state === 'running') wrong('dispose: a run is in progress; await it first');
      state = 'disposed';
      back.flush();
      free();
    },
  };
};
