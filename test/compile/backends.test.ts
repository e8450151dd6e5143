/**
 * Law: what the C backend computes is what the float64 interpreter computes, within a bound that is propagated through the program
 * with it (testing/bound.ts). Random programs over all primitives and dtypes go through the whole pipeline: passes,
 * fusion, plan with one arena, C compiler, threads. Programs are compiled side by side in one plan, so their buffers share the arena.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import type { Backend } from '../../compiler/target.ts';
import { bounded, type Comparison, compare } from '../../testing/bound.ts';
import { decode, encode, results, rounded } from '../../testing/host.ts';
import { numbers } from '../../testing/numbers.ts';
import { allPrims, arbitraryProgram, type Program } from '../../testing/program.ts';
import { together } from '../../testing/together.ts';
import { weightedGrad } from '../../testing/transforms.ts';
import { programs as chains } from '../fuse/programs.ts';
import { sample } from '../fuse/run.ts';

const hollow = ({ graph }: Program): boolean =>
  [...graph.params, ...graph.nodes.flatMap((n) => n.outputs)].some((v) => v.type.shape.includes(0));

const run = async (cases: readonly Program[], backend: Backend, donated?: readonly number[]): Promise<number[][]> => {
  const graph = together(cases.map((c) => c.graph));
  const { executable } = await compileGraph(graph, { backend, donated });
  cases.flatMap((c) => c.inputs).forEach((x, i) => executable.write(i, encode(x)));
  await executable.run();
  const all = await results(executable);
  const out = executable.outputs.map((t, o) => Array.from(decode(t.dtype, all[o] as (typeof all)[number])));
  executable.dispose();
  return out;
};

/** The first element beyond its bound, or undefined, and the share of elements that have one. */
const deviation = (cases: readonly Program[], got: readonly (readonly number[])[]): Comparison =>
  compare(
    cases.flatMap(({ graph, inputs }) => bounded(graph, inputs)),
    got,
  );

const regions = new Set(['call', 'scan', 'perShard', 'reshard', 'axisIndex']);
const prims = new Set([...allPrims].filter((p) => !regions.has(p)));
const typed: Program[] = fc
  .sample(arbitraryProgram({ prims, maxNodes: 12 }), { seed: 31, numRuns: 60 })
  .map(({ graph, inputs }) => ({ graph, inputs: inputs.map(rounded) }));
const floats: Program[] = fc
  .sample(chains, { seed: 32, numRuns: 40 })
  .map((graph, k) => ({ graph, inputs: graph.params.map((p, i) => sample(p.type, 10 * k + i)) }));
/** Programs in which tensors without elements meet such with elements. */
const empties: Program[] = fc
  .sample(arbitraryProgram({ prims, maxNodes: 12, sizes: [0, 1, 2, 3] }), { seed: 33, numRuns: 120 })
  .map(({ graph, inputs }) => ({ graph, inputs: inputs.map(rounded) }))
  .filter(hollow);
/** Gradients of such programs with respect to all their floats. */
const gradients: Program[] = fc
  .sample(arbitraryProgram({ prims, maxNodes: 8, sizes: [0, 1, 2, 3], differentiable: true }), { seed: 34, numRuns: 120 })
  .filter(hollow)
  .map(({ graph, inputs }, k) => ({ graph: weightedGrad(graph, numbers(k)), inputs: inputs.map(rounded) }));

test.each([
  ['every primitive and dtype', typed],
  ['longer chains of floats', floats],
  ['tensors without elements', empties],
  ['their gradients', gradients],
])('C agrees with float64: %s', { timeout: 120_000 }, async (_, cases) => {
  expect(cases.length).toBeGreaterThan(20);
  const got = await run(cases, cpu({ threads: 2 }));
  const { wrong, checked, elements } = deviation(cases, got);
  expect(wrong).toBeUndefined();
  // the bounds are finite nearly everywhere, or the law would say nothing
  expect(checked / elements).toBeGreaterThan(0.9);
});

test('the reference backend is the interpreter', async () => {
  const cases = [...typed, ...empties];
  const got = await run(cases, reference);
  let o = 0;
  for (const { graph, inputs } of cases) for (const { data } of interpret(graph, inputs)) expect(got[o++]).toEqual([...data]);
});

test('donation changes where results lie, not what they are', { timeout: 120_000 }, async () => {
  // every result takes the place of the first unused parameter of its program that has its type
  const donated: number[] = [];
  let from = 0;
  for (const { graph } of floats) {
    const used = new Set<number>();
    for (const r of graph.results) {
      const i = graph.params.findIndex(
        (p, k) => !used.has(k) && p.type.dtype === r.type.dtype && p.type.shape.join() === r.type.shape.join(),
      );
      if (i >= 0) used.add(i);
      donated.push(i < 0 ? -1 : from + i);
    }
    from += graph.params.length;
  }
  expect(donated.filter((d) => d >= 0).length).toBeGreaterThan(10);
  const backend = cpu({ threads: 2 });
  expect(await run(floats, backend, donated)).toEqual(await run(floats, backend));
});
