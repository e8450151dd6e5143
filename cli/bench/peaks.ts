/**
 * What this machine can do at most, measured by kernels of our own in the run that is reported: multiply-adds, fused ones in float32 and,
 * where the machine has an instruction for them, pairs of bf16 products, and the bandwidth of a copy (bytes read and bytes written) for a
 * given amount of memory, since a copy that stays in a cache is faster than one that does not. Both are plans of one kernel, written by
 * hand, that a backend runs like any other. A large copy is made of many launches, each on a part that the caches have long lost.
 *
 * The figure is the best of many launches of a fraction of a millisecond: one that another program interrupts is no peak. Arithmetic of a
 * processor is measured on one thread and multiplied by their number, since on a shared machine all threads are seldom free at once; where
 * threads share a core that is too much. A device with blocks of several threads is measured whole. Bandwidth is shared by the cores and
 * measured on all threads.
 *
 *   const p = peaks(cpu({ threads: 2 }));
 *   await p.flops('f32')     ->  2.3e11 a second
 *   await p.copy(256e6)      ->  2.4e10 bytes a second, half of them read and half written
 */

import { bytesOf, type FloatType } from '../../compiler/graph/types.ts';
import { body } from '../../compiler/kernel/build.ts';
import * as e from '../../compiler/kernel/expr.ts';
import type { KBuffer, Kernel } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import type { Backend, Plan } from '../../index.ts';
import { launchSeconds } from './prepared.ts';

type PlanBackend = Extract<Backend, { kind: 'plan' }>;

export interface Peaks {
  /**
   * Arithmetic a second, a multiply-add counted as two: fused in float32, and of bf16 pairs by the machine's `dot2`. Operands of types
   * that the machine does not multiply are converted to float32, and its peak is theirs.
   */
  readonly flops: (dtype: FloatType) => Promise<number>;
  /** Bytes read and written a second by a copy that touches `bytes` bytes in all. */
  readonly copy: (bytes: number) => Promise<number>;
}

/**
 * A plan of one kernel over buffers that are `parts` times as long as the kernel's, launched on one part after another, at least 8 times:
 * the threads of a first launch still sleep. `work` is the arithmetic and the bytes of a launch.
 */
const repeated = (kernel: Kernel, work: { readonly flops: number; readonly bytes: number }, parts = 1): Plan => {
  const align = (n: number): number => Math.ceil(n / 4096) * 4096;
  let end = 0;
  const slots = kernel.buffers.map(({ dtype, size }) => {
    const offset = end;
    end += align(parts * size * bytesOf[dtype]);
    return { type: { dtype, shape: [parts * size] }, offset, bytes: parts * size * bytesOf[dtype] };
  });
  const launches = Array.from({ length: Math.max(8, parts) }, (_, i) => ({
    kernel: 0,
    parts: [
      {
        offsets: slots.map((s) => s.offset + ((i % parts) * s.bytes) / parts),
        sizes: kernel.buffers.map((b) => b.size),
        blocks: kernel.grid[0] * kernel.grid[1] * kernel.grid[2],
      },
    ],
    scope: '',
    phase: 'fwd' as const,
    label: kernel.name,
    reason: '',
    ...work,
  }));
  const side = (access: KBuffer['access']) => slots.filter((_, i) => kernel.buffers[i]?.access === access);
  return {
    kernels: [verifyKernel(kernel)],
    launches,
    inputs: side('read'),
    outputs: side('write'),
    aliases: side('write').map(() => -1),
    constants: [],
    arenaBytes: end,
    collectives: [],
    events: [],
    lifetimes: [],
    chosen: [],
  };
};

/** Blocks of several threads for a whole device, and one block of one thread for a processor, whose threads are seldom free at once. */
const shapeOf = ({
  target,
}: PlanBackend): { readonly threads: number; readonly blocks: number; readonly sums: number; readonly turns: number } =>
  target.maxThreads > 1
    ? { threads: Math.min(256, target.maxThreads), blocks: 16 * target.workers, sums: 8, turns: 256 }
    : { threads: 1, blocks: 1, sums: target.registers >= 32 ? 24 : 12, turns: 20_000 };

/**
 * A thread keeps enough sums in registers to hide the latency of a multiply-add on two units (4 cycles, 6 for a pair
 * of bf16) and then runs x = x * a + b, or x = x + a b of pairs, on them: no value is loaded, none can be hoisted out of the loop.
 */
