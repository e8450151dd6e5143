/** Groups of one node each. */
import type { Graph, Node, Value } from '../graph/types.ts';
import type { Target } from '../target.ts';
import type { Fused, Group, Template } from './types.ts';

const template = (n: Node): Template => {
  switch (n.op.prim) {
    case 'dot':
      return 'gemm';
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
    case 'argmax':
      return 'reduce';
    case 'scatterAdd':
      return 'scatter';
    case 'cumsum':
      return 'cumsum';
    default:
      return 'map';
  }
};

export const fuse = (g: Graph, _target: Target): Fused & { readonly aliases: ReadonlyMap<Value, Value> } => {
  const groups = g.nodes
    .filter((n) => n.op.prim !== 'array')
    .map((n): Group => ({ template: template(n), nodes: [n], inputs: [...new Set(n.inputs)], outputs: n.outputs, reason: 'alone', scope: n.meta.scope, phase: n.meta.phase }));
  const constants = g.nodes.flatMap((n) => (n.op.prim === 'array' ? [{ value: n.outputs[0] as Value, data: n.op.data }] : []));
  return { groups, aliases: new Map(), params: g.params, constants, results: g.results };
};
