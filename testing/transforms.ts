/**
 * The transformations of the compiler as functions from graph to graph, which is how laws and generated programs use them.
 *
 *   jvpGraph(g)    (x..., v...) -> tangents of the results        gradGraph(g)   x... -> gradients of the sum of its float results
 *   vjpGraph(g)    (x..., u...) -> cotangents of the arguments    vmapGraph(g, batched, n)   batches of n examples
 *   exposed(g)     x... -> the results and every other value
 */
import { builder } from '../compiler/graph/builder.ts';
import { type Graph, isFloat, type Value } from '../compiler/graph/types.ts';
import { valueAndGrad, vjp } from '../compiler/transform/grad.ts';
import { jvp } from '../compiler/transform/jvp.ts';
import { vmap } from '../compiler/transform/vmap.ts';

/** Numbers of the float parameters. */
export const floats = (g: Graph): number[] => g.params.flatMap((p, i) => (isFloat(p.type.dtype) ? [i] : []));
const floatResults = (g: Graph): readonly Value[] => g.results.filter((r) => isFloat(r.type.dtype));
/** Whether there is anything to differentiate. */
export const differentiable = (g: Graph): boolean => floats(g).length > 0 && floatResults(g).length > 0;

/** The same graph with every value of it as a result: a law that looks at it misses no node. */
export const exposed = (g: Graph): Graph => ({ ...g, results: [...new Set([...g.results, ...g.nodes.flatMap((n) => n.outputs)])] });

/** (arguments, tangents of the float arguments) -> tangents of the float results. */
export const jvpGraph = (g: Graph): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type));
  const ts = g.params.map((p) => (isFloat(p.type.dtype) ? b.param(p.type) : null));
  const { results, tangents } = jvp(b, g, xs, ts);
  return b.build(results.flatMap((r, i) => (isFloat(r.type.dtype) ? [tangents[i] ?? b.fill(0, r.type)] : [])));
};

/** (arguments, cotangents of the float results) -> cotangents of the float arguments. */
export const vjpGraph = (g: Graph): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type));
  const cts = g.results.map((r) => (isFloat(r.type.dtype) ? b.param(r.type) : null));
  const { grads } = vjp(b, g, xs, cts);
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
