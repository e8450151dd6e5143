/**
 * Linearisation: the nodes of a jvp graph that depend on tangents are linear in them; all others are the primal
 * computation, whose values the linear nodes use as coefficients. The split is by reachability alone.
 *
 *   %2 = sin(%0)          primal
 *   %3 = cos(%0)          primal, needed only by the derivative
 *   %4 = mul(%1, %3)      linear in the tangent %1
 *
 * `extract` cuts a part of such a graph out as a graph of its own; regions of scan and perShard are made with it.
 */
import { builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/types.ts';

export interface Linearized {
  readonly primal: readonly Node[];
  readonly linear: readonly Node[];
  /** The tangents that were given and every value that depends on them. */
  readonly values: ReadonlySet<Value>;
}

export const linearize = (nodes: readonly Node[], tangents: Iterable<Value>): Linearized => {
  const values = new Set(tangents);
  const primal: Node[] = [];
  const linear: Node[] = [];
  for (const n of nodes) {
    const depends = n.inputs.some((v) => values.has(v));
    (depends ? linear : primal).push(n);
    if (depends) for (const o of n.outputs) values.add(o);
  }
  return { primal, linear, values };
};

/** The nodes that `wanted` needs. `given` values are taken as they are: what makes them is not asked for. */
export const needed = (nodes: readonly Node[], wanted: Iterable<Value>, given: ReadonlySet<Value> = new Set()): Set<Node> => {
  const values = new Set(wanted);
  for (const v of given) values.delete(v);
  const found = new Set<Node>();
  for (let i = nodes.length - 1; i >= 0; i--) {
    const n = nodes[i] as Node;
    if (!n.outputs.some((o) => values.has(o))) continue;
    found.add(n);
    for (const v of n.inputs) if (!given.has(v)) values.add(v);
  }
  return found;
};

/** The graph from `params`, which may be any values, to `results`, made of those of `nodes` that are needed. */
export const extract = (nodes: readonly Node[], params: readonly Value[], results: readonly Value[]): Graph => {
  const b = builder();
  const env = new Map(params.map((p) => [p, b.param(p.type, p.name)]));
  const live = needed(nodes, results, new Set(params));
  for (const n of nodes) {
    if (!live.has(n)) continue;
    const outs = b.again(
      n,
      n.inputs.map((v) => env.get(v) as Value),
    );
    n.outputs.forEach((o, i) => {
      if (!env.has(o)) env.set(o, outs[i] as Value);
    });
  }
  return b.build(results.map((r) => env.get(r) as Value));
};