const multiplyAddPlan = (backend: PlanBackend, pairs: boolean): Plan => {
  const { target } = backend;
  const lanes = target.vectorBytes / 4;
  const { threads, blocks, sums, turns } = shapeOf(backend);
  const width = pairs ? 2 * lanes : lanes;
  const [factors, out]: [KBuffer, KBuffer] = [
    { name: 'factors', dtype: pairs ? 'bf16' : 'f32', size: 2 * width, access: 'read' },
    { name: 'out', dtype: 'f32', size: blocks * threads * sums * lanes, access: 'write' },
  ];
  const k = body([factors.name, out.name]);
  const [a, b] = [k.let('a', e.load(factors, 0, width)), k.let('b', e.load(factors, width, width))];
  const x = Array.from({ length: sums }, (_, i) => k.var(`x${i}`, e.f32(i, lanes)));
  k.for('turn', 0, turns, 1, () => {
    for (const v of x) k.set(v, pairs ? e.dot2(a, b, v) : e.fma(v, a, b));
  });
  const own = k.let('own', e.mul(e.add(e.mul(e.block(0), threads), e.thread), sums * lanes));
  x.forEach((v, i) => {
    k.store(out, e.add(own, i * lanes), v);
  });
  const kernel: Kernel = {
    name: pairs ? 'peak_dot2' : 'peak_fma',
    buffers: [factors, out],
    grid: [blocks, 1, 1],
    threads,
    body: k.done(),
  };
  return repeated(kernel, { flops: blocks * threads * turns * sums * width * 2, bytes: 0 });
};

/** What a launch of the copy touches at most, in bytes: a fraction of a millisecond, which other programs leave undisturbed now and then. */
const part = 2 ** 24;

/** A copy of `elements` floats, a few vectors at a time, in as many launches as have to be made of it. */
const copyPlan = ({ target }: PlanBackend, elements: number): Plan => {
  const lanes = target.vectorBytes / 4;
  const threads = Math.min(256, target.maxThreads);
  const blocks = 8 * target.workers;
  const parts = Math.ceil((8 * elements) / part);
  /** What a block copies in one turn: neighbouring threads, neighbouring vectors. */
  const turn = 4 * lanes * threads;
  const each = Math.ceil(elements / parts / blocks / turn) * turn;
  const size = each * blocks;
  const [source, copy]: [KBuffer, KBuffer] = [
    { name: 'source', dtype: 'f32', size, access: 'read' },
    {
      name: 'goal',
      dtype: 'f32',
      size,
      access: 'write',
      ...(4 * elements >= (target.nontemporalBytes ?? Number.POSITIVE_INFINITY) ? { nontemporal: true } : {}),
    },
  ];
  const k = body([source.name, copy.name]);
  const start = k.let('start', e.mul(e.block(0), each));
  k.for('i', 0, each, turn, (i) => {
    const at = k.let('at', e.add(e.add(start, i), e.mul(e.thread, lanes)));
    for (let v = 0; v < 4; v++) k.store(copy, e.add(at, v * lanes * threads), e.load(source, e.add(at, v * lanes * threads), lanes));
  });
  const kernel: Kernel = { name: 'peak_copy', buffers: [source, copy], grid: [blocks, 1, 1], threads, body: k.done() };
  return repeated(kernel, { flops: 0, bytes: 8 * size }, parts);
};

/** Seconds to measure for, and runs at least. */
const [spent, least] = [0.3, 4];

const best = async (backend: PlanBackend, plan: Plan): Promise<number> => {
  const executable = await backend.prepare(plan);
  try {
    plan.inputs.forEach((s, i) => {
      // factors of x * 1/2 + 1/2 keep every sum near 1, bf16 products of 1/4 are far from infinity; to a copy the numbers are all the same
      executable.write(i, s.type.dtype === 'bf16' ? new Uint16Array(s.bytes / 2).fill(0x3f00) : new Float32Array(s.bytes / 4).fill(0.5));
    });
    let fastest = Number.POSITIVE_INFINITY;
    const end = performance.now() + 1e3 * spent;
    for (let run = 0; run < least || performance.now() < end; run++)
      fastest = Math.min(fastest, ...Array.from(await launchSeconds(executable)));
    const { flops, bytes } = plan.launches[0] as Plan['launches'][number];
    return (flops + bytes) / fastest;
  } finally {
    executable.dispose();
  }
};

/** Peaks of a backend with all its threads, each measured when it is first asked for; undefined where the backend has no kernels. */
export const peaks = (backend: Backend): Peaks | undefined => {
  if (backend.kind === 'graph') return undefined;
  const flops = new Map<boolean, Promise<number>>();
  const copies = new Map<number, Promise<number>>();
  return {
    flops: (dtype) => {
      const pairs = dtype === 'bf16' && backend.target.bf16Dot;
      const known = flops.get(pairs) ?? best(backend, multiplyAddPlan(backend, pairs));
      flops.set(pairs, known);
      return known.then((measured) => measured * (backend.target.maxThreads > 1 ? 1 : backend.target.workers));
    },
    copy: (bytes) => {
      // amounts within a factor of the square root of 2 share a measurement; 1 MiB to 1 GiB
      const size = 2 ** Math.min(30, Math.max(20, Math.round(Math.log2(bytes))));
      const known = copies.get(size) ?? best(backend, copyPlan(backend, size / 8));
      copies.set(size, known);
      return known;
    },
  };
};
