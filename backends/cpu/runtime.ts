/**
 * Runs a plan on this machine: one arena, one launch table, one asynchronous foreign call a step. The arena is mapped by
 * C (page-aligned, zeroed, returned to the system on dispose) and seen from JavaScript through views of the slots only.
 * While a step runs the arena belongs to it: write, read, run and dispose are refused until its promise settles.
 */
import { FoveaError } from '../../compiler/error.ts';
import { type DType, type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { hostData } from '../../compiler/kernel/scalar.ts';
import type { Launch, Plan, Slot } from '../../compiler/plan/types.ts';
import type { Executable, Span } from '../../compiler/target.ts';
import type { Address, Native } from './native.ts';
import type { Library } from './toolchain.ts';

/** An Executable that can also say how long each launch took. */
export interface CpuExecutable extends Executable {
  /** At once: the arena lies in this process. */
  read(o: number): HostData;
  /** As run, and measures: seconds of each launch, in the plan's order. */
  profile(): Promise<Float64Array>;
  spans(): readonly (readonly Span[])[];
  /** As run, but only the launches [first, first + count). */
  runSome(first: number, count: number): Promise<void>;
  readonly threads: number;
  /** Kernels that had to be compiled, the rest came from the cache. */
  readonly compiled: number;
}

const arrays: { readonly [T in DType]: new (buffer: ArrayBuffer | number, offset?: number, length?: number) => HostData } = hostArrays;

const wrong = (message: string): never => {
  throw new FoveaError('FV0305', message);
};

// an exiting process would otherwise wait for the rest of every step; one listener, however many executables run
const inFlight = new Set<() => void>();
const endRuns = (): void => {
  for (const cancel of inFlight) cancel();
};

// about 50 us on current processors: longer than the gaps between launches, shorter than a scheduler's slice
const spin = 2000;
/** Of the tables of launches and parts, in words of 8 bytes: what pool.ts calls fv_launch and fv_part. */
const row = { launch: 4, part: 2 } as const;
/** Work that one thread finishes before others would have joined: a few microseconds. A launch without counts is shared. */
const small = (l: Launch): boolean => l.flops + l.bytes > 0 && l.flops < 1 << 15 && l.bytes < 1 << 14;

/** As CpuOptions says. */
interface LoadOptions {
  readonly threads: number;
  readonly poison: number;
  readonly shareAll: boolean;
}

/**
 * Loads the library and lays out arena and launch table. The library's symbols are in the order of plan.kernels. The arena starts as
 * copies of the word `poison`, but for its constants.
 */
export const load = (
  plan: Plan,
  library: Pick<Library, 'symbols' | 'compiled'>,
  c: Native,
  { threads, poison, shareAll }: LoadOptions,
): CpuExecutable => {
  const parts = plan.launches.flatMap((l) => l.parts);
  const pointers = parts.reduce((n, part) => n + part.offsets.length, 0);
  // arena, tables of launches and parts, buffer pointers and times lie in one mapping, in this order
  const align = (n: number): number => Math.ceil(n / 64) * 64;
  const tableAt = align(plan.arenaBytes);
  const partsAt = align(tableAt + plan.launches.length * row.launch * 8);
  const pointersAt = align(partsAt + parts.length * row.part * 8);
  const timesAt = align(pointersAt + pointers * 8);
  const bytes = timesAt + plan.launches.length * 8 * (1 + 2 * threads) + 64;
  const base = c.map(bytes);
  if (base === 0n) throw new FoveaError('FV0202', `the system has no ${(bytes / 2 ** 30).toFixed(2)} GiB of memory for the arena`);
  const pool = c.create(threads, spin);
  if (pool === 0n) {
    c.unmap(base, bytes);
    throw new FoveaError('FV0202', 'the system has no memory for the thread pool');
  }
  const view = (offset: number, length: number): ArrayBuffer => c.view(base + BigInt(offset), length);
  const words = (at: number, n: number): BigInt64Array => new BigInt64Array(view(at, Math.max(8, n * 8)));
  const table = words(tableAt, plan.launches.length * row.launch);
  const rows = words(partsAt, parts.length * row.part);
  const buffers = words(pointersAt, pointers);
  const symbols = library.symbols.map(c.symbol);
  const address = (at: number): bigint => base + BigInt(at);
  let [part, pointer, shared] = [0, 0, 0];
  plan.launches.forEach((l, i) => {
    const first = part;
    let end = 0;
    for (const { offsets, blocks } of l.parts) {
      end += blocks;
      rows.set([address(pointersAt + pointer * 8), BigInt(end)], row.part * part++);
      for (const offset of offsets) buffers[pointer++] = address(offset);
    }
    const all = shareAll || !small(l);
    if (all && end > 1 && c.threads(pool) > 1) shared++;
    table.set([symbols[l.kernel] as bigint, BigInt(end), address(partsAt + first * row.part * 8), all ? 1n : 0n], row.launch * i);
  });

  const views = new Map<Slot, HostData>();
  const slotView = (s: Slot): HostData => {
    const known = views.get(s);
    if (known) return known;
    // the slot may be longer than its tensor: rounded up
    const elements = s.type.shape.reduce<number>((n, d) => n * Number(d), 1);
    const Host = arrays[s.type.dtype];
    const made = elements === 0 ? new Host(0) : new Host(view(s.offset, elements * new Host(0).BYTES_PER_ELEMENT));
    views.set(s, made);
    return made;
  };
  // the system gives zeros
  if (poison !== 0 && plan.arenaBytes > 0) new Uint32Array(view(0, align(plan.arenaBytes))).fill(poison);
  for (const k of plan.constants) slotView(k.slot).set(hostData(k.slot.type.dtype, k.data));

  let state: 'idle' | 'running' | 'disposed' = 'idle';
  const ready = (what: string): void => {
    if (state === 'disposed') throw new FoveaError('FV0304', `${what}: this executable was disposed`);
    if (state === 'running') wrong(`${what}: a run is in progress; await it first`);
  };
  const slot = (list: readonly Slot[], i: number, what: string): Slot => list[i] ?? wrong(`${what} ${i}: there are ${list.length}`);
  const step = async (what: string, seconds: Address, first = 0, count = plan.launches.length): Promise<void> => {
    ready(what);
    state = 'running';
    const cancel = (): void => c.cancel(pool);
    if (inFlight.size === 0) process.on('exit', endRuns);
    inFlight.add(cancel);
    try {
      await c.run(pool, address(tableAt + first * row.launch * 8), count, seconds);
    } finally {
      inFlight.delete(cancel);
      if (inFlight.size === 0) process.removeListener('exit', endRuns);
      state = 'idle';
    }
  };
  return {
    inputs: plan.inputs.map((s) => s.type),
    outputs: plan.outputs.map((s) => s.type),
    aliases: plan.aliases,
    threads: c.threads(pool),
    shared,
    compiled: library.compiled,
    write: (i, data) => {
      ready('write');
      const to = slotView(slot(plan.inputs, i, 'input'));
      const type = plan.inputs[i]?.type;
      if (data.constructor !== to.constructor)
        wrong(`input ${i} (${type?.dtype}) takes a ${to.constructor.name}, got a ${data.constructor.name}`);
      if (data.length !== to.length)
        wrong(`input ${i} has ${to.length} elements (${type?.dtype}[${type?.shape.join(' ')}]), got ${data.length}`);
      to.set(data);
    },
    run: () => step('run', 0n),
    runSome: (first, count) => step('run', 0n, first, count),
    memory: {
      address: base,
      view: (offset, bytes) => new Uint8Array(view(offset, bytes)),
    },
    profile: async () => {
      await step('profile', base + BigInt(timesAt));
      return new Float64Array(view(timesAt, Math.max(8, plan.launches.length * 8))).slice(0, plan.launches.length);
    },
    spans: () => {
      ready('spans');
      const of = 2 * c.threads(pool);
      const all = new Float64Array(view(timesAt + plan.launches.length * 8, Math.max(8, plan.launches.length * of * 8)));
      return plan.launches.map((_, i) =>
        Array.from({ length: of / 2 }, (_, t) => ({ from: all[i * of + 2 * t] as number, seconds: all[i * of + 2 * t + 1] as number })),
      );
    },
    read: (o) => {
      ready('read');
      return slotView(slot(plan.outputs, o, 'output')).slice();
    },
    dispose: () => {
      if (state === 'disposed') return;
      ready('dispose');
      state = 'disposed';
      views.clear();
      c.destroy(pool);
      c.unmap(base, bytes);
    },
  };
};
