/**
 * From a bound, simplified graph to groups in execution order: normalise, decide which values stand on their own, gather
 * them into groups, order the groups. Each group says what it reads, what it writes, and why it ends where it ends.
 *
 *   h = x + proj          y = LayerNorm(h)      qkv = y w + b
 *   gemm: dot add add   | reduce: reduceSum sub ... | gemm: dot add
 *   ends: read by a reduction | read by a contraction | output of the step
 */
import type { Graph, Node, Value } from '../graph/types.ts';
import type { Target } from '../target.ts';
import type { Group } from '../tile/group.ts';
import { findAnchors, walkTree } from './anchor.ts';
import { type Draft, groupNodes } from './group.ts';
import { isAlias, type Normal, normalise } from './normalise.ts';
import type { Fused } from './types.ts';

/** Groups in an order in which each comes after those it reads from, as close to the graph's own order as that allows. */
const ordered = (groups: readonly { readonly draft: Draft; readonly reads: readonly Draft[] }[]): readonly number[] => {
  const index = new Map(groups.map((x, i) => [x.draft, i]));
  const last = groups.map((x) => Math.max(...x.draft.members));
  const order: number[] = [];
  const state = new Uint8Array(groups.length);
  const queue = groups.map((_, i) => i).sort((x, y) => (last[x] as number) - (last[y] as number));
  for (const start of queue) {
    const stack = [start];
    while (stack.length > 0) {
      const i = stack[stack.length - 1] as number;
      if (state[i] === 2) {
        stack.pop();
        continue;
      }
      if (state[i] === 1) {
        state[i] = 2;
        order.push(i);
        stack.pop();
        continue;
      }
      state[i] = 1;
      const before = (groups[i]?.reads ?? []).map((d) => index.get(d) as number).filter((k) => state[k] === 0);
      before.sort((x, y) => (last[y] as number) - (last[x] as number));
      stack.push(...before);
    }
  }
  return order;
};

const reasonOf = (d: Draft, outputs: readonly Value[], n: Normal): string => {
  if (d.refused) return d.refused;
  return outputs.every((o) => n.results.includes(o)) ? 'output of the step' : 'read by values of another shape';
};

export const fuse = (g: Graph, target: Target): Fused => {
  const n = normalise(g, target);
  const a = findAnchors(n, target.maxBuffers);
  const drafts = groupNodes(n, a, target);
  const draftOf = new Map<number, Draft>();
  for (const d of drafts) for (const m of d.members) draftOf.set(m, d);
  const results = new Set(n.results);
  const leaf = (v: Value): boolean => {
    const i = a.position.get(v);
    return i === undefined || a.anchored[i] === true || n.nodes[i]?.op.prim === 'array';
  };
  // a value is in memory if a group other than its own reads it
  const read = new Set<Value>();
  const parts = drafts.map((d) => {
    const seen = new Set<Node>();
    const found = new Set<Value>();
    for (const m of d.members) walkTree(n.nodes[m] as Node, n, leaf, found, seen);
    const inputs: Value[] = [];
    const reads = new Set<Draft>();
    for (const v of found) {
      const i = a.position.get(v);
      const owner = i === undefined ? undefined : draftOf.get(i);
      if (owner === d) continue;
      inputs.push(v);
      read.add(v);
      if (owner) reads.add(owner);
    }
    const nodes = [...seen].sort(
      (x, y) => (a.position.get(x.outputs[0] as Value) as number) - (a.position.get(y.outputs[0] as Value) as number),
    );
    return { draft: d, nodes, inputs, reads: [...reads] };
  });
  const groups = ordered(parts).map((k): Group => {
    const { draft, nodes, inputs } = parts[k] as (typeof parts)[number];
    const made = draft.members.flatMap((m) => (n.nodes[m] as Node).outputs);
    const outputs = made.filter((v) => read.has(v) || results.has(v));
    const { scope, phase } = (n.nodes[draft.members[draft.members.length - 1] as number] as Node).meta;
    return { template: draft.template, nodes, inputs, outputs, reason: reasonOf(draft, outputs, n), scope, phase };
  });
  const aliases = new Map<Value, Value>();
  for (const m of n.nodes) {
    const out = m.outputs[0] as Value;
    if (isAlias(m) && !n.copies.has(out) && !results.has(out)) aliases.set(out, m.inputs[0] as Value);
  }
  // what has arrived lies where it was received
  for (const m of n.nodes)
    if (m.op.prim === 'wait')
      m.outputs.forEach((o, i) => {
        aliases.set(o, m.inputs[i] as Value);
      });
  const constants = n.nodes.flatMap((m) =>
    m.op.prim === 'array' && read.has(m.outputs[0] as Value) ? [{ value: m.outputs[0] as Value, data: m.op.data }] : [],
  );
  return { groups, aliases, params: g.params, constants, results: n.results };
};
