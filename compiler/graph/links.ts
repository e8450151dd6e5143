/** Who makes a value and who reads it: what a graph, which lists nodes and what they read, does not say by itself. */
import type { Graph, Node, Value } from './types.ts';

export interface Links {
  /** The node that makes a value; none makes a parameter. */
  readonly makers: ReadonlyMap<Value, Node>;
  /** The nodes that read a value, in order, each once. */
  readonly readers: (v: Value) => readonly Node[];
}

export const linksOf = (g: Pick<Graph, 'nodes'>): Links => {
  const makers = new Map<Value, Node>();
  const readers = new Map<Value, Node[]>();
  for (const n of g.nodes) {
    for (const o of n.outputs) makers.set(o, n);
    for (const v of new Set(n.inputs)) {
      const list = readers.get(v);
      if (list) list.push(n);
      else readers.set(v, [n]);
    }
  }
  return { makers, readers: (v) => readers.get(v) ?? [] };
};
