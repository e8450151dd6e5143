/**
 * Rematerialisation, on the joint graph of a step: forward nodes of a checkpoint region (meta.remat) whose values the
 * backward phase reads are cloned into it, just before the first backward use, so that the originals die in the forward
 * phase. What enters a region, and what leaves it for the rest of the forward phase or the results, is saved; the clones
 * start from there. A clone has phase `bwd` and keeps its region number, by which cse knows not to merge it with its original.
 * Primitives are pure functions, random bits too, so that the recomputed values are the same bits.
 *
 *   %2 = exp(%0)        fwd remat=1            %2 = exp(%0)        fwd remat=1
 *   %3 = sin(%2)        fwd remat=1            %3 = sin(%2)        fwd remat=1
 *   ...                                  ->    ...
 *                                              %9 = exp(%0)        bwd remat=1
 *   %5 = cos(%2)        bwd                    %5 = cos(%9)        bwd
 */
import { builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/types.ts';

/** Of the values made by `forward` nodes, those that other regions or the results read: they are saved, not recomputed. */
export const leaving = (forward: readonly Node[], results: readonly Value[]): Set<Value> => {
  const found = new Set(results);
  const region = new Map<Value, number | undefined>();
  for (const n of forward) {
    for (const v of n.inputs) if (region.get(v) !== n.meta.remat) found.add(v);
    for (const o of n.outputs) region.set(o, n.meta.remat);
  }
  return found;
};

/**
 * The same function, where the backward phase reads clones of the nodes in `maker`, by value, instead of those values. Clones stand just
 * before what first reads them, and have phase `bwd` in the meta that `meta` gives them.
 */
export const cloned = (g: Graph, maker: ReadonlyMap<Value, Node>, meta: (n: Node) => Node['meta']): Graph => {
  const b = builder();
  const forward = new Map<Value, Value>(g.params.map((p) => [p, b.param(p.type, p.name)]));
  const recomputed = new Map<Value, Value>();
  const emit = (n: Node, read: (v: Value) => Value, as: Node['meta'], into: Map<Value, Value>): void => {
    const outs = b.emit(n.op, n.inputs.map(read), as);
    n.outputs.forEach((o, i) => {
      into.set(o, outs[i] as Value);
    });
  };
  const inBackward = (v: Value): Value => (maker.has(v) ? recomputed : forward).get(v) as Value;
  // depth first with a stack of its own: a region may be a long chain
  const recompute = (v: Value): void => {
    const stack = [maker.get(v)].filter((n) => n !== undefined);
    while (stack.length > 0) {
      const n = stack[stack.length - 1] as Node;
      const missing = n.inputs.find((u) => maker.has(u) && !recomputed.has(u));
      if (missing) stack.push(maker.get(missing) as Node);
      else {
        stack.pop();
        if (!n.outputs.every((o) => recomputed.has(o))) emit(n, inBackward, { ...meta(n), phase: 'bwd' }, recomputed);
      }
    }
  };
  for (const n of g.nodes) {
    const backward = n.meta.phase === 'bwd';
    if (backward) n.inputs.forEach(recompute);
    emit(n, backward ? inBackward : (v) => forward.get(v) as Value, n.meta, forward);
  }
  return b.build(g.results.map((r) => forward.get(r) as Value));
};

/** The same function with the values of checkpoint regions recomputed in the backward phase. */
export const remat = (g: Graph): Graph => {
  if (g.nodes.every((n) => n.meta.remat === undefined)) return g;
  const forward = g.nodes.filter((n) => n.meta.phase !== 'bwd');
  const saved = leaving(forward, g.results);
  const maker = new Map<Value, Node>();
  for (const n of forward) for (const o of n.outputs) if (n.meta.remat !== undefined && !saved.has(o)) maker.set(o, n);
  return cloned(g, maker, (n) => n.meta);
};
