/**
 * A program on several ranks is the program: whatever lies where, parts of results put together are what one device computes, within the bound of
 * float64 for sums in another order. Ranks run side by side in the interpreter (compiler/shard/ranks.ts), through buckets, starts and waits; the bytes
 * that they sent and the most that they held at one time are those that were counted before; a schedule that is damaged anywhere is refused.
 */
import { sizesOf, type Tensor64, tensor64 } from '../../compiler/graph/tensor64.ts';
import type { Graph, Placement, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { inline } from '../../compiler/passes/inline.ts';
import { partOf, wholeOf } from '../../compiler/shard/host.ts';
import { transfers } from '../../compiler/shard/index.ts';
import { localise } from '../../compiler/shard/localise.ts';
import { canLie, type Mesh } from '../../compiler/shard/placement.ts';
import type { ShardPlan } from '../../compiler/shard/plan.ts';
import { type Layout, propagate } from '../../compiler/shard/propagate.ts';
import { countedTraffic, interpretRanks } from '../../compiler/shard/ranks.ts';
import { verifyTerms } from '../../compiler/shard/verify-terms.ts';
import { bounded, compare } from '../bound.ts';
import type { Program } from '../program.ts';
import { exposed } from '../transforms.ts';
import { damages, misplaced, refused, refusedTerms } from './damage.ts';
import { draws } from './draws.ts';
import type { Law } from './law.ts';

/** A mesh of 1 to 8 ranks and, for every parameter and result, one of the ways in which it can lie. */
const drawn = (g: Graph, pick: (n: number) => number): { readonly mesh: Mesh; readonly layout: Layout; readonly plan: ShardPlan } => {
  const ranks = 1 + pick(8);
  const groups = [1, 2, 3, 4, 5, 6, 7, 8].filter((d) => ranks % d === 0);
  const mesh = { ranks, shard: groups[pick(groups.length)] as number };
  const full = (v: Value): boolean => v.type.shape.length > 0 && sizesOf(v.type).every((d) => d > 0);
  const input = (v: Value): Placement => {
    const way = pick(5);
    if (way < 2 && full(v)) return 'flat';
    const splits = v.type.shape.map((_, split) => ({ split })).filter((p) => canLie(v.type, p, mesh));
    return way < 4 && splits.length > 0 ? (splits[pick(splits.length)] as Placement) : 'R';
  };
  const again = pick(2) === 0;
  // in float64 no type rounds
  const as = pick(2) === 0 ? 'f32' : 'bf16';
  return {
    mesh,
    layout: {
      inputs: g.params.map(input),
      outputs: g.results.map((r) => (full(r) && pick(3) === 0 ? 'flat' : 'R')),
      inputUnits: g.params.map((_, i) => `unit${i % 2}`),
      outputUnits: g.results.map(() => 'unit2'),
      regather: () => again,
      reduceAs: () => as,
    },
    plan: { prefetch: pick(4), gatheredBytes: pick(4) === 0 ? 100 : Number.POSITIVE_INFINITY, bucketBytes: pick(4) === 0 ? 64 : 1 << 20 },
  };
};

const sharded = (p: Program, seed: number, note: (what: string, n: number) => void): string | undefined => {
  const pick = draws(seed);
  const shown = exposed(p.graph);
  const g = pick(2) === 0 ? inline(shown, 'drop', () => true, 'keep') : inline(shown);
  const { mesh, layout, plan } = drawn(g, pick);
  const placed = propagate(g, mesh, layout);
  verifyTerms(placed, mesh);
  // which checks the schedule
  const one = transfers(mesh, plan).reduce((x: Graph, [, pass]) => pass(x), localise(placed, mesh, layout.reduceAs));
  verify(one);
  const args = Array.from({ length: mesh.ranks }, (_, r) =>
    p.inputs.map((t, i): Tensor64 => {
      const type = (one.params[i] as Value).type;
      return tensor64(type, partOf(t.data, t.type, layout.inputs[i] as Placement, r, mesh));
    }),
  );
  const { results, traffic } = interpretRanks(one, mesh, args);
  const got = g.results.map((v, o) =>
    wholeOf(
      results.map((r) => (r[o] as Tensor64).data),
      v.type,
      layout.outputs[o] as Placement,
      mesh,
    ),
  );
  // sums in another order: both sides are within the bound of the exact results
  const truth = bounded(shown, p.inputs, 'f64').map(({ value, error }) => ({ value, error: error.map((e) => 4 * e) }));
  const { wrong } = compare(truth, got);
  if (wrong !== undefined) return `${mesh.ranks} ranks in groups of ${mesh.shard}: ${wrong}`;
  const counted = countedTraffic(one);
  if (counted.sent !== traffic.sent || counted.peak !== traffic.peak)
    return `${traffic.sent} bytes sent and ${traffic.peak} held at most, ${counted.sent} and ${counted.peak} were counted`;
  note('collectives', traffic.collectives);
  for (const { how, placed: bad } of misplaced(placed)) {
    note('damaged placements', 1);
    if (!refusedTerms(bad, mesh)) return `verify takes a damaged placement: ${how}`;
  }
  for (const { how, graph } of damages(one, mesh)) {
    note('damaged schedules', 1);
    if (!refused(graph, mesh, one)) return `verify takes a damaged schedule: ${how}`;
  }
  return undefined;
};

export const shardLaws: readonly Law[] = [
  {
    name: 'sharded',
    says: 'on 1 to 8 ranks, wherever its tensors lie, a program computes the same; bytes sent and held are those that were counted',
    check: (p, { seed, note }) => sharded(p, seed, (what, n) => note?.(what, n)),
  },
];
