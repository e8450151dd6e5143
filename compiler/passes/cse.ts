/**
 * Common subexpressions: of two nodes with equal operation and inputs the second is dropped. What a checkpoint region
 * computes again must stay computed again, so a node of a region (meta.remat) is merged only with one of the same region
 * and phase. Nor is what is gathered for two phases gathered once.
 *
 *   %1 = exp(%0)   %2 = exp(%0)   %3 = add(%1, %2)        ->        %1 = exp(%0)   %2 = add(%1, %1)
 */
import { opKey } from '../graph/identity.ts';
import type { Graph, Node, Value } from '../graph/types.ts';
import { rewrite } from './rewrite.ts';

const key = ({ op, meta }: Node, ins: readonly Value[]): string => {
  const region = meta.remat === undefined && op.prim !== 'collective' ? '' : `${meta.remat} ${meta.phase}`;
  return `${region}|${ins.map((v) => v.id).join(' ')}|${opKey(op)}`;
};

export const cse = (g: Graph): Graph => {
  const seen = new Map<string, readonly Value[]>();
  return rewrite(g, (b, n, ins) => {
    // a region's text would have to be compared node by node; regions are inlined before this pass
    if (n.op.prim === 'call' || n.op.prim === 'scan' || n.op.prim === 'perShard') return undefined;
    const k = key(n, ins);
    const old = seen.get(k);
    if (old) return old;
    const outs = b.again(n, ins);
    seen.set(k, outs);
    return outs;
  });
};
