/**
 * The shape of every pass: walk the nodes in order, let a rule replace each one, copy the rest. Values are renumbered, so a
 * rewritten graph prints and parses like a traced one.
 */
import { type Builder, builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/types.ts';

/** The outputs that stand for node `n` in the new graph (its inputs there are `ins`), or undefined to keep the node as it is. */
export type Rule = (b: Builder, n: Node, ins: readonly Value[]) => readonly Value[] | undefined;

export const rewrite = (g: Graph, rule: Rule): Graph => {
  const b = builder();
  const env = new Map<Value, Value>();
  for (const p of g.params) env.set(p, b.param(p.type, p.name));
  for (const n of g.nodes) {
    const ins = n.inputs.map((v) => env.get(v) as Value);
    const outs = b.at(n.meta, () => rule(b, n, ins)) ?? b.again(n, ins);
    n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
  }
  return b.build(g.results.map((r) => env.get(r) as Value));
};
