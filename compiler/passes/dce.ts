/**
 * Dead code: keeps the nodes that some result needs. Nodes have no effects, so nothing else matters.
 *
 *   %1 = exp(%0)   %2 = neg(%0)   return %2        ->        %1 = neg(%0)   return %1
 */
import { builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/types.ts';

export const dce = (g: Graph): Graph => {
  const wanted = new Set<Value>(g.results);
  const live = new Set<Node>();
  for (const n of [...g.nodes].reverse()) {
    if (!n.outputs.some((o) => wanted.has(o))) continue;
    live.add(n);
    for (const v of n.inputs) wanted.add(v);
  }
  if (live.size === g.nodes.length) return g;
  const b = builder();
  const env = new Map<Value, Value>();
  for (const p of g.params) env.set(p, b.param(p.type, p.name));
  for (const n of g.nodes) {
    if (!live.has(n)) continue;
    const outs = b.again(
      n,
      n.inputs.map((v) => env.get(v) as Value),
    );
    n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
  }
  return b.build(g.results.map((r) => env.get(r) as Value));
};
