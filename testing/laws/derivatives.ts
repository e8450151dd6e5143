/**
 * Forward mode is the derivative: J v against central differences of the program, with the steps, the tolerances and the look-out for
 * kinks of gradient checks (gradients-laws.ts). Without it a wrong jvp rule would go unseen, for all else is derived from that rule.
 *
 * Duality: forward and reverse mode are transposes of each other, <u, J v> = <J' u, v>, of the program and of its gradient. There also
 * the second derivative is symmetric: <u, H v> = <H u, v>. Both sides are one graph, whose rounding errors in float64 are bounded node
 * by node (bound.ts); where the bound is infinite, nothing is said.
 */
import { builder } from '../../compiler/graph/builder.ts';
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { countOf } from '../../compiler/graph/tensor64.ts';
import type { Graph, TensorType, Value } from '../../compiler/graph/types.ts';
import { type Bounded, bounded } from '../bound.ts';
import { forward } from '../gradients-laws.ts';
import { numbers } from '../numbers.ts';
import { differentiable, exposed, floatResults, floats, gradGraph, jvpGraph, vjpGraph } from '../transforms.ts';
import { blamed } from './blame.ts';
import type { Law } from './law.ts';

const draw = (t: TensorType, next: () => number): Tensor64 =>
  tensor64(
    t,
    Array.from({ length: countOf(t) }, () => 2 * next() - 1),
  );
const typesOf = (g: Graph): readonly TensorType[] => floats(g).map((i) => (g.params[i] as Value).type);
const resultTypes = (g: Graph): readonly TensorType[] => floatResults(g).map((i) => (g.results[i] as Value).type);

/** The sum of products of a graph's results with as many more parameters, as f32. */
const paired = (g: Graph): Graph => {
  const b = builder();
  const params = g.params.map((p) => b.param(p.type));
  const us = g.results.map((r) => b.param(r.type));
  const terms = b.inline(g, params).map((r, i) => {
    const product = b.mul(b.cast(r, 'f32'), b.cast(us[i] as Value, 'f32'));
    return b.sum(
      product,
      product.type.shape.map((_, k) => k),
    );
  });
  return b.build([terms.reduce((s, t) => b.add(s, t))]);
};

/** Whether two sums, each with its own rounding errors, may be equal in exact arithmetic. */
const unequal = (what: string, left: Bounded, right: Bounded): string | undefined => {
  const [a, b] = [left.value.data[0] as number, right.value.data[0] as number];
  const tolerance = (left.error[0] as number) + (right.error[0] as number);
  return Number.isFinite(tolerance) && Math.abs(a - b) > tolerance ? `${what}: ${a} and ${b} differ by more than ${tolerance}` : undefined;
};
const sum = (g: Graph, args: readonly Tensor64[]): Bounded => bounded(paired(g), args, 'f64')[0] as Bounded;

const dual = (g: Graph, xs: readonly Tensor64[], seed: number): string | undefined => {
  const next = numbers(seed);
  const vs = typesOf(g).map((t) => draw(t, next));
  const us = resultTypes(g).map((t) => draw(t, next));
  return unequal("<u, J v> and <J' u, v>", sum(jvpGraph(g), [...xs, ...vs, ...us]), sum(vjpGraph(g), [...xs, ...us, ...vs]));
};

/** The gradients only: one for each float parameter, of its type. */
const gradients = (g: Graph): Graph => {
  const whole = gradGraph(g);
  return { ...whole, results: whole.results.slice(1) };
};
const finite = (ts: readonly Tensor64[]): boolean => ts.every((t) => t.data.every((x) => Math.abs(x) < 1e100));

/** Differences evaluate the program some forty times: long ones are left to the other laws. */
const longest = 200;

export const derivativeLaws: readonly Law[] = [
  {
    name: 'jvp',
    says: 'J v is what central differences give, for every value of the program',
    check: ({ graph, inputs }, { seed, note }) => {
      const all = exposed(graph);
      if (!differentiable(all) || graph.nodes.length > longest) return undefined;
      const next = numbers(seed);
      const v = forward(
        all,
        inputs,
        typesOf(graph).map((t) => draw(t, next)),
      );
      note?.(`directions ${v.status === 'ok' ? 'checked by differences' : `with ${v.status}`}`, 1);
      if (v.status !== 'failed') return undefined;
      return `J v, ${v.at}: ${v.got} and ${v.expected} differ by more than ${v.tolerance}; ${blamed('forward', { graph, inputs }, seed)}`;
    },
  },
  {
    name: 'duality',
    says: "<u, J v> = <J' u, v>",
    // a value with an infinite bound hides the others: so the results are looked at by themselves, too
    check: ({ graph, inputs }, { seed }) => {
      const all = exposed(graph);
      if (!differentiable(all)) return undefined;
      const wrong = dual(all, inputs, seed) ?? (differentiable(graph) ? dual(graph, inputs, seed) : undefined);
      return wrong && `${wrong}; ${blamed('duality', { graph, inputs }, seed)}`;
    },
  },
  {
    name: 'grad',
    says: '<grad f, v> = <1, J v>, f being the sum of the results',
    check: ({ graph, inputs }, { seed }) => {
      if (!differentiable(graph)) return undefined;
      const next = numbers(seed);
      const vs = typesOf(graph).map((t) => draw(t, next));
      const ones = resultTypes(graph).map((t) => draw(t, () => 1));
      const wrong = unequal(
        '<grad f, v> and <1, J v>',
        sum(gradients(graph), [...inputs, ...vs]),
        sum(jvpGraph(graph), [...inputs, ...vs, ...ones]),
      );
      return wrong && `${wrong}; ${blamed('duality', { graph, inputs }, seed)}`;
    },
  },
  {
    name: 'grad of grad',
    every: 2,
    says: "<u, H v> = <H' u, v> = <H u, v>, H being the derivative of the gradient",
    check: ({ graph, inputs }, { seed, note }) => {
      if (!differentiable(graph) || graph.nodes.length > 60) return undefined;
      const g = gradients(graph);
      if (!finite(interpret(g, inputs))) return undefined;
      note?.('second derivatives', 1);
      const wrong = dual(g, inputs, seed);
      if (wrong !== undefined) return wrong;
      const next = numbers(seed + 1);
      const [us, vs] = [typesOf(g).map((t) => draw(t, next)), typesOf(g).map((t) => draw(t, next))];
      const forward = jvpGraph(g);
      return unequal('<u, H v> and <v, H u>', sum(forward, [...inputs, ...vs, ...us]), sum(forward, [...inputs, ...us, ...vs]));
    },
  },
];
