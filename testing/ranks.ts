/**
 * Runs the plan of a rank for all ranks side by side: kernels by the kernel interpreter, each rank in an arena of its own that is just as large as the plan
 * says and full of NaN. Transfers are as unkind as a carrier may be: what is to be received holds rubbish from the start on, and the bytes
 * move only when they are waited for; an operand that has changed by then is a fault.
 */
import type { Collective } from '../compiler/collectives.ts';
import { combine } from '../compiler/graph/interpret-structure.ts';
import type { Tensor64 } from '../compiler/graph/tensor64.ts';
import { bytesOf, type DType, type HostData, hostArrays, isFloat } from '../compiler/graph/types.ts';
import { interpretKernel } from '../compiler/kernel/interpret.ts';
import { hostData } from '../compiler/kernel/scalar.ts';
import type { Plan, Slot } from '../compiler/plan/types.ts';
import type { Mesh } from '../compiler/shard/placement.ts';
import { membersOf, passedOn } from '../compiler/shard/ranks.ts';
import { decode, encode, hostArray } from './host.ts';

type Arena = ArrayBuffer;
const rubbish = 0x7fc0dead;

const numbers = (arena: Arena, dtype: DType, offset: number, count: number): HostData => new hostArrays[dtype](arena, offset, count);
const slotOf = (arena: Arena, { type, offset }: Slot): HostData =>
  numbers(
    arena,
    type.dtype,
    offset,
    type.shape.reduce<number>((n, d) => n * Number(d), 1),
  );

/** Elements of what a rank sends and receives, for each segment. */
const lengths = (c: Collective, ranks: number, count: number): readonly [send: number, receive: number] =>
  c.kind === 'all-gather' ? [count, ranks * count] : c.kind === 'reduce-scatter' ? [ranks * count, count] : [count, count];

/** What the rank at `place` receives of what all send. Sums of halves are rounded once. */
const received = (c: Collective, sent: readonly HostData[], place: number, count: number): HostData => {
  if (c.kind === 'all-gather') {
    const all = hostArray(c.dtype, sent.length * count);
    sent.forEach((x, i) => {
      all.set(x as never, i * count);
    });
    return all;
  }
  const from = c.kind === 'reduce-scatter' ? place * count : 0;
  const total = isFloat(c.dtype) ? new Float32Array(count) : hostArray(c.dtype, count);
  sent.forEach((x, r) => {
    const own = decode(c.dtype, x);
    for (let i = 0; i < count; i++)
      total[i] = r === 0 ? (own[from + i] as number) : combine[c.reduction](total[i] as number, own[from + i] as number);
  });
  return hostData(c.dtype, total);
};

export interface PlanRun {
  /** Of each rank, its results. */
  readonly results: readonly (readonly ArrayLike<number>[])[];
  /** Bytes that rank 0 passed on, by what it held before and after. */
  readonly sent: number;
  readonly fault?: string;
}

/** args[r]: the arguments of rank r, without the last, its number. */
export const runPlan = (plan: Plan, mesh: Mesh, args: readonly (readonly Tensor64[])[]): PlanRun => {
  const ranks = args.length;
  const arenas = args.map((own, r): Arena => {
    const arena = new ArrayBuffer(Math.ceil(plan.arenaBytes / 4) * 4);
    new Uint32Array(arena).fill(rubbish);
    for (const { slot, data } of plan.constants) slotOf(arena, slot).set(hostData(slot.type.dtype, data));
    plan.inputs.forEach((slot, i) => {
      slotOf(arena, slot).set(i === own.length ? Int32Array.of(r) : encode(own[i] as Tensor64));
    });
    return arena;
  });
  let fault: string | undefined;
  let sent = 0;
  const launch = (at: number): void => {
    const { kernel, parts } = plan.launches[at] as Plan['launches'][number];
    const k = plan.kernels[kernel] as Plan['kernels'][number];
    for (const { offsets, sizes, blocks } of parts) {
      const own = { ...k, buffers: k.buffers.map((b, i) => ({ ...b, size: sizes[i] as number })) };
      for (const arena of arenas)
        interpretKernel(
          own,
          Object.fromEntries(own.buffers.map((b, i) => [b.name, numbers(arena, b.dtype, offsets[i] as number, b.size)])),
          { blocks },
        );
    }
  };
  const begun = new Map<number, readonly (readonly HostData[])[]>();
  const start = (n: number): void => {
    const c = plan.collectives[n] as Collective;
    begun.set(
      n,
      arenas.map((arena, r) => {
        const size = membersOf(r, c.group, mesh).length;
        return c.segments.map(({ send, receive, count }) => {
          const [out, into] = lengths(c, size, count);
          const operand = numbers(arena, c.dtype, send, out).slice();
          new Uint8Array(arena, receive, into * bytesOf[c.dtype]).fill(0xee);
          return operand;
        });
      }),
    );
  };
  const wait = (n: number): void => {
    const c = plan.collectives[n] as Collective;
    const before = begun.get(n) as readonly (readonly HostData[])[];
    c.segments.forEach(({ send, receive, count }, s) => {
      const now = arenas.map((arena, r) => numbers(arena, c.dtype, send, lengths(c, membersOf(r, c.group, mesh).length, count)[0]));
      now.forEach((x, r) => {
        if (!x.every((v, i) => Object.is(v, before[r]?.[s]?.[i])))
          fault ??= `${c.kind} ${n} of ${c.scope}: what rank ${r} sends changed on the way`;
      });
      const got = arenas.map((_, r) => {
        const group = membersOf(r, c.group, mesh);
        if (r === 0) {
          const [out, into] = lengths(c, group.length, count);
          sent += passedOn(c.kind, out * bytesOf[c.dtype], into * bytesOf[c.dtype], group.length);
        }
        const place = group.indexOf(r);
        return received(
          c,
          group.map((m) => now[m] as HostData),
          place,
          count,
        );
      });
      got.forEach((x, r) => {
        numbers(arenas[r] as Arena, c.dtype, receive, x.length).set(x as never);
      });
    });
  };
  let at = 0;
  for (const { what, collective, before } of plan.events) {
    for (; at < before; at++) launch(at);
    if (what === 'start') start(collective);
    else wait(collective);
  }
  for (; at < plan.launches.length; at++) launch(at);
  const results = Array.from({ length: ranks }, (_, r) =>
    plan.outputs.map((slot) => decode(slot.type.dtype, slotOf(arenas[r] as Arena, slot))),
  );
  return { results, sent, ...(fault === undefined ? {} : { fault }) };
};
