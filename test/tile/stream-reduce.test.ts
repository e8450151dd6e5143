/**
 * Contractions whose columns are reduced as they are made, against the float64 interpreter within the bound computed from the program: rows and
 * columns on both sides of every tile, batches, masks and scales between the two, every reduction, halves. In the checking interpreter at several
 * vector widths and as C, with equal bits for one thread and three. And what must stay two kernels.
 */
import { describe, expect, it, test } from 'vitest';
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import type { Graph, HostData } from '../../compiler/graph/types.ts';
import type { Target } from '../../compiler/target.ts';
import { abs, argmax, einsum, exp, type F32, iota, max, min, rearrange, softmax, spec, sum, trace, where } from '../../dsl/index.ts';
import { nearestOther } from '../../models/losses.ts';
import { compare } from '../../testing/bound.ts';
import { encode, results } from '../../testing/host.ts';
import { runKernels } from '../../testing/kernels.ts';
import { compiled, planOf, truth } from '../../testing/stages.ts';
import { draw, staged } from './attention.ts';

type X = F32<string>;
const traced = (f: (...xs: never[]) => unknown, ...shapes: readonly string[]): Graph =>
  trace(f as never, shapes.map((s) => spec(s)) as never).graph;
const templates = (g: Graph, target: Target = cpuTarget(2)): readonly string[] =>
  planOf(g, target).launches.map((l) => l.label.split(':')[0] as string);
const targets: readonly Target[] = [64, 32, 16, 4].map((vectorBytes) => ({
  ...cpuTarget(2),
  vectorBytes,
  registers: vectorBytes === 64 ? 32 : 16,
}));

const scores = (x: X, y: X): X => einsum('b i d, b j d -> b i j' as string, x, y) as X;
const self = (n: string, m: string): F32<string> => rearrange('i -> i 1' as string, iota(n)).eq(iota(m)) as never;
const programs = {
  'the nearest other row': (x: X, y: X) => argmax('b i j -> b i' as string, where(self('5', '5') as never, -1, scores(x, y)) as never),
  'the largest': (x: X, y: X) => max('b i j -> b i' as string, scores(x, y).mul(0.5).add(1)),
  'the smallest': (x: X, y: X) => min('b i j -> b i' as string, abs(scores(x, y))),
} as const;

const sizes: readonly (readonly [b: number, n: number, m: number, d: number])[] = [
  [1, 16, 2, 2],
  [2, 21, 7, 4],
  [1, 33, 97, 3],
  [3, 16, 12, 8],
  [1, 50, 200, 20],
  [1, 65, 31, 37],
];
const run = async (g: Graph, inputs: ReturnType<typeof draw>, threads: number): Promise<readonly HostData[]> => {
  const { executable } = await compileGraph(g, { backend: cpu({ threads, shareAll: true }) });
  inputs.forEach((t, i) => executable.write(i, encode(t)));
  await executable.run();
  const out = await results(executable);
  executable.dispose();
  return out;
};

describe.each(sizes)('%i of %i rows, %i columns, width %i', (b, n, m, d) => {
  it.each(Object.keys(programs) as (keyof typeof programs)[])('%s', { timeout: 60_000 }, async (name) => {
    const masked = (x: X, y: X) => argmax('b i j -> b i' as string, where(self(`${n}`, `${m}`) as never, -1, scores(x, y)) as never);
    const g = traced(name === 'the nearest other row' ? masked : programs[name], `${b} ${n} ${d}`, `${b} ${m} ${d}`);
    expect(templates(g)).toEqual(['stream-reduce']);
    const inputs = draw(g, n);
    const want = truth({ graph: g, inputs });
    for (const target of targets) {
      const seen = compare(want, runKernels(compiled(g), target, inputs));
      expect(seen.wrong).toBeUndefined();
      expect(seen.checked).toBe(seen.elements);
    }
    const [one, three] = [await run(g, inputs, 1), await run(g, inputs, 3)];
    expect(compare(want, one as never).wrong).toBeUndefined();
    expect(three).toEqual(one);
  });
});

test('halves are multiplied in pairs where the target does, and widened where not', () => {
  const g = traced(programs['the largest'], '2 35 9', '2 50 9');
  const inputs = draw(g, 4);
  for (const target of [
    { ...(targets[0] as Target), bf16Dot: true },
    { ...(targets[2] as Target), bf16Dot: true },
    { ...(targets[1] as Target), bf16Dot: false },
  ]) {
    const { said, final } = staged(g, 'bf16');
    expect(templates(final, target)).toContain('stream-reduce');
    const seen = compare(truth({ graph: said, inputs }), runKernels(final, target, inputs));
    expect(seen.wrong).toBeUndefined();
    expect(seen.checked).toBe(seen.elements);
  }
});

test("KoLeo's nearest neighbour is one kernel, without the matrix of products", () => {
  const plan = planOf(traced(nearestOther as never, '64 384'), cpuTarget(2));
  expect(plan.launches.map((l) => l.label.split(':')[0])).toEqual(['stream-reduce']);
  expect(plan.lifetimes.filter((l) => l.slot.bytes >= 64 * 64 * 4 && l.slot.type.shape.join() !== '64,384')).toEqual([]);
});

test.each([
  ['products that something else reads', (x: X, y: X) => [max('b i j -> b i' as string, scores(x, y)), scores(x, y)]],
  ['a reduction over rows', (x: X, y: X) => max('b i j -> b j' as string, scores(x, y))],
  ['a sum, of which one lane would add a whole row', (x: X, y: X) => sum('b i j -> b i' as string, exp(scores(x, y)))],
  ['a reduction of everything', (x: X, y: X) => max('b i j ->' as string, scores(x, y))],
  [
    'products read at other places',
    (x: X, y: X) => max('b i j -> b i' as string, scores(x, y).add(rearrange('b i j -> b j i' as string, scores(x, y)))),
  ],
  ['a softmax', (x: X, y: X) => max('b i j -> b i' as string, softmax(scores(x, y)) as never)],
] as const)('stays two kernels: %s', (_, f) => {
  const g = traced(f as never, '2 40 8', '2 40 8');
  expect(templates(g)).toContain('gemm');
  expect(templates(g)).not.toContain('stream-reduce');
});

test('stays two kernels: rows that no cache holds, few rows, and blocks of several threads', () => {
  const wide = traced(programs['the largest'], '1 40 8192', '1 40 8192');
  const long = traced(programs['the largest'], '1 40 64', '1 100000 64');
  const few = traced(programs['the largest'], '1 15 64', '1 40 64');
  for (const g of [wide, long, few]) expect(templates(g)).not.toContain('stream-reduce');
  const small = traced(programs['the largest'], '1 40 8', '1 40 8');
  expect(templates(small, { ...cpuTarget(2), vectorBytes: 16, bf16Dot: false, maxThreads: 64, sharedBytes: 16384 })).toEqual([
    'gemm',
    'reduce',
  ]);
});
