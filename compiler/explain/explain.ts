/**
 * From source to kernels, and back: one program compiled with everything that compiling usually forgets kept. Which groups became which
 * launch, which places of the user's text each group comes from, why it ends where it ends, what it must cost by the machine's two
 * limits, and who holds the memory while it runs. Pure data: cli/explain shows it as text and as a page.
 *
 *   const e = explain(graph, { target: cpuTarget(2), dims, donated });
 *   e.launches[7]   { label: 'reduce: ...', reason: 'read by a contraction', places: [model.ts:12:15, ...], seconds: 1.2e-5, bound: 'memory' }
 */
import { type Pass, type Precision, passesFor, passesOnRanks, type Shards } from '../compile.ts';
import type { Loc } from '../error.ts';
import { bindGraph } from '../graph/bind.ts';
import type { Graph, Node, Phase, Value } from '../graph/types.ts';
import { verify } from '../graph/verify.ts';
import { type Planned, planned } from '../plan/build.ts';
import type { Launch } from '../plan/types.ts';
import type { Mesh } from '../shard/placement.ts';
import { placingOf } from '../shard/plan.ts';
import type { Schedules, Target } from '../target.ts';
import type { Group, Template } from '../tile/group.ts';
import { flopsOf, type Lowered } from '../tile/lower.ts';
import { nearMisses } from '../transform/recognise.ts';

export interface ExplainedLaunch {
  readonly number: number;
  readonly kernel: number;
  readonly template: Template | 'copy';
  readonly label: string;
  readonly reason: string;
  readonly scope: string;
  readonly phase: Phase;
  /** Numbers of the groups that it computes; one, unless equal steps were joined. */
  readonly groups: readonly number[];
  /** Places in the user's text, the one with most of its arithmetic first. */
  readonly places: readonly Loc[];
  /** Launches whose results it reads. */
  readonly reads: readonly number[];
  readonly flops: number;
  readonly bytes: number;
  /** By the roofline of the target: no run can be faster by its peaks. */
  readonly seconds: number;
  readonly bound: 'arithmetic' | 'memory';
  /** The record of its schedule, where its template had a choice. */
  readonly schedule?: string;
  readonly key?: string;
}

export interface Explanation extends Planned {
  /** As traced, sizes bound. */
  readonly traced: Graph;
  /** As lowered. */
  readonly graph: Graph;
  /** Nodes after each pass. */
  readonly passes: readonly { readonly name: string; readonly nodes: number }[];
  readonly launches: readonly ExplainedLaunch[];
  /** Contractions around a softmax that stayed what they were, and why. */
  readonly misses: readonly { readonly loc: Loc | undefined; readonly scope: string; readonly why: string }[];
  /** Bytes that values hold during each launch. */
  readonly held: readonly number[];
  /** Of a program of one of several ranks. */
  readonly mesh?: Mesh;
}

export interface ExplainOptions {
  readonly target: Target;
  readonly dims?: ReadonlyMap<string, number>;
  readonly donated?: readonly number[];
  readonly precision?: Precision;
  readonly schedules?: Schedules;
  /** The program of one of several ranks. */
  readonly shards?: Shards;
}

/** What stands in the regions of nodes, at any depth. */
export const nodesInside = (nodes: readonly Node[]): readonly Node[] =>
  nodes.flatMap((n) => ('body' in n.op ? [...n.op.body.nodes, ...nodesInside(n.op.body.nodes)] : []));

/** Distinct places of nodes, the one with most arithmetic first; those of regions after them, for a call stands for the arithmetic in it. */
const placesOf = (nodes: readonly Node[]): readonly Loc[] => {
  const count = new Map<string, { readonly loc: Loc; n: number }>();
  const add = ({ meta: { loc } }: Node, n: number): void => {
    if (!loc) return;
    const key = `${loc.file}:${loc.line}:${loc.col}`;
    const known = count.get(key);
    if (known) known.n += n;
    else count.set(key, { loc, n });
  };
  for (const n of nodes) add(n, 1 + flopsOf(n));
  for (const n of nodesInside(nodes)) add(n, 0);
  return [...count.values()].sort((a, b) => b.n - a.n).map(({ loc }) => loc);
};

/** Seconds by the roofline, and which of its two lines is the limit. */
export const roofline = (
  { flops, bytes }: Pick<Launch, 'flops' | 'bytes'>,
  peak: Target['peak'],
): { readonly seconds: number; readonly bound: 'arithmetic' | 'memory' } => {
  const [arithmetic, memory] = [flops / peak.flops, bytes / peak.bytes];
  return arithmetic > memory ? { seconds: arithmetic, bound: 'arithmetic' } : { seconds: memory, bound: 'memory' };
};

const launchesOf = ({ plan, groups, lowered, origins }: Planned, target: Target): readonly ExplainedLaunch[] => {
  const maker = new Map<Value, number>();
  origins.forEach((own, i) => {
    for (const g of own) for (const v of (groups[g] as Group).outputs) maker.set(v, i);
  });
  return plan.launches.map((l, i): ExplainedLaunch => {
    const own = origins[i] ?? [];
    const first = lowered[own[0] ?? -1] as Lowered | undefined;
    const inputs = own.flatMap((g) => (groups[g] as Group).inputs);
    const reads = [...new Set(inputs.map((v) => maker.get(v)))].filter((k) => k !== undefined && k !== i) as number[];
    return {
      number: i,
      kernel: l.kernel,
      template: groups[own[0] ?? -1]?.template ?? 'copy',
      label: l.label,
      reason: l.reason,
      scope: l.scope,
      phase: l.phase,
      groups: own,
      places: placesOf(own.flatMap((g) => (groups[g] as Group).nodes)),
      reads: reads.sort((a, b) => a - b),
      flops: l.flops,
      bytes: l.bytes,
      ...roofline(l, target.peak),
      ...(first?.choice ? { key: first.choice.key, schedule: JSON.stringify(first.choice.schedule) } : {}),
    };
  });
};

/** Compiles a traced graph for a target and keeps what it became. Throws what compiling throws. */
export const explain = (
  graph: Graph,
  { target, dims = new Map(), donated = graph.results.map(() => -1), precision = 'f32', schedules, shards }: ExplainOptions,
): Explanation => {
  const traced = bindGraph(graph, dims);
  verify(traced);
  const passes: { name: string; nodes: number }[] = [];
  const run = (g: Graph, [name, pass]: readonly [string, Pass]): Graph => {
    const out = pass(g);
    passes.push({ name, nodes: out.nodes.length });
    return out;
  };
  const placing = shards && placingOf(traced, donated, shards.ranks, shards.plan);
  const final = (placing ? passesOnRanks(precision, placing, shards.plan) : passesFor(precision)).reduce(run, traced);
  verify(final);
  const made = planned(final, target, { donated, maxBytes: Number.POSITIVE_INFINITY, schedules });
  const held = new Float64Array(made.plan.launches.length);
  for (const { slot, first, last } of made.plan.lifetimes)
    for (let i = Math.max(0, first); i <= Math.min(last, held.length - 1); i++) held[i] = (held[i] as number) + slot.bytes;
  return {
    ...made,
    traced,
    graph: final,
    passes,
    launches: launchesOf(made, target),
    misses: nearMisses(traced).map(({ node: { meta }, why }) => ({ loc: meta.loc, scope: meta.scope, why })),
    held: Array.from(held),
    ...(placing ? { mesh: placing.mesh } : {}),
  };
};
