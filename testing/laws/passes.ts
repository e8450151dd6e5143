/**
 * Every pass keeps the meaning: the interpreter gives the same before and after, in every bit but the sign of a zero (x + 0 -> x).
 * After simplify, pow(x, 2) is x x and pow(x, -1) is 1 / x, which round otherwise than Math.pow, and scales multiplies sums instead of
 * terms: there the bound of float64 holds.
 */
import { passes } from '../../compiler/compile.ts';
import { showType } from '../../compiler/graph/infer.ts';
import { interpret, type Tensor64 } from '../../compiler/graph/interpret.ts';
import { print } from '../../compiler/graph/print.ts';
import { type Graph, isFloat } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { bounded, compare } from '../bound.ts';
import type { Program } from '../program.ts';
import { passed } from '../stages.ts';
import { exposed } from '../transforms.ts';
import { type Law, sameBits } from './law.ts';

const powers = (g: Graph): boolean => g.nodes.some((n) => n.op.prim === 'pow' || ('body' in n.op && powers(n.op.body)));
/** With zeros made positive. */
const unsigned = (ts: readonly Tensor64[]): readonly Tensor64[] =>
  ts.map((t) => (isFloat(t.type.dtype) ? { type: t.type, data: (t.data as Float64Array).map((x) => x + 0) } : t));

/** A pass that changes what the graph computes, as a sentence. */
const changes = ({ graph, inputs }: Program): string | undefined => {
  const stages = passed(graph);
  const want = unsigned(interpret(graph, inputs));
  const at = passes.findIndex(([name]) => name === 'scales');
  const moved = print(stages[at] as Graph) !== print(stages[at + 1] as Graph);
  const close = powers(graph) || moved ? bounded(graph, inputs, 'f64') : undefined;
  for (const [i, [name]] of passes.entries()) {
    const after = stages[i + 1] as Graph;
    verify(after);
    const signature = (g: Graph): string =>
      [...g.params.map((v) => v.name), ...[...g.params, ...g.results].map((v) => showType(v.type))].join();
    if (signature(after) !== signature(graph)) return `${name} changes the signature`;
    const got = unsigned(interpret(after, inputs));
    const near = powers(graph) || i >= at ? close : undefined;
    // both sides are within the bound of the exact results
    const wrong = near
      ? compare(
          near.map(({ value, error }) => ({ value, error: error.map((e) => 2 * e) })),
          got.map((t) => t.data),
        ).wrong
      : sameBits(want, got);
    if (wrong !== undefined) return `after ${name}: ${wrong}`;
  }
  return undefined;
};

export const passLaws: readonly Law[] = [
  {
    name: 'passes',
    says: 'every pass preserves what the interpreter computes',
    // what is dead goes early: as results, all values are seen by all passes
    check: ({ graph, inputs }) => changes({ graph, inputs }) ?? changes({ graph: exposed(graph), inputs }),
  },
];
