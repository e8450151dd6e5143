/**
 * The launches of a plan as calls of the driver. The parts of a launch are rows of a parameter: where each ends, counted in blocks, and the addresses
 * of its buffers. Of kernels that fetch, a second one has the tensors of each part, as the driver describes them. A launch of more parts than the
 * parameters hold is several calls.
 */
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Part, Plan } from '../../compiler/plan/types.ts';
import { addressOf, type Driver } from './driver.ts';
import type { Printed } from './print.ts';
import { mostParts, type TensorMap, tensorBytes, tensorsOf } from './rows.ts';

export interface LaunchCall {
  /** Of the plan. */
  readonly launch: number;
  readonly function: bigint;
  readonly blocks: number;
  readonly threads: number;
  readonly sharedBytes: number;
  /** The table of addresses of parameters. */
  readonly arguments: BigUint64Array;
  /** What it leads to, kept alive. */
  readonly parameters: readonly ArrayBufferView[];
}

const power = (n: number): number => 2 ** Math.ceil(Math.log2(n));

/** Rows that the parameter of each kernel has: a power of two, as few as its launches need. */
export const partsOf = ({ kernels, launches }: Plan): readonly number[] =>
  kernels.map((k, i) => power(Math.max(1, ...launches.filter((l) => l.kernel === i).map((l) => Math.min(mostParts(k), l.parts.length)))));

/** Memory of this side at a multiple of 64 bytes. */
const aligned = (bytes: number): Uint8Array => {
  const all = new Uint8Array(bytes + 64);
  return all.subarray(Number(-addressOf(all) & 63n)).subarray(0, bytes);
};
const types = { f16: 6, bf16: 9 } as const;
/** Lines are turned by 128 bytes; what lies outside is 0; lines of the second cache are 256 bytes. */
const mode = { interleave: 0, swizzle: 3, promotion: 3, fill: 0 } as const;

/** Describes a tensor at an address. */
const encode = (cu: Driver, s: TensorMap, type: number, at: bigint, to: bigint): void => {
  const { interleave, swizzle, promotion, fill } = mode;
  const sizes = BigUint64Array.from(s.sizes, BigInt);
  const strides = BigUint64Array.from(s.strides.slice(1), (n) => BigInt(2 * n));
  const [box, steps] = [Uint32Array.from(s.box), new Uint32Array(s.box.length).fill(1)];
  cu.cuTensorMapEncodeTiled(
    to,
    type,
    s.box.length,
    at + BigInt(2 * s.base),
    sizes,
    strides,
    box,
    steps,
    interleave,
    swizzle,
    promotion,
    fill,
  );
};

export const launchesOf = (
  cu: Driver,
  plan: Plan,
  printed: readonly Pick<Printed, 'sharedBytes'>[],
  functions: readonly bigint[],
  arena: bigint,
): readonly LaunchCall[] => {
  const rows = partsOf(plan);
  const called = (launch: number, kernel: number, parts: readonly Part[]): LaunchCall => {
    const k = plan.kernels[kernel] as Kernel;
    const parameter = new BigUint64Array((rows[kernel] as number) * (1 + k.buffers.length));
    let blocks = 0;
    for (let r = 0; r < (rows[kernel] as number); r++) {
      const part = parts[r];
      blocks += part?.blocks ?? 0;
      parameter.set([BigInt(blocks), ...(part?.offsets ?? []).map((o) => arena + BigInt(o))], r * (1 + k.buffers.length));
    }
    const parameters: ArrayBufferView[] = [parameter];
    const tensors = tensorsOf(k);
    if (tensors.length > 0) {
      const all = aligned(tensorBytes * tensors.length * (rows[kernel] as number));
      parts.forEach(({ offsets }, r) => {
        tensors.forEach((s, i) => {
          const b = k.buffers.findIndex((b) => b.name === s.from);
          const type = types[k.buffers[b]?.dtype as keyof typeof types];
          encode(cu, s, type, arena + BigInt(offsets[b] as number), addressOf(all) + BigInt(tensorBytes * (r * tensors.length + i)));
        });
      });
      parameters.push(all);
    }
    return {
      launch,
      function: functions[kernel] as bigint,
      blocks,
      threads: k.threads,
      sharedBytes: printed[kernel]?.sharedBytes ?? 0,
      arguments: BigUint64Array.from(parameters, addressOf),
      parameters,
    };
  };
  return plan.launches
    .flatMap(({ kernel, parts }, i) => {
      const some = parts.filter((p) => p.blocks > 0);
      const most = rows[kernel] as number;
      return Array.from({ length: Math.ceil(some.length / most) }, (_, n) => called(i, kernel, some.slice(n * most, (n + 1) * most)));
    })
    .filter((c) => c.blocks > 0);
};
