/**
 * Kernels that should make the same, on one arena: each is launched on the same inputs and the same place for its results. A small
 * kernel is launched several times a run, so that what starts a run does not count.
 *
 *   launches  s0 s0 s0 s0  s1 s1 s1 s1  s2 ..      seconds(1) = time of launches 4 .. 7, over 4
 *
 * On one thread time is that of the processor: what other programs take away is not in it.
 */
import { bytesOf, type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { bitsOf, toBf16, toF16 } from '../../compiler/kernel/scalar.ts';
import type { KBuffer, Kernel } from '../../compiler/kernel/types.ts';
import type { Plan, Slot } from '../../compiler/plan/types.ts';
import type { Race, Target } from '../../compiler/target.ts';
import type { CpuExecutable } from './runtime.ts';

/** A run lasts about this long. */
const seconds = 2e-3;
const mostRepeats = 64;

/** Numbers between -1 and 1 with many different mantissas; 0 and 1 for whole ones, which may be positions. */
const madeUp = ({ dtype, size }: KBuffer, salt: number): HostData => {
  const out = new hostArrays[dtype](size);
  const bits =
    dtype === 'bf16' ? (x: number) => bitsOf(toBf16(x), dtype) : dtype === 'f16' ? (x: number) => bitsOf(toF16(x), dtype) : undefined;
  const whole = dtype === 'i32' || dtype === 'u32' || dtype === 'bool';
  for (let i = 0; i < size; i++) {
    const word = (Math.imul(i + 1, 0x9e3779b1) + Math.imul(salt + 1, 0x85ebca6b)) >>> 0;
    const x = Math.fround((word >>> 8) / 2 ** 23 - 1);
    out[i] = whole ? word & 1 : bits ? bits(x) : x;
  }
  return out;
};

/** One launch of each kernel, `repeats` times, on buffers that all of them share and that can be written from outside. */
const planOf = (kernels: readonly Kernel[], repeats: number, alignment: number): Plan => {
  const { buffers } = kernels[0] as Kernel;
  let at = 0;
  const slots = buffers.map(({ dtype, size }): Slot => {
    const [offset, bytes] = [at, size * bytesOf[dtype]];
    at += Math.ceil(bytes / alignment) * alignment;
    return { type: { dtype, shape: [size] }, offset, bytes };
  });
  const outputs = slots.filter((_, i) => buffers[i]?.access !== 'read');
  return {
    kernels,
    launches: kernels.flatMap(({ grid: [x, y, z] }, kernel) =>
      Array.from({ length: repeats }, () => ({
        kernel,
        parts: [{ offsets: slots.map((s) => s.offset), sizes: buffers.map((b) => b.size), blocks: x * y * z }],
        ...({ scope: '', phase: 'fwd', label: '', reason: '', flops: 0, bytes: 0 } as const),
      })),
    ),
    inputs: slots,
    outputs,
    aliases: outputs.map(() => -1),
    constants: [],
    arenaBytes: at,
    collectives: [],
    events: [],
    lifetimes: [],
    chosen: [],
  };
};

/** Throws FV0202 where the buffers do not fit in memory, FV0302 where a kernel does not compile. */
export const raceOf = async (
  prepare: (plan: Plan) => Promise<CpuExecutable>,
  target: Target,
  kernels: readonly Kernel[],
  flops: number,
): Promise<Race> => {
  const repeats = Math.max(1, Math.min(mostRepeats, Math.round((seconds * target.peak.flops) / Math.max(1, flops))));
  const plan = planOf(kernels, repeats, target.alignment);
  const exe = await prepare(plan);
  const { buffers } = kernels[0] as Kernel;
  buffers.forEach((b, i) => {
    if (b.access !== 'write') exe.write(i, madeUp(b, i));
  });
  const written = buffers.flatMap((b, i) => (b.access === 'write' ? [[b, i] as const] : []));
  return {
    results: async (i) => {
      // what nobody writes differs from one kernel to the next
      for (const [{ dtype, size }, at] of written) exe.write(at, new hostArrays[dtype](size).fill(i + 1));
      await exe.runSome(i * repeats, 1);
      return plan.outputs.map((_, o) => exe.read(o));
    },
    seconds: async (i) => {
      const [wall, before] = [performance.now(), process.cpuUsage()];
      await exe.runSome(i * repeats, repeats);
      const { user, system } = process.cpuUsage(before);
      return (target.workers === 1 ? (user + system) / 1e6 : (performance.now() - wall) / 1e3) / repeats;
    },
    dispose: () => exe.dispose(),
  };
};
