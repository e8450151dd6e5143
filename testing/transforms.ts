/**
 * The transformations of the compiler as functions from graph to graph, which is how laws and generated programs use them. `wrt` are
 * numbers of float parameters, all of them by default.
 *
 *   jvpGraph(g)      (x..., v...) -> tangents of the float results         gradGraph(g)   x... -> the sum of its float results, its gradients
 *   vjpGraph(g)      (x..., u...) -> cotangents of the float arguments     vmapGraph(g, batched, n)   batches of n examples
 *   weightedGrad(g)  x... -> gradients of the sum of weight * result       exposed(g)     x... -> the results and every other value
 */
import { builder } from '../compiler/graph/builder.ts';
import { type Dim, dimNames } from '../compiler/graph/dim.ts';
import { type Graph, isFloat, type Node, type Value } from '../compiler/graph/types.ts';
import { valueAndGrad, vjp } from '../compiler/transform/grad.ts';
import { jvp } from '../compiler/transform/jvp.ts';
import { vmap } from '../compiler/transform/vmap.ts';
import { drawLike } from './numbers.ts';

const floating = (vs: readonly Value[]): number[] => vs.flatMap((v, i) => (isFloat(v.type.dtype) ? [i] : []));
/** Numbers of the float parameters. */
export const floats = (g: Graph): number[] => floating(g.params);
/** Numbers of the float results. */
export const floatResults = (g: Graph): number[] => floating(g.results);
/** Whether there is anything to differentiate. */
export const differentiable = (g: Graph): boolean => floats(g).length > 0 && floatResults(g).length > 0;

/** The same graph with every value of it as a result: a law that looks at it misses no node. */
export const exposed = (g: Graph): Graph => ({ ...g, results: [...new Set([...g.results, ...g.nodes.flatMap((n) => n.outputs)])] });

/** (arguments, tangents of the float arguments) -> tangents of the float results. */
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

/** (arguments, cotangents of the float results) -> cotangents of the float arguments. */
export const vjpGraph = (g: Graph, wrt: readonly number[] = floats(g)): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type, p.name));
  const cts = g.results.map((r) => (isFloat(r.type.dtype) ? b.param(r.type) : null));
  const { grads } = vjp(b, g, xs, cts, wrt);
  return b.build(wrt.map((i) => grads[i] ?? b.fill(0, (xs[i] as Value).type)));
};

/**
 * arguments -> gradients of the sum of weight * result, a scalar in which every result matters; the weights are drawn, constants of the
 * graph.
 */
export const weightedGrad = (g: Graph, next: () => number): Graph => {
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

/** The sum of all float results, as one f32 scalar. */
const loss = (g: Graph): Graph => {
  const b = builder();
  const out = b.inline(
    g,
    g.params.map((p) => b.param(p.type, p.name)),
  );
  const sums = out
    .filter((v) => isFloat(v.type.dtype))
    .map((v) => {
      const wide = b.cast(v, 'f32');
      return b.sum(
        wide,
        wide.type.shape.map((_, i) => i),
      );
    });
  return b.build([sums.reduce((s, v) => b.add(s, v))]);
};

/** arguments -> the sum of the float results and its gradients; of a graph that is `differentiable`. */
export const gradGraph = (g: Graph): Graph => {
  const b = builder();
  const { results, grads } = valueAndGrad(
    b,
    loss(g),
    g.params.map((p) => b.param(p.type, p.name)),
    floats(g),
  );
  return b.build([...results, ...grads]);
};

/** Batches of `size`: parameters that `batched` names, and the results in `out`, have a first axis of that size. */
export const vmapGraph = (
  g: Graph,
  batched: readonly boolean[],
  size: number,
): { readonly graph: Graph; readonly out: readonly boolean[] } => {
  const b = builder();
  const params = g.params.map((p, i) => b.param(batched[i] ? { ...p.type, shape: [size, ...p.type.shape] } : p.type, p.name));
  const out = vmap(b, g, params, batched, size);
  return { graph: b.build(out.values), out: out.batched };
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

const isNamed = (x: unknown): x is Exclude<Dim, number> => typeof x === 'object' && x !== null && 'terms' in x;
/** Names of sizes that have no number, anywhere in the graph. */
export const unbound = (g: Graph): string[] => {
  const found = g.nodes.flatMap(({ op, outputs }) => [
    ...[...outputs.flatMap((o) => o.type.shape), ...Object.values(op).flat()].filter(isNamed).flatMap(dimNames),
    ...('body' in op ? unbound(op.body) : []),
  ]);
  return [...new Set(found)];
};
