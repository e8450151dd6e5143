/** A program at the stages of the compiler, each made once however many laws look at it. */
import { passes, passesFor } from '../compiler/compile.ts';
import type { FloatType, Graph } from '../compiler/graph/types.ts';
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

/** The graph in which every rounding of contractions' operands is a cast, as the precision pass leaves it. */
export const castGraph = (g: Graph, precision: FloatType): Graph => {
  const all = passesFor(precision);
  const at = all.findIndex(([name]) => name === 'precision');
  return all.slice(0, at + 1).reduce((x, [, pass]) => pass(x), g);
};

const plain = {
  f32: once(({ graph, inputs }: Program) => bounded(graph, inputs)),
  flushing: once(({ graph, inputs }: Program) => bounded(graph, inputs, 'flushing')),
} as const;
/** Arithmetic as the bounds of a target have it. */
export const arithmeticOf = ({ flushes }: Pick<Target, 'flushes'>): keyof typeof plain => (flushes ? 'flushing' : 'f32');
/** The results in float64 with their bounds, of a program whose contractions take operands of a precision. */
export const truth = (p: Program, precision: FloatType = 'f32', arithmetic: keyof typeof plain = 'f32'): readonly Bounded[] =>
  precision === 'f32' ? plain[arithmetic](p) : bounded(castGraph(p.graph, precision), p.inputs, arithmetic);
