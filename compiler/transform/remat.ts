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

const regionOf = (n: Node | undefined): number | undefined => (n && n.meta.phase !== 'bwd' ? n.meta.remat : undefined);

/** Values of regions that are saved: the rest of the forward phase or the results read them. */
const leaving = (g: Graph, maker: ReadonlyMap<Value, Node>): Set<Value> => {
  const found = new Set(g.results);
  for (const n of g.nodes) {
    if (n.meta.phase === 'bwd') continue;
    for (const v of n.inputs) if (regionOf(maker.get(v)) !== regionOf(n)) found.add(v);
  }
  return found;
};

/** The same function with the values of checkpoint regions recomputed in the backward phase. */
export const remat = (g: Graph): Graph => {
  const maker = new Map(g.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const saved = leaving(g, maker);
  const b = builder();
  const forward = new Map<Value, Value>(g.params.map((p) => [p, b.param(p.type, p.name)]));
  const recomputed = new Map<Value, Value>();
  const emit = (n: Node, read: (v: Value) => Value, meta: Node['meta'], into: Map<Value, Value>): void => {
    const outs = b.emit(n.op, n.inputs.map(read), { ...meta, loc: meta.loc, remat: meta.remat });
    n.outputs.forEach((o, i) => {
      into.set(o, outs[i] as Value);
    });
  };
  const isRecomputed = (v: Value): boolean => regionOf(maker.get(v)) !== undefined && !saved.has(v);
  const inBackward = (v: Value): Value => (isRecomputed(v) ? recomputed : forward).get(v) as Value;
  // depth first with a stack of its own: a region may be a long chain
  const recompute = (v: Value): void => {
    const stack = isRecomputed(v) ? [maker.get(v) as Node] : [];
    while (stack.length > 0) {
      const n = stack[stack.length - 1] as Node;
      const missing = n.inputs.find((u) => isRecomputed(u) && !recomputed.has(u));
      if (missing) stack.push(maker.get(missing) as Node);
      else {
        stack.pop();
        if (!n.outputs.every((o) => recomputed.has(o))) emit(n, inBackward, { ...n.meta, phase: 'bwd' }, recomputed);
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
