/**
 * The interpreter of programs for one rank: all ranks node by node, side by side, in float64. A collective takes what it says from every rank of
 * the group, so nothing can be late or lost. The truth for whoever really sends bytes.
 *
 *   two ranks   %1 = collective(%0) kind=all-reduce   on [1] and [2]   ->   [3] and [3]
 */
import { ringBytes } from '../collectives.ts';
import { apply } from '../graph/interpret.ts';
import { combine } from '../graph/interpret-structure.ts';
import { countOf, type Tensor64, tensor64 } from '../graph/tensor64.ts';
import {
  bytesOf,
  type CollectiveKind,
  type Graph,
  type GroupName,
  type Node,
  type OpOf,
  type TensorType,
  type Transfer,
  type Value,
} from '../graph/types.ts';
import type { Mesh } from './placement.ts';

/** The ranks of the group of `rank`, in the order of their places. */
export const membersOf = (rank: number, group: GroupName, { ranks, shard }: Mesh): readonly number[] => {
  const all = Array.from({ length: ranks }, (_, i) => i);
  if (group === 'world') return all;
  return all.filter((r) => (group === 'shard' ? Math.floor(r / shard) === Math.floor(rank / shard) : r % shard === rank % shard));
};

/** What the rank at `place` of a group gets, of what its members send. */
const exchanged = (t: Transfer, sent: readonly Tensor64[], place: number, out: TensorType): Tensor64 => {
  const [first] = sent as readonly [Tensor64];
  if (t.kind === 'all-gather')
    return tensor64(
      out,
      sent.flatMap((x) => [...x.data]),
    );
  const n = countOf(out);
  const from = t.kind === 'reduce-scatter' ? place * n : 0;
  const total = Array.from({ length: n }, (_, i) => first.data[from + i] as number);
  for (const x of sent.slice(1))
    for (let i = 0; i < n; i++) total[i] = combine[t.reduction](total[i] as number, x.data[from + i] as number);
  return tensor64(out, total);
};

/** What happened on the way, by count. */
export interface Traffic {
  /** Bytes that a rank sends at least, by a ring: what travels through it once. */
  readonly sent: number;
  readonly collectives: number;
  /** Most bytes of values alive at once, parameters and results included. */
  readonly peak: number;
}

/** Bytes that each rank of a group sends for one operand. */
export const sentBytes = ({ kind, ranks }: Transfer, { dtype, shape }: TensorType): number =>
  ringBytes(kind, ranks, countOf({ dtype, shape }) * bytesOf[dtype]);

/**
 * Bytes that a rank passes on, by what it held before and holds after: of a gather what it got, of a scatter what it gave away. Whoever runs a program
 * counts so, and a count on paper has to agree.
 */
export const passedOn = (kind: CollectiveKind, before: number, after: number, members: number): number =>
  kind === 'all-reduce' ? (2 * (members - 1) * before) / members : Math.abs(after - before);

/** For each node the values that nobody needs after it. */
export const deaths = (g: Graph): readonly (readonly Value[])[] => {
  const kept = new Set<Value>([...g.results, ...g.params]);
  const dead: Value[][] = [];
  for (let i = g.nodes.length - 1; i >= 0; i--) {
    const n = g.nodes[i] as Node;
    const here = [...new Set([...n.outputs, ...n.inputs])].filter((v) => !kept.has(v));
    for (const v of here) kept.add(v);
    dead[i] = here;
  }
  return dead;
};

/** The traffic of a program, from its text: types alone, no numbers. */
export const countedTraffic = (g: Graph): Traffic => {
  const bytes = (vs: readonly Value[]): number => vs.reduce((n, v) => n + countOf(v.type) * bytesOf[v.type.dtype], 0);
  let [sent, collectives, peak, alive] = [0, 0, 0, bytes(g.params)];
  const dead = deaths(g);
  g.nodes.forEach((n, i) => {
    if (n.op.prim === 'collective' || n.op.prim === 'start') {
      collectives++;
      for (const v of n.inputs) sent += sentBytes(n.op, v.type);
    }
    alive += bytes(n.outputs);
    if (n.op.prim !== 'wait') peak = Math.max(peak, alive);
    alive -= bytes(dead[i] as readonly Value[]);
  });
  return { sent, collectives, peak };
};

/**
 * Runs the program on every rank; args[r] are the arguments of rank r, without the last parameter, its number. `stored`: what is kept of a result, where
 * types are to round.
 */
export const interpretRanks = (
  g: Graph,
  mesh: Mesh,
  args: readonly (readonly Tensor64[])[],
  stored: (t: Tensor64) => Tensor64 = (t) => t,
): { readonly results: readonly (readonly Tensor64[])[]; readonly traffic: Traffic } => {
  const envs = args.map((own, r) => {
    const all = [...own, tensor64({ dtype: 'i32', shape: [] }, [r])];
    if (all.length !== g.params.length) throw new Error(`internal: ${own.length} arguments for ${g.params.length - 1} parameters`);
    return new Map<Value, Tensor64>(g.params.map((p, i) => [p, all[i] as Tensor64]));
  });
  const get = (r: number, v: Value): Tensor64 => envs[r]?.get(v) as Tensor64;
  let [sent, collectives, peak] = [0, 0, 0];
  const bytes = (t: Tensor64): number => t.data.length * bytesOf[t.type.dtype];
  let alive = [...(envs[0]?.values() ?? [])].reduce((n, t) => n + bytes(t), 0);
  const dead = deaths(g);
  const together = (n: Node, op: OpOf<'collective'> | OpOf<'start'>): void => {
    collectives++;
    envs.forEach((env, r) => {
      const group = membersOf(r, op.group, mesh);
      if (group.length !== op.ranks) throw new Error(`internal: a group ${op.group} of ${op.ranks} ranks, not ${group.length}`);
      n.outputs.forEach((o, i) => {
        const from = group.map((m) => get(m, n.inputs[i] as Value));
        env.set(o, stored(exchanged(op, from, group.indexOf(r), o.type)));
        if (r === 0) sent += passedOn(op.kind, bytes(from[group.indexOf(0)] as Tensor64), bytes(get(0, o)), group.length);
      });
    });
  };
  g.nodes.forEach((n, k) => {
    if (n.op.prim === 'collective' || n.op.prim === 'start') together(n, n.op);
    else
      envs.forEach((env, r) => {
        const outs = apply(
          n.op,
          n.inputs.map((v) => get(r, v)),
          n.outputs.map((o) => o.type),
        );
        n.outputs.forEach((o, i) => env.set(o, stored(outs[i] as Tensor64)));
      });
    alive += n.outputs.reduce((s, o) => s + bytes(get(0, o)), 0);
    // what arrives lies where it was received: under its other name it dies here
    if (n.op.prim !== 'wait') peak = Math.max(peak, alive);
    for (const v of dead[k] as readonly Value[]) {
      alive -= bytes(get(0, v));
      for (const env of envs) env.delete(v);
    }
  });
  return { results: envs.map((_, r) => g.results.map((v) => get(r, v))), traffic: { sent, collectives, peak } };
};
