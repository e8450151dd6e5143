/**
 * A program on several ranks is the program: whatever lies where, parts of results put together are what one device computes, within the bound of
 * float64 for sums in another order. Ranks run side by side in the interpreter (compiler/shard/ranks.ts), through buckets, starts and waits; the bytes
 * that they sent and the most that they held at one time are those that were counted before; a damaged schedule is refused.
 */
import { FoveaError } from '../../compiler/error.ts';
import { sizesOf, type Tensor64, tensor64 } from '../../compiler/graph/tensor64.ts';
import type { Graph, Node, Placement, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { inline } from '../../compiler/passes/inline.ts';
import { partOf, wholeOf } from '../../compiler/shard/host.ts';
import { transfers } from '../../compiler/shard/index.ts';
import { localise } from '../../compiler/shard/localise.ts';
import { canLie, type Mesh } from '../../compiler/shard/placement.ts';
import type { ShardPlan } from '../../compiler/shard/plan.ts';
import { type Layout, propagate } from '../../compiler/shard/propagate.ts';
import { countedTraffic, interpretRanks } from '../../compiler/shard/ranks.ts';
import { verifyResults, verifySchedule } from '../../compiler/shard/verify.ts';
import { bounded, compare } from '../bound.ts';
import type { Program } from '../program.ts';
import { exposed } from '../transforms.ts';
import type { Law } from './law.ts';

/** Numbers below n, one after the other. */
const draws = (seed: number): ((n: number) => number) => {
  let x = (seed * 2654435761 + 12345) >>> 0;
  return (n) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor((x / 2 ** 32) * n);
  };
};

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
  return {
    mesh,
    layout: {
      inputs: g.params.map(input),
      outputs: g.results.map((r) => (full(r) && pick(3) === 0 ? 'flat' : 'R')),
      inputUnits: g.params.map((_, i) => `unit${i % 2}`),
      outputUnits: g.results.map(() => 'unit2'),
      regather: () => again,
    },
    plan: { prefetch: pick(4), gatheredBytes: pick(4) === 0 ? 100 : Number.POSITIVE_INFINITY, bucketBytes: pick(4) === 0 ? 64 : 1 << 20 },
  };
};

/** A schedule with one node damaged: left out, or with its values in another order, or twice. */
const damaged = (g: Graph, pick: (n: number) => number): { readonly graph: Graph; readonly how: string } | undefined => {
  const at = g.nodes.flatMap((n, i) => (n.op.prim === 'start' || n.op.prim === 'wait' ? [i] : []));
  if (at.length === 0) return undefined;
  const i = at[pick(at.length)] as number;
  const n = g.nodes[i] as Node;
  const others = (f: (m: Node) => readonly Node[]): Graph => ({ ...g, nodes: g.nodes.flatMap((m, k) => (k === i ? f(m) : [m])) });
  if (n.op.prim === 'start') {
    const { op } = n;
    return { graph: others((m) => [{ ...m, op: { ...op, ranks: op.ranks + 1 } }]), how: 'a start among other ranks' };
  }
  const half = n.inputs.length / 2;
  if (pick(2) === 0) {
    // what is under way taken for what has arrived
    const early = new Map(n.outputs.map((o, k) => [o, n.inputs[k] as Value]));
    const swap = (v: Value): Value => early.get(v) ?? v;
    const nodes = g.nodes.flatMap((m, k) => (k === i ? [] : [{ ...m, inputs: m.inputs.map(swap) }]));
    return { graph: { ...g, nodes, results: g.results.map(swap) }, how: 'a wait left out' };
  }
  const turned = [...n.inputs.slice(half), ...n.inputs.slice(0, half)];
  return { graph: others((m) => [{ ...m, inputs: turned }]), how: 'a wait for what was sent' };
};

const noticed = (g: Graph, mesh: Mesh): boolean => {
  try {
    verifySchedule(g, mesh);
    return false;
  } catch (e) {
    if (e instanceof FoveaError) return true;
    throw e;
  }
};

const sharded = (p: Program, seed: number, note: (what: string, n: number) => void): string | undefined => {
  const pick = draws(seed);
  const shown = exposed(p.graph);
  const g = pick(2) === 0 ? inline(shown, 'drop', () => true, 'keep') : inline(shown);
  const { mesh, layout, plan } = drawn(g, pick);
  const placed = propagate(g, mesh, layout);
  verifyResults(placed.graph, placed.placement);
  const one = transfers(plan).reduce((x: Graph, [, pass]) => pass(x), localise(placed, mesh));
  verify(one);
  verifySchedule(one, mesh);
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
  const broken = damaged(one, pick);
  if (!broken) return undefined;
  note('damaged schedules', 1);
  return noticed(broken.graph, mesh) ? undefined : `verify takes a damaged schedule: ${broken.how}`;
};

export const shardLaws: readonly Law[] = [
  {
    name: 'sharded',
    says: 'on 1 to 8 ranks, wherever its tensors lie, a program computes the same; bytes sent and held are those that were counted',
    check: (p, { seed, note }) => sharded(p, seed, (what, n) => note?.(what, n)),
  },
];
