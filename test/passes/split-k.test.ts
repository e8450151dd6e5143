/** Split-K: which contractions are cut, into what, and that programs keep their meaning; then kernels of one that the compiler cuts by itself. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { splitK } from '../../compiler/passes/split-k.ts';
import type { HostData } from '../../index.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { decode, encode, results, rounded } from '../../testing/host.ts';
import { drawLike, numbers } from '../../testing/numbers.ts';
import { arbitraryProgram } from '../../testing/program.ts';

const dots = (g: Graph): number => g.nodes.filter((n) => n.op.prim === 'dot').length;
const dot = (a: string, b: string, out: string, attributes: string): Graph =>
  parse(`graph(%0: f32[${a}], %1: f32[${b}]) {\n%2: f32[${out}] = dot(%0, %1) ${attributes} dtype=f32\nreturn %2\n}\n`);

test('the parts are a batch, and their sums are added', () => {
  const cut = splitK({ results: 75, depth: 4, parts: 8 });
  const long = dot('3 12 5', '5 3 12', '3 5 5', 'batch=[0][1] contract=[1][2]');
  expect(print(cut(long), { meta: false })).toBe(`graph (%0: f32[3 12 5], %1: f32[5 3 12]) {
  %2: f32[3 3 4 5] = reshape(%0) shape=[3 3 4 5]
  %3: f32[5 3 3 4] = reshape(%1) shape=[5 3 3 4]
  %4: f32[3 3 5 5] = dot(%2, %3) batch=[0 1][1 2] contract=[2][3] dtype=f32
  %5: f32[3 5 5] = reduceSum(%4) axes=[1]
  return %5
}
`);
});

test('of several axes that are summed the longest is cut; many results, short sums, sums without equal parts, rows with rows are left', () => {
  const cut = (g: Graph): string => print(splitK({ results: 64, depth: 4, parts: 3 })(g), { meta: false });
  expect(cut(dot('2 12 7', '12 2 7', '7 7', 'batch=[][] contract=[0 1][1 0]'))).toContain('batch=[1][0] contract=[0 2][2 1]');
  for (const same of [
    dot('9 12', '9 12', '9 9', 'batch=[][] contract=[1][1]'),
    dot('8 7', '8 7', '8 8', 'batch=[][] contract=[1][1]'),
    dot('8 13', '8 13', '8 8', 'batch=[][] contract=[1][1]'),
    dot('8', '8', '8 8', 'batch=[][] contract=[][]'),
    dot('9 12', '9 12', '9', 'batch=[0][0] contract=[1][1]'),
    dot('12', '12', '', 'batch=[][] contract=[0][0]'),
  ])
    expect(cut(same)).toBe(print(same, { meta: false }));
});

test('programs keep their meaning', () => {
  const cut = splitK({ results: 1 << 20, depth: 1, parts: 4 });
  let seen = 0;
  fc.assert(
    fc.property(arbitraryProgram({ maxNodes: 16 }), ({ graph, inputs }) => {
      const after = cut(graph);
      verify(after);
      seen += after.nodes.length > graph.nodes.length ? 1 : 0;
      // both sides are within the bound of the exact results
      const near = bounded(graph, inputs, 'f64').map(({ value, error }) => ({ value, error: error.map((x) => 2 * x) }));
      const got = interpret(after, inputs).map((t) => t.data);
      expect(compare(near, got).wrong).toBeUndefined();
    }),
    { seed: 12, numRuns: 300 },
  );
  expect(seen).toBeGreaterThan(20);
});

/** Gradients of a head's hidden features and weights: few rows, many prototypes. */
const skinny = (): Graph => {
  const b = builder();
  const [g, w] = [b.param({ dtype: 'f32', shape: [3, 16384] }), b.param({ dtype: 'f32', shape: [16384, 20] })];
  const [nn, tn] = [
    b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [g, w]),
    b.one({ prim: 'dot', batch: [[], []], contract: [[0], [0]], dtype: 'f32' }, [w, w]),
  ];
  return b.build([nn, tn]);
};

test('on the cpu backend: cut by default, within the bound of float64, the same bits on two threads', async () => {
  const graph = skinny();
  const next = numbers(5);
  const inputs = graph.params.map((p) => rounded(drawLike(p.type, next)));
  const run = async (threads: number): Promise<readonly HostData[]> => {
    const { executable, report } = await compileGraph(graph, { backend: cpu({ threads, shareAll: true }) });
    try {
      expect(report.plan?.launches.filter((l) => l.label.startsWith('gemm')).length).toBe(2);
      expect(report.plan?.launches.filter((l) => l.label.startsWith('reduce')).length).toBe(2);
      inputs.forEach((x, i) => executable.write(i, encode(x)));
      await executable.run();
      return await results(executable);
    } finally {
      executable.dispose();
    }
  };
  const one = await run(1);
  expect(dots(graph)).toBe(2);
  const got = one.map((bytes, i) => decode(graph.results[i]?.type.dtype ?? 'f32', bytes));
  expect(compare(bounded(graph, inputs), got).wrong).toBeUndefined();
  expect(await run(2)).toEqual(one);
});
