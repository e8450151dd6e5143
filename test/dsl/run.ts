/** Traces a function over named shapes, binds the names to numbers and interprets it in float64. */
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { type TensorOf, trace } from '../../dsl/index.ts';

export type Numbers = readonly number[];
/** Results as { shape, values }, in the tree of the result. */
export interface Out {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}
export const run = <const Sp extends readonly unknown[], R>(
  f: (...args: TensorOf<Sp>) => R,
  specs: Sp,
  data: readonly Numbers[],
  dims: Record<string, number> = {},
): Out[] => {
  const t = trace(f, specs, { dims });
  const args = t.inputs.map((leaf, i): Tensor64 => tensor64({ dtype: leaf.dtype, shape: leaf.shape }, data[i] as Numbers));
  return interpret(t.graph, args).map((x) => ({ shape: x.type.shape.map(Number), values: [...x.data] }));
};
export const first = (out: readonly Out[]): Out => out[0] as Out;
/** Primitives of a graph, in order; regions as tag(...). */
export const prims = (g: Graph): string[] =>
  g.nodes.flatMap((n) => ('body' in n.op ? [`${'tag' in n.op ? n.op.tag : n.op.prim}(${prims(n.op.body).join(' ')})`] : [n.op.prim]));
export const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
