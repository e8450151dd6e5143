/**
 * Law: what the C backend computes is what the float64 interpreter computes, within a bound that is propagated through the program
 * with it (Higham's rules; see ../fuse/run.ts). Random programs over all primitives and dtypes go through the whole pipeline: passes,
 * fusion, plan with one arena, C compiler, threads. Programs are compiled side by side in one plan, so their buffers share the arena.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { type Tensor64, tensor64 } from '../../compiler/graph/tensor64.ts';
import type { HostData } from '../../compiler/graph/types.ts';
import { type DType, type Graph, isFloat } from '../../compiler/graph/types.ts';
import { bitsOf, foldCast, numberOf } from '../../compiler/kernel/scalar.ts';
import type { Backend } from '../../compiler/target.ts';
import { programs as chains } from '../fuse/programs.ts';
import { runReference, sample } from '../fuse/run.ts';
import { allPrims, programs } from '../graph/arbitrary.ts';
import { together } from '../plan/programs.ts';
import { gradGraph, numbers } from '../transform/support.ts';

const half = (t: DType): t is 'f16' | 'bf16' => t === 'f16' || t === 'bf16';
const arrays = { f32: Float32Array, f16: Uint16Array, bf16: Uint16Array, i32: Int32Array, u32: Uint32Array, bool: Uint8Array };
const encode = ({ type, data }: Tensor64): HostData => {
  const numbers = Array.from(data, (x) => (half(type.dtype) ? bitsOf(foldCast(x, 'f64', type.dtype), type.dtype) : x));
  return arrays[type.dtype].from(numbers);
};
const decode = (dtype: DType, data: HostData): number[] =>
  Array.from(data, (x) => (half(dtype) && data instanceof Uint16Array ? numberOf(x, dtype) : x));
/** The argument as its dtype holds it, so that all backends start from the same number. */
const rounded = ({ type, data }: Tensor64): Tensor64 =>
  tensor64(
    type,
    Array.from(data, (x) => (isFloat(type.dtype) ? foldCast(x, 'f64', type.dtype) : x)),
  );

interface Case {
  readonly graph: Graph;
  readonly inputs: readonly Tensor64[];
}
const hollow = ({ graph }: Case): boolean =>
  [...graph.params, ...graph.nodes.flatMap((n) => n.outputs)].some((v) => v.type.shape.includes(0));

const run = async (cases: readonly Case[], backend: Backend, donated?: readonly number[]): Promise<number[][]> => {
  const graph = together(cases.map((c) => c.graph));
  const { executable } = await compileGraph(graph, { backend, donated });
  cases.flatMap((c) => c.inputs).forEach((x, i) => executable.write(i, encode(x)));
  await executable.run();
  const out = executable.outputs.map((t, o) => decode(t.dtype, executable.read(o)));
  executable.dispose();
  return out;
};

/** The first element beyond its bound, or undefined. Bounds are infinite where rounding may turn a comparison. */
const deviation = (cases: readonly Case[], got: readonly (readonly number[])[]): { readonly wrong?: string; readonly checked: number } => {
  let [o, checked] = [0, 0];
  for (const [k, { graph, inputs }] of cases.entries())
    for (const { value, error } of runReference(graph, inputs)) {
      const mine = got[o++] as readonly number[];
      if (mine.length !== value.length) return { wrong: `program ${k}: ${mine.length} elements, not ${value.length}`, checked };
      for (let i = 0; i < value.length; i++) {
        const [t, x, bound] = [value[i] as number, mine[i] as number, error[i] as number];
        if (bound === Number.POSITIVE_INFINITY) continue;
        checked++;
        if (Object.is(t, x) || (Number.isNaN(t) && Number.isNaN(x))) continue;
        if (!(Math.abs(t - x) <= 2 * bound)) return { wrong: `program ${k}, element ${i}: ${x} is not ${t} within ${bound}`, checked };
      }
    }
  return { checked };
};

const regions = new Set(['call', 'scan', 'perShard', 'reshard', 'axisIndex']);
const prims = new Set([...allPrims].filter((p) => !regions.has(p)));
const typed: Case[] = fc
  .sample(programs({ prims, maxNodes: 12 }), { seed: 31, numRuns: 60 })
  .map(({ graph, inputs }) => ({ graph, inputs: inputs.map(rounded) }));
const floats: Case[] = fc
  .sample(chains, { seed: 32, numRuns: 40 })
  .map((graph, k) => ({ graph, inputs: graph.params.map((p, i) => sample(p.type, 10 * k + i)) }));
/** Programs in which tensors without elements meet such with elements. */
const empties: Case[] = fc
  .sample(programs({ prims, maxNodes: 12, sizes: [0, 1, 2, 3] }), { seed: 33, numRuns: 120 })
  .map(({ graph, inputs }) => ({ graph, inputs: inputs.map(rounded) }))
  .filter(hollow);
/** Gradients of such programs with respect to all their floats. */
const gradients: Case[] = fc
  .sample(programs({ prims, maxNodes: 8, sizes: [0, 1, 2, 3], differentiable: true }), { seed: 34, numRuns: 120 })
  .filter(hollow)
  .map(({ graph, inputs }, k) => ({ graph: gradGraph(graph, numbers(k)), inputs: inputs.map(rounded) }));

test.each([
  ['every primitive and dtype', typed],
  ['longer chains of floats', floats],
  ['tensors without elements', empties],
  ['their gradients', gradients],
])('C agrees with float64: %s', { timeout: 120_000 }, async (_, cases) => {
  expect(cases.length).toBeGreaterThan(20);
  const got = await run(cases, cpu({ threads: 2 }));
  const { wrong, checked } = deviation(cases, got);
  expect(wrong).toBeUndefined();
  // the bounds are finite nearly everywhere, or the law would say nothing
  expect(checked / got.reduce((n, x) => n + x.length, 0)).toBeGreaterThan(0.6);
});

test('the reference backend is the interpreter', async () => {
  const cases = [...typed, ...empties];
  const got = await run(cases, reference);
  let o = 0;
  for (const { graph, inputs } of cases) for (const { value } of runReference(graph, inputs)) expect(got[o++]).toEqual(value);
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
