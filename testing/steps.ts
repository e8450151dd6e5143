/**
 * Training steps made of generated programs: a batch of examples goes through the program, the loss is the mean of its results over the batch, and
 * some float arguments are the weights that one step of descent with momentum moves. So what W ranks do with B rows each is, by definition, what one
 * does with W B rows.
 *
 *   (w..., m..., x...) -> (w - 0.1 m'..., m' = 0.9 m + gradient..., loss)        x: arguments that are no weights, with an axis of rows in front
 */
import { builder } from '../compiler/graph/builder.ts';
import { countOf, type Tensor64, tensor64 } from '../compiler/graph/tensor64.ts';
import { type Graph, isFloat, type Value } from '../compiler/graph/types.ts';
import { valueAndGrad } from '../compiler/transform/grad.ts';
import type { Program } from './program.ts';
import { differentiable, vmapGraph } from './transforms.ts';

export interface Step {
  readonly graph: Graph;
  /** donated[o]: the parameter whose place result o takes, or -1. */
  readonly donated: readonly number[];
  /** Parameters that are a batch: the others are the same for any number of rows. */
  readonly batch: readonly boolean[];
}

const allAxes = (v: Value): number[] => v.type.shape.map((_, i) => i);

/** The mean over rows of the sum of all float results. */
const rowMean = (g: Graph, batched: readonly boolean[], rows: number): Graph => {
  const { graph, out } = vmapGraph(g, batched, rows);
  const b = builder();
  const results = b.inline(
    graph,
    graph.params.map((p) => b.param(p.type, p.name)),
  );
  const terms = results.flatMap((v, i) => {
    if (!isFloat(v.type.dtype)) return [];
    const total = b.sum(b.cast(v, 'f32'), allAxes(v));
    return [out[i] ? b.div(total, b.fill(rows, total.type)) : total];
  });
  return b.build([terms.reduce((x, y) => b.add(x, y))]);
};

/** The step of a program for a batch of `rows`; `weights` are parameters of the program. */
const stepOf = (g: Graph, weights: readonly number[], rows: number): Step => {
  const b = builder();
  const loss = rowMean(
    g,
    g.params.map((_, i) => !weights.includes(i)),
    rows,
  );
  const at = (i: number): Value => loss.params[i] as Value;
  const ws = weights.map((i, k) => b.param(at(i).type, `0.w.${k}`));
  const ms = weights.map((i, k) => b.param({ dtype: 'f32', shape: at(i).type.shape }, `0.m.${k}`));
  const xs = new Map(loss.params.flatMap((p, i): [number, Value][] => (weights.includes(i) ? [] : [[i, b.param(p.type, `1.x.${i}`)]])));
  const args = loss.params.map((_, i) => xs.get(i) ?? (ws[weights.indexOf(i)] as Value));
  const { results, grads } = valueAndGrad(b, loss, args, weights);
  const moved = b.at({ phase: 'opt' }, () =>
    ws.map((w, k) => {
      const [m, g1] = [ms[k] as Value, b.cast(grads[k] as Value, 'f32')];
      const next = b.add(b.mul(m, b.fill(0.9, m.type)), g1);
      return { next, w: b.cast(b.sub(b.cast(w, 'f32'), b.mul(next, b.fill(0.1, m.type))), w.type.dtype) };
    }),
  );
  const n = weights.length;
  return {
    graph: b.build([...moved.map((x) => x.w), ...moved.map((x) => x.next), results[0] as Value]),
    donated: [...Array.from({ length: 2 * n }, (_, i) => i), -1],
    batch: [...Array.from({ length: 2 * n }, () => false), ...Array.from(xs, () => true)],
  };
};

/** Row k of an argument: its numbers moved round by k places, so that rows differ and stay in range. */
const row = (t: Tensor64, k: number): readonly number[] => {
  const n = countOf(t.type);
  return Array.from({ length: n }, (_, i) => t.data[(i + k) % n] as number);
};

export interface Run {
  readonly step: Step;
  readonly args: readonly Tensor64[];
}

/** The step of a program on rows [from, from + rows) of a stream of rows; undefined where there is nothing to learn. `pick(n)` is below n. */
export const stepsOf = (p: Program, pick: (n: number) => number): ((from: number, rows: number) => Run) | undefined => {
  const floats = p.graph.params.flatMap((v, i) => (isFloat(v.type.dtype) ? [i] : []));
  const some = floats.filter(() => pick(3) > 0);
  const weights = some.length > 0 ? some : floats.slice(0, 1);
  // without another argument there are no rows
  if (!differentiable(p.graph) || weights.length === p.graph.params.length) return undefined;
  const own = weights.map((i) => p.inputs[i] as Tensor64);
  return (from, rows) => {
    const step = stepOf(p.graph, weights, rows);
    const batch = p.inputs.flatMap((t, i): Tensor64[] => {
      if (weights.includes(i)) return [];
      const data = Array.from({ length: rows }, (_, k) => row(t, from + k)).flat();
      return [tensor64({ ...t.type, shape: [rows, ...t.type.shape] }, data)];
    });
    const moments = own.map(({ type, data }) =>
      tensor64(
        { dtype: 'f32', shape: type.shape },
        Array.from(data, (x) => x / 2),
      ),
    );
    return { step, args: [...own, ...moments, ...batch] };
  };
};
