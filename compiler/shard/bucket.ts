/**
 * Collectives of one unit, phase, kind and type become one of several tensors, in the order of the graph, as far as none needs another one. Nothing
 * is copied together: the pieces of a unit lie side by side in the arena, and a bucket is a list of places.
 *
 *   %5 = collective(%0) unit=b.3    %6 = collective(%1) unit=b.3        ->        %5, %6 = collective(%0, %1) unit=b.3
 *
 * A gather stands where its first tensor is read; a reduction where its last tensor is made, so that it may travel while the rest is computed.
 */
import { builder } from '../graph/builder.ts';
import { countOf } from '../graph/tensor64.ts';
import { bytesOf, type Graph, type Node, type OpOf, type Value } from '../graph/types.ts';
import { views } from './views.ts';

type Collective = Node & { readonly op: OpOf<'collective'> };
const isCollective = (n: Node): n is Collective => n.op.prim === 'collective';
const bytesAt = (vs: readonly Value[]): number => vs.reduce((s, v) => s + countOf(v.type) * bytesOf[v.type.dtype], 0);

/** For each node, the number of collectives on the longest way to it: those of equal depth do not need each other, whatever is merged. */
const depths = (g: Graph): readonly number[] => {
  const of = new Map<Value, number>();
  return g.nodes.map((n) => {
    const d = n.inputs.reduce((m, v) => Math.max(m, of.get(v) ?? 0), 0) + (isCollective(n) ? 1 : 0);
    for (const o of n.outputs) of.set(o, d);
    return d;
  });
};

interface Job {
  readonly nodes: readonly Node[];
  /** Where it would stand: jobs that do not wait for another one go in this order. */
  readonly at: number;
}

/** Lists of nodes that become one. */
const jobsOf = (g: Graph, most: number): readonly Job[] => {
  const depth = depths(g);
  const made = new Map<Value, number>();
  g.nodes.forEach((n, i) => {
    // a view, and a cast, is made wherever it is read, and a reduction stands behind what it reads
    const moves = views.has(n.op.prim) || n.op.prim === 'cast' || (isCollective(n) && n.op.kind !== 'all-gather');
    const at = moves ? Math.max(-1, ...n.inputs.map((v) => made.get(v) ?? -1)) : i;
    for (const o of n.outputs) made.set(o, at);
  });
  const open = new Map<string, { nodes: Collective[]; first: number; last: number; bytes: number }>();
  const jobs: Job[] = [];
  const close = (b: { nodes: Collective[]; first: number; last: number }): void => {
    jobs.push({ nodes: b.nodes, at: (b.nodes[0] as Collective).op.kind === 'all-gather' ? b.first : b.last + 0.5 });
  };
  g.nodes.forEach((n, i) => {
    if (!isCollective(n)) {
      jobs.push({ nodes: [n], at: i });
      return;
    }
    const { kind, group, reduction, unit } = n.op;
    const key = [kind, group, reduction, unit, n.inputs[0]?.type.dtype, n.meta.phase, depth[i]].join(' ');
    const last = Math.max(-1, ...n.inputs.map((v) => made.get(v) ?? -1));
    const size = bytesAt(n.outputs) + bytesAt(n.inputs);
    const old = open.get(key);
    if (old && old.bytes + size <= most) {
      old.nodes.push(n);
      old.last = Math.max(old.last, last);
      old.bytes += size;
      return;
    }
    if (old) close(old);
    open.set(key, { nodes: [n], first: i, last, bytes: size });
  });
  for (const b of open.values()) close(b);
  return jobs;
};

/** The jobs, each after those that it reads from, otherwise by their places. */
const inOrder = (jobs: readonly Job[]): readonly Job[] => {
  const maker = new Map<Value, Job>();
  for (const j of jobs) for (const n of j.nodes) for (const o of n.outputs) maker.set(o, j);
  const done = new Set<Job>();
  const out: Job[] = [];
  for (const start of [...jobs].sort((a, b) => a.at - b.at)) {
    const stack = [start];
    while (stack.length > 0) {
      const j = stack.at(-1) as Job;
      const missing = done.has(j)
        ? []
        : j.nodes.flatMap((n) => n.inputs.map((v) => maker.get(v))).filter((m) => m !== undefined && m !== j && !done.has(m));
      if (missing.length > 0) {
        stack.push(...(missing as Job[]).sort((a, b) => b.at - a.at));
        continue;
      }
      stack.pop();
      if (done.has(j)) continue;
      done.add(j);
      out.push(j);
    }
  }
  return out;
};

/** `most`: bytes of a bucket, what is sent and what comes. */
export const bucket =
  (most = 1 << 26) =>
  (g: Graph): Graph => {
    const b = builder();
    const env = new Map<Value, Value>();
    for (const p of g.params) env.set(p, b.param(p.type, p.name));
    for (const { nodes } of inOrder(jobsOf(g, most))) {
      const [first] = nodes as readonly [Node];
      const outs = b.emit(
        first.op,
        nodes.flatMap((n) => n.inputs.map((v) => env.get(v) as Value)),
        first.meta,
      );
      nodes
        .flatMap((n) => n.outputs)
        .forEach((o, i) => {
          env.set(o, outs[i] as Value);
        });
    }
    return b.build(g.results.map((r) => env.get(r) as Value));
  };
