/**
 * Runs a plan on a GPU: an arena, the modules of its kernels, and one CUDA graph of all launches, which a step replays. Work is put in one stream and
 * waited for by its events, so the event loop stays free. Results come through pinned memory, and so do inputs that are written again and again: a
 * batch is copied once on this side, and the GPU fetches it while JavaScript goes on.
 */
import type { Memory } from '../../compiler/collectives.ts';
import { FoveaError } from '../../compiler/error.ts';
import { type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { hostData } from '../../compiler/kernel/scalar.ts';
import type { Plan, Slot } from '../../compiler/plan/types.ts';
import type { Executable } from '../../compiler/target.ts';
import { besideOf } from './beside.ts';
import type { Code } from './cubins.ts';
import { addressOf, memoryAt } from './driver.ts';
import { type LaunchCall, launchesOf } from './launches.ts';
import type { Device } from './open.ts';
import type { Printed } from './print.ts';
import { until } from './wait.ts';

export interface CudaExecutable extends Executable {
  read(o: number): Promise<HostData>;
  profile(): Promise<Float64Array>;
  runSome(first: number, count: number): Promise<void>;
  readonly memory: Memory;
}
export interface LoadOptions {
  /** A word that fills the arena to begin with; its memory is what it was otherwise. */
  readonly poison: number | undefined;
  /** Launches one by one, and says which of them failed. */
  readonly check: boolean;
  /** The machine code at the path of a kernel's code. */
  readonly imageOf: (path: string) => Promise<Buffer>;
}

/** Pinned memory of one input; busy until the GPU has fetched it. */
interface Mirror {
  readonly at: bigint;
  readonly bytes: Uint8Array;
  busy: boolean;
}

const wrong = (message: string): never => {
  throw new FoveaError('FV0305', message);
};
const gib = (n: number): string => `${(n / 2 ** 30).toFixed(2)} GiB`;
/** Bytes that pass through pinned memory at once. */
const chunk = 16 << 20;
/** Bytes of the largest input that gets pinned memory of its own. */
const mirrored = 256 << 20;

/** FV0202: the GPU has no room. FV0313: it is lost. */
export const load = async (
  device: Device,
  plan: Plan,
  printed: readonly Pick<Printed, 'sharedBytes'>[],
  codes: readonly Code[],
  { poison, check, imageOf }: LoadOptions,
): Promise<CudaExecutable> => {
  const { cu } = device;
  const before = device.lost();
  if (before) throw before;
  cu.cuCtxSetCurrent(device.context);
  const bytes = Math.max(256, Math.ceil(plan.arenaBytes / 256) * 256);
  const { free: room, total } = device.memory();
  if (bytes > room)
    throw new FoveaError('FV0202', `the plan needs ${gib(bytes)}, and ${device.name} has ${gib(room)} free of ${gib(total)}`, {
      hint: 'Use a smaller batch, checkpoint() the largest modules, or end other programs that use the GPU.',
    });
  /** What is to be undone, the last first. */
  const undo: (() => void)[] = [];
  const owned = <T>(handle: T, free: (handle: T) => unknown): T => {
    undo.push(() => void free(handle));
    return handle;
  };
  const free = (): void => {
    // what lay on a lost device went with it, and its handles may be those of others by now
    if (device.lost()) return;
    for (const f of undo.splice(0).reverse()) {
      try {
        f();
      } catch {
        // a device that is being lost has nothing to give back
      }
    }
  };
  try {
    const stream = owned(cu.cuStreamCreate(1), cu.cuStreamDestroy_v2);
    const finished = owned(cu.cuEventCreate(2), cu.cuEventDestroy_v2);
    const fromPool = (): bigint => {
      try {
        return cu.cuMemAllocAsync(bytes, stream);
      } catch (e) {
        if (!(e instanceof FoveaError) || e.code !== 'FV0202') throw e;
        // it may keep as many bytes, but not in one piece
        device.trim();
        return cu.cuMemAllocAsync(bytes, stream);
      }
    };
    const arena = device.pooled
      ? owned(fromPool(), (at) => cu.cuMemFreeAsync(at, stream))
      : owned(cu.cuMemAlloc_v2(bytes), cu.cuMemFree_v2);
    const pinned = owned(cu.cuMemHostAlloc(chunk, 0), cu.cuMemFreeHost);
    const staging = new Uint8Array(memoryAt(pinned, chunk));

    const modules = new Map<string, bigint>();
    for (const path of new Set(codes.map((c) => c.path)))
      modules.set(path, owned(cu.cuModuleLoadData(await imageOf(path)), cu.cuModuleUnload));
    const functions = codes.map(({ path, symbol }, i) => {
      const f = cu.cuModuleGetFunction(modules.get(path) as bigint, symbol);
      const { sharedBytes } = printed[i] as Pick<Printed, 'sharedBytes'>;
      if (sharedBytes > 48 << 10) cu.cuFuncSetAttribute(f, 8, sharedBytes);
      return f;
    });
    const calls = launchesOf(cu, plan, printed, functions, arena);
    const launch = (c: LaunchCall): unknown =>
      cu.cuLaunchKernel(c.function, c.blocks, 1, 1, c.threads, 1, 1, c.sharedBytes, stream, c.arguments, 0n);

    const mirrors = new Map<number, Mirror>();
    const written = new Set<number>();
    const wait = async (): Promise<void> => {
      cu.cuEventRecord(finished, stream);
      await until(cu, finished);
      // the stream has passed all that was put there before
      for (const m of mirrors.values()) m.busy = false;
    };
    /** The driver has copied what is not pinned memory when it returns, to where the GPU fetches it in turn: the caller may change its data. */
    const upload = (offset: number, data: Uint8Array, from = data.length > 0 ? addressOf(data) : 0n): void => {
      if (data.length > 0) cu.cuMemcpyHtoDAsync_v2(arena + BigInt(offset), from, data.length, stream);
    };
    /** Input i through pinned memory, from the second time on: weights are written once. False where that memory is still to be fetched. */
    const byMirror = (i: number, offset: number, data: Uint8Array): boolean => {
      if (!written.has(i) || data.length === 0 || data.length > mirrored) {
        written.add(i);
        return false;
      }
      let m = mirrors.get(i);
      if (!m) {
        const at = owned(cu.cuMemHostAlloc(data.length, 0), cu.cuMemFreeHost);
        m = { at, bytes: new Uint8Array(memoryAt(at, data.length)), busy: false };
        mirrors.set(i, m);
      }
      if (m.busy) return false;
      m.bytes.set(data);
      m.busy = true;
      upload(offset, m.bytes, m.at);
      return true;
    };
    const bytesOf = (data: HostData): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (poison !== undefined) cu.cuMemsetD32Async(arena, poison, bytes / 4, stream);
    for (const { slot, data } of plan.constants) upload(slot.offset, bytesOf(hostData(slot.type.dtype, data)));

    /** The graphs of launches that run together, by the first and their number: one, or those between collectives. */
    const graphs = new Map<string, bigint>();
    const capture = (some: readonly LaunchCall[]): bigint => {
      cu.cuStreamBeginCapture_v2(stream, 1);
      try {
        for (const c of some) launch(c);
      } catch (e) {
        // else the stream would take all that comes for a part of the graph
        try {
          cu.cuGraphDestroy(cu.cuStreamEndCapture(stream));
        } catch {
          // a capture that is at fault ends with a fault
        }
        throw e;
      }
      const captured = cu.cuStreamEndCapture(stream);
      try {
        return owned(cu.cuGraphInstantiateWithFlags(captured, 0n), cu.cuGraphExecDestroy);
      } finally {
        cu.cuGraphDestroy(captured);
      }
    };

    let state: 'idle' | 'running' | 'disposed' = 'idle';
    /** Copies of results, one after another: they share the pinned memory. A run waits for them. */
    let copies: Promise<unknown> = Promise.resolve();
    let waiting = 0;
    const copying = <T>(work: () => Promise<T>): Promise<T> => {
      waiting++;
      const made = copies
        .then(work)
        .catch(device.lose)
        .finally(() => {
          waiting--;
        });
      copies = made;
      copies.catch(() => {});
      return made;
    };
    const ready = (what: string): void => {
      if (state === 'disposed') throw new FoveaError('FV0304', `${what}: this executable was disposed`);
      const lost = device.lost();
      if (lost) throw lost;
      if (state === 'running') wrong(`${what}: a run is in progress; await it first`);
      cu.cuCtxSetCurrent(device.context);
    };
    const slot = (list: readonly Slot[], i: number, what: string): Slot => list[i] ?? wrong(`${what} ${i}: there are ${list.length}`);
    const elements = (s: Slot): number => s.type.shape.reduce<number>((n, d) => n * Number(d), 1);
    /** The one run that goes on at a time. */
    const alone = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
      ready(what);
      state = 'running';
      try {
        await copies;
        return await work().catch(device.lose);
      } finally {
        state = 'idle';
      }
    };
    /** Launches one by one. `each` has the number of one that has just been put in the stream. */
    const oneByOne = async (some: readonly LaunchCall[], each?: (i: number) => void): Promise<void> => {
      for (const c of some) {
        launch(c);
        each?.(c.launch);
        if (!check) continue;
        try {
          await wait();
        } catch (e) {
          const l = plan.launches[c.launch];
          if (!(e instanceof FoveaError) || !l) throw e;
          throw new FoveaError(
            e.code,
            `${l.scope || 'the program'}, ${l.label} (${l.phase}, launch ${c.launch} of ${plan.launches.length}): ${e.message.replace(/^FV\d+: /, '')}`,
            {
              hint: `The kernel is ${plan.kernels[l.kernel]?.name}; its code lies in ${codes[l.kernel]?.path}.`,
              cause: e,
              loc: l.loc,
              scope: l.scope,
            },
          );
        }
      }
    };
    const runSome = (first: number, count: number): Promise<void> =>
      alone('run', async () => {
        const some = (): readonly LaunchCall[] => calls.filter((c) => c.launch >= first && c.launch < first + count);
        if (check) return oneByOne(some());
        const name = `${first} ${count}`;
        let graph = graphs.get(name);
        if (graph === undefined) {
          const captured = some();
          if (captured.length > 0) {
            graph = capture(captured);
            graphs.set(name, graph);
          }
        }
        if (graph !== undefined) cu.cuGraphLaunch(graph, stream);
        await wait();
      });
    return {
      inputs: plan.inputs.map((s) => s.type),
      outputs: plan.outputs.map((s) => s.type),
      aliases: plan.aliases,
      shared: calls.filter((c) => c.threads > 1).length,
      write: (i, data) => {
        ready('write');
        const s = slot(plan.inputs, i, 'input');
        const Host = hostArrays[s.type.dtype];
        if (data.constructor !== Host) wrong(`input ${i} (${s.type.dtype}) takes a ${Host.name}, got a ${data.constructor.name}`);
        if (data.length !== elements(s))
          wrong(`input ${i} has ${elements(s)} elements (${s.type.dtype}[${s.type.shape.join(' ')}]), got ${data.length}`);
        const put = (bytes: Uint8Array): void => {
          try {
            if (!byMirror(i, s.offset, bytes)) upload(s.offset, bytes);
          } catch (e) {
            device.lose(e);
          }
        };
        // behind results that are still to be copied: an input may lie where one of them does
        if (waiting > 0) {
          const copy = bytesOf(data.slice());
          void copying(async () => put(copy));
        } else put(bytesOf(data));
      },
      run: () => runSome(0, plan.launches.length),
      runSome,
      memory: {
        address: arena,
        view: () => wrong("a program's memory lies on the GPU: only NCCL moves it between ranks"),
        device: besideOf(device, stream, arena, owned),
      },
      profile: () =>
        alone('profile', async () => {
          const events = Array.from({ length: plan.launches.length + 1 }, () => cu.cuEventCreate(0));
          try {
            cu.cuEventRecord(events[0] as bigint, stream);
            await oneByOne(calls, (i) => cu.cuEventRecord(events[i + 1] as bigint, stream));
            await wait();
            return Float64Array.from(
              plan.launches,
              (_, i) => Number(cu.cuEventElapsedTime(events[i] as bigint, events[i + 1] as bigint)) / 1e3,
            );
          } finally {
            for (const e of events) cu.cuEventDestroy_v2(e);
          }
        }),
      read: async (o) => {
        ready('read');
        const s = slot(plan.outputs, o, 'output');
        return copying(async () => {
          const out = new hostArrays[s.type.dtype](elements(s));
          const to = bytesOf(out);
          for (let at = 0; at < to.length; at += chunk) {
            const n = Math.min(chunk, to.length - at);
            cu.cuMemcpyDtoHAsync_v2(pinned, arena + BigInt(s.offset + at), n, stream);
            await wait();
            to.set(staging.subarray(0, n), at);
          }
          return out;
        });
      },
      dispose: () => {
        if (state === 'disposed') return;
        if (state === 'running') wrong('dispose: a run is in progress; await it first');
        state = 'disposed';
        const end = (): void => {
          cu.cuCtxSetCurrent(device.context);
          free();
        };
        void copies.then(end, end);
      },
    };
  } catch (e) {
    free();
    return device.lose(e);
  }
};
