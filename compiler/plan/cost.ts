/**
 * What a step of one rank costs, on paper: bytes it sends, bytes it holds, and how much of the sending hides behind arithmetic. Launches take the
 * time of the slower of their two counts, transfers that of their bytes over the link and a latency; one transfer travels at a time.
 *
 *   { flops: 400e12, memory: 3e12, link: 50e9, latency: 20e-6 }      operations and bytes a second, seconds a transfer
 */
import { type Collective, ringBytes } from '../collectives.ts';
import { bytesOf } from '../graph/types.ts';
import type { Plan } from './types.ts';

export interface Machine {
  readonly flops: number;
  readonly memory: number;
  readonly link: number;
  readonly latency: number;
}

/** Ranks of each group. */
export type GroupSizes = { readonly [G in Collective['group']]: number };

const sentBy = (c: Collective, sizes: GroupSizes): number => {
  const n = sizes[c.group];
  const count = c.segments.reduce((s, x) => s + x.count, 0);
  return ringBytes(c.kind, n, (c.kind === 'reduce-scatter' ? n : 1) * count * bytesOf[c.dtype]);
};

/** Something that takes time; seconds from the start of the step. */
export interface Span {
  readonly row: 'compute' | 'transfer' | 'stalled';
  readonly name: string;
  /** Of the launch, or of the collective. */
  readonly number: number;
  readonly from: number;
  readonly to: number;
}

export interface StepCost {
  readonly sent: { readonly [K in Collective['kind']]: number };
  /** Of each collective. */
  readonly sentBy: readonly number[];
  readonly transfers: number;
  /** Bytes of the arena. */
  readonly peak: number;
  readonly seconds: { readonly compute: number; readonly transfer: number; readonly stalled: number; readonly step: number };
  readonly spans: readonly Span[];
}

/** The name of what a collective moves: its unit's scope, without the parts below a block. */
const nameOf = (c: Collective): string => `${c.kind} ${c.scope}`;

export const stepCost = (plan: Plan, sizes: GroupSizes, m: Machine): StepCost => {
  const sent: { [K in Collective['kind']]: number } = { 'all-gather': 0, 'reduce-scatter': 0, 'all-reduce': 0 };
  const spans: Span[] = [];
  const ends = new Map<number, number>();
  let [now, free, at, compute, transfer, stalled] = [0, 0, 0, 0, 0, 0];
  const upTo = (end: number): void => {
    for (; at < end; at++) {
      const l = plan.launches[at];
      if (!l) break;
      const seconds = Math.max(l.flops / m.flops, l.bytes / m.memory);
      spans.push({ row: 'compute', name: `${l.phase} ${l.scope}`, number: at, from: now, to: now + seconds });
      now += seconds;
      compute += seconds;
    }
  };
  for (const { what, collective, before } of plan.events) {
    upTo(before);
    const c = plan.collectives[collective] as Collective;
    if (what === 'start') {
      const bytes = sentBy(c, sizes);
      sent[c.kind] += bytes;
      const seconds = m.latency + bytes / m.link;
      const from = Math.max(now, free);
      free = from + seconds;
      ends.set(collective, free);
      transfer += seconds;
      spans.push({ row: 'transfer', name: nameOf(c), number: collective, from, to: free });
    } else {
      const arrives = ends.get(collective) ?? now;
      if (arrives > now) {
        spans.push({ row: 'stalled', name: nameOf(c), number: collective, from: now, to: arrives });
        stalled += arrives - now;
        now = arrives;
      }
    }
  }
  upTo(plan.launches.length);
  const own = plan.collectives.map((c) => sentBy(c, sizes));
  return {
    sent,
    sentBy: own,
    transfers: plan.collectives.length,
    peak: plan.arenaBytes,
    seconds: { compute, transfer, stalled, step: now },
    spans,
  };
};
