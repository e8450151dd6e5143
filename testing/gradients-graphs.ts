/**
 * The derivatives of a graph as graphs of their own, which is what the laws evaluate. `wrt` are numbers of float parameters.
 *
 *   jvpGraph(g)     (arguments, tangents of the float arguments)  ->  tangents of the float results
 *   vjpGraph(g)     (arguments, cotangents of the float results)  ->  cotangents of the float arguments
 *   gradGraph(g)    arguments  ->  gradients of the sum of weight * result, a scalar in which every result matters
 */
import { builder } from '../compiler/graph/builder.ts';
import { type Dim, dimNames } from '../compiler/graph/dim.ts';
import { type Graph, isFloat, type Node, type Value } from '../compiler/graph/types.ts';
import { vjp } from '../compiler/transform/grad.ts';
import { jvp } from '../compiler/transform/jvp.ts';
import { drawLike } from './numbers.ts';

const floating = (vs: readonly Value[]): number[] => vs.flatMap((v, i) => (isFloat(v.type.dtype) ? [i] : []));
/** Numbers of the float parameters. */
export const floats = (g: Graph): number[] => floating(g.params);
export const floatResults = (g: Graph): number[] => floating(g.results);

export const jvpGraph = (g: Graph, wrt: readonly number[] = floats(g)): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type, p.name));
  const moving = new Map(wrt.map((i) => [i, b.param((g.params[i] as Value).type)]));
  const { results, tangents } = jvp(
    b,
    g,
    xs,
    xs.map((_, i) => moving.get(i) ?? null),
  );
  return b.build(floatResults(g).map((i) => tangents[i] ?? b.fill(0, (results[i] as Value).type)));
};

export const vjpGraph = (g: Graph, wrt: readonly number[] = floats(g)): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type, p.name));
  const cts = g.results.map((r) => (isFloat(r.type.dtype) ? b.param(r.type) : null));
  const { grads } = vjp(b, g, xs, cts, wrt);
  return b.build(wrt.map((i) => grads[i] ?? b.fill(0, (xs[i] as Value).type)));
};

/** The weights are drawn at random. */
export const gradGraph = (g: Graph, next: () => number): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type, p.name));
  const weights = g.results.map((r) => {
    if (!isFloat(r.type.dtype)) return null;
    const w = drawLike(r.type, next);
    return b.one({ prim: 'array', data: Array.from(w.data), shape: r.type.shape as number[], dtype: r.type.dtype }, []);
  });
  const { grads } = vjp(b, g, xs, weights);
  return b.build(floats(g).map((i) => grads[i] ?? b.fill(0, (xs[i] as Value).type)));
};

const isNamed = (x: unknown): x is Exclude<Dim, number> => typeof x === 'object' && x !== null && 'terms' in x;
/** Names of sizes that have no number, anywhere in the graph. */
export const unbound = (g: Graph): string[] => {
  const found = g.nodes.flatMap(({ op, outputs }) => [
    ...[...outputs.flatMap((o) => o.type.shape), ...Object.values(op).flat()].filter(isNamed).flatMap(dimNames),
    ...('body' in op ? unbound(op.body) : []),
  ]);
  return [...new Set(found)];
};

/** The graph of one node: its operands are the parameters. */
export const single = (n: Node): Graph => {
  const b = builder();
  return b.build(
    b.emit(
      n.op,
      n.inputs.map((v) => b.param(v.type)),
      n.meta,
    ),
  );
};

/** g as one call with the given tag. */
export const asCall = (g: Graph, tag: string): Graph => {
  const b = builder();
  return b.build(
    b.emit(
      { prim: 'call', tag, body: g },
      g.params.map((p) => b.param(p.type, p.name)),
    ),
  );
};
