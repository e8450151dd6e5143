/** A program at the stages of the compiler, each made once however many laws look at it. */
import { passes } from '../compiler/compile.ts';
import type { Graph } from '../compiler/graph/types.ts';
import { buildPlan } from '../compiler/plan/build.ts';
import type { Plan } from '../compiler/plan/types.ts';
import type { Target } from '../compiler/target.ts';
import { type Bounded, bounded } from './bound.ts';
import type { Program } from './program.ts';

const once = <K extends object, V>(f: (k: K) => V): ((k: K) => V) => {
  const known = new WeakMap<K, { readonly value: V }>();
  return (k) => {
    const old = known.get(k);
    if (old) return old.value;
    const value = f(k);
    known.set(k, { value });
    return value;
  };
};

/** The graph after each pass, the first being the graph itself. */
export const passed: (g: Graph) => readonly Graph[] = once((g) => {
  const all = [g];
  for (const [, pass] of passes) all.push(pass(all.at(-1) as Graph));
  return all;
});
export const compiled = (g: Graph): Graph => passed(g).at(-1) as Graph;

const plans: (t: Target) => (g: Graph) => Plan = once((target) =>
  once((g) => buildPlan(compiled(g), target, { donated: g.results.map(() => -1), maxBytes: Number.POSITIVE_INFINITY })),
);
/** The plan of a graph alone, without donation. */
export const planOf = (g: Graph, target: Target): Plan => plans(target)(g);

/** The results in float64 with their bounds. */
export const truth: (p: Program) => readonly Bounded[] = once(({ graph, inputs }) => bounded(graph, inputs));
