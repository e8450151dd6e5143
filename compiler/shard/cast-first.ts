/**
 * A gathered parameter that is read as bf16 (f16) and as nothing else is cast before it is gathered: half the bytes travel, and half lie in
 * memory, to the same bits.
 *
 *   %1 = collective(%0) kind=all-gather   %2 = reshape(%1)   %3: bf16 = cast(%2)
 *   %1: bf16 = cast(%0)   %2 = collective(%1) kind=all-gather   %3 = reshape(%2)
 */
import { bytesOf, type DType, type Graph, type Node, type Value } from '../graph/types.ts';
import { rewrite } from '../passes/rewrite.ts';
import { cuts } from './views.ts';

export const castFirst = (g: Graph): Graph => {
  const readers = new Map<Value, Node[]>();
  for (const n of g.nodes) for (const v of n.inputs) readers.set(v, [...(readers.get(v) ?? []), n]);
  const results = new Set(g.results);
  /** The one type, narrower than its own, that a value is read as. */
  const readAs = (v: Value): DType | undefined => {
    if (results.has(v)) return undefined;
    const types = new Set(
      (readers.get(v) ?? []).map((n) =>
        n.op.prim === 'cast' ? n.op.dtype : cuts.has(n.op.prim) ? readAs(n.outputs[0] as Value) : undefined,
      ),
    );
    const [one] = types;
    return types.size === 1 && one && bytesOf[one] < bytesOf[v.type.dtype] ? one : undefined;
  };
  return rewrite(g, (b, n, ins) => {
    // operands may be narrow already: then so is a view of them, and their cast is done
    if (n.op.prim === 'cast' && ins[0]?.type.dtype === n.op.dtype) return ins;
    if (n.op.prim !== 'collective' || n.op.kind !== 'all-gather') return undefined;
    const to = n.outputs.length === 1 ? readAs(n.outputs[0] as Value) : undefined;
    return to && [b.one(n.op, [b.cast(ins[0] as Value, to)])];
  });
};
