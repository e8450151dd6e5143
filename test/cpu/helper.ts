/** Runs one kernel through the C backend, on a plan made by hand: each buffer has a slot of its own. */
import { cpu } from '../../backends/cpu/index.ts';
import type { DType, HostData } from '../../compiler/graph/types.ts';
import type { KBuffer, Kernel } from '../../compiler/kernel/types.ts';
import type { Part, Plan, Slot } from '../../compiler/plan/types.ts';
import type { Backend } from '../../compiler/target.ts';

const bytes: { readonly [T in DType]: number } = { f32: 4, i32: 4, u32: 4, f16: 2, bf16: 2, bool: 1 };

export const hostArray = (dtype: DType, size: number): HostData =>
  dtype === 'f32'
    ? new Float32Array(size)
    : dtype === 'i32'
      ? new Int32Array(size)
      : dtype === 'u32'
        ? new Uint32Array(size)
        : dtype === 'bool'
          ? new Uint8Array(size)
          : new Uint16Array(size);

/** All blocks of a kernel, on its own buffers. */
const whole = ({ grid: [x, y, z], buffers }: Kernel, offset: (b: KBuffer) => number): Part => ({
  offsets: buffers.map(offset),
  sizes: buffers.map((b) => b.size),
  blocks: x * y * z,
});

/** Launches `kernels` in order; equal buffer names are one slot. Read buffers are inputs, all others outputs. */
export const planOf = (
  kernels: readonly Kernel[],
  launches: readonly number[] = kernels.map((_, i) => i),
): Plan & { readonly names: readonly string[] } => {
  const slots = new Map<string, Slot & { access: KBuffer['access'] }>();
  let at = 0;
  for (const b of kernels.flatMap((k) => k.buffers)) {
    const old = slots.get(b.name);
    if (old) {
      if (b.access !== 'read') slots.set(b.name, { ...old, access: b.access });
      continue;
    }
    slots.set(b.name, { type: { dtype: b.dtype, shape: [b.size] }, offset: at, bytes: b.size * bytes[b.dtype], access: b.access });
    at += Math.ceil((b.size * bytes[b.dtype]) / 64) * 64;
  }
  const all = [...slots];
  const outputs = all.filter(([, s]) => s.access !== 'read');
  return {
    kernels,
    launches: launches.map((k) => ({
      kernel: k,
      parts: [whole(kernels[k] as Kernel, (b) => (slots.get(b.name) as Slot).offset)],
      ...{ scope: '', phase: 'fwd', label: '', reason: '', flops: 0, bytes: 0 },
    })),
    inputs: all.map(([, s]) => s),
    outputs: outputs.map(([, s]) => s),
    aliases: outputs.map(() => -1),
    constants: [],
    arenaBytes: at,
    collectives: [],
    events: [],
    lifetimes: [],
    chosen: [],
    names: outputs.map(([n]) => n),
  };
};

/** Contents of every buffer that the kernels write, after one run on a backend. `data` gives initial contents by name. */
export const runOn = async (
  backend: Backend & { readonly kind: 'plan' },
  kernels: readonly Kernel[],
  data: Readonly<Record<string, HostData>>,
): Promise<Record<string, HostData>> => {
  const plan = planOf(kernels);
  const exe = await backend.prepare(plan);
  try {
    const names = [...new Set(kernels.flatMap((k) => k.buffers.map((b) => b.name)))];
    names.forEach((n, i) => {
      if (data[n]) exe.write(i, data[n]);
    });
    await exe.run();
    const out: Record<string, HostData> = {};
    for (const [o, n] of plan.names.entries()) out[n] = await exe.read(o);
    return out;
  } finally {
    exe.dispose();
  }
};

/** As runOn, in C. */
export const runC = (kernels: readonly Kernel[], data: Readonly<Record<string, HostData>>): Promise<Record<string, HostData>> =>
  runOn(cpu({ threads: 2 }), kernels, data);
