/**
 * Tensors without elements (a 0 in the shape) leave the program, so that every kernel has something to loop over. A value without
 * elements becomes an empty constant, whatever computed it; a value with elements that is made of such values is what the interpreter
 * says: a sum over nothing is 0, a maximum -inf. Afterwards no node reads a value without elements, but for a perShard that waits for its ranks; only
 * results are still such.
 *
 *   %1: f32[0 3] = slice(%0) start=[2 0] limit=[2 3]   %2: f32[2 3] = concat(%0, %1) axis=0   return %2        ->        return %0
 */
import type { Builder } from '../graph/builder.ts';
import { known } from '../graph/dim.ts';
import { identityOf } from '../graph/interpret-structure.ts';
import { isEmpty } from '../graph/tensor64.ts';
import type { Graph, Node, Op, TensorType, Value } from '../graph/types.ts';
import { rewrite } from './rewrite.ts';

/** What `op` makes of operands of which one at least is empty; the result, of type `t`, is not. */
const ofEmpty = (b: Builder, op: Op, ins: readonly Value[], t: TensorType): Value => {
  switch (op.prim) {
    case 'concat': {
      const some = ins.filter((v) => !isEmpty(v.type));
      return some.length === 1 ? (some[0] as Value) : b.concat(some, op.axis);
    }
    case 'pad':
      return b.fill(op.value, t);
    // no update to add
    case 'scatterAdd':
      return ins[0] as Value;
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
      return b.fill(identityOf(op.prim, t.dtype), t);
    // sums of no products; every index is out of range; the first of no maxima
    case 'dot':
    case 'gather':
    case 'argmax':
      return b.fill(0, t);
    default:
      throw new Error(`internal: ${op.prim} makes elements of none`);
  }
};

const nothing = (b: Builder, { dtype, shape }: TensorType): Value => b.one({ prim: 'array', data: [], shape: shape.map(known), dtype }, []);

const touched = (n: Node): boolean => [...n.inputs, ...n.outputs].some((v) => isEmpty(v.type));

/** Most programs have none, and stay as they are. */
export const empty = (g: Graph): Graph =>
  g.nodes.some(touched)
    ? rewrite(g, (b, n: Node, ins) => {
        const types = n.outputs.map((o) => o.type);
        // what a shard makes of nothing its region says, which is looked into once ranks have their own
        if (n.op.prim === 'perShard' && !types.every(isEmpty)) return undefined;
        if (types.some(isEmpty)) return types.map((t) => nothing(b, t));
        return ins.some((v) => isEmpty(v.type)) ? types.map((t) => ofEmpty(b, n.op, ins, t)) : undefined;
      })
    : g;
