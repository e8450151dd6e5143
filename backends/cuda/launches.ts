/**
 * The launches of a plan as calls of the driver. The parts of a launch are rows of its one parameter: where each ends, counted in blocks, and the addresses
 * of its buffers. A launch of more parts than a kernel's parameter holds is several calls.
 */
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Part, Plan } from '../../compiler/plan/types.ts';
import { addressOf } from './driver.ts';
import type { Printed } from './print.ts';
import { mostParts } from './rows.ts';

export interface LaunchCall {
  /** Of the plan. */
  readonly launch: number;
  readonly function: bigint;
  readonly blocks: number;
  readonly threads: number;
  readonly sharedBytes: number;
  /** The table of addresses of parameters: one. */
  readonly arguments: BigUint64Array;
  /** What it leads to, kept alive. */
  readonly parameter: BigUint64Array;
}

const power = (n: number): number => 2 ** Math.ceil(Math.log2(n));

/** Rows that the parameter of each kernel has: a power of two, as few as its launches need. */
export const partsOf = ({ kernels, launches }: Plan): readonly number[] =>
  kernels.map((k, i) => power(Math.max(1, ...launches.filter((l) => l.kernel === i).map((l) => Math.min(mostParts(k), l.parts.length)))));

export const launchesOf = (
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
    return {
      launch,
      function: functions[kernel] as bigint,
      blocks,
      threads: k.threads,
      sharedBytes: printed[kernel]?.sharedBytes ?? 0,
      arguments: BigUint64Array.of(addressOf(parameter)),
      parameter,
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
