/**
 * Attention's kernels, forward and backward, against the float64 interpreter within the bound computed from the program: sizes on both sides of
 * every tile, one row, one key, rows of any width, batches, operands that lie anywhere. In the checking interpreter and, where there is a
 * compiler, as C; equal bits for one thread and two.
 */
import { describe, expect, it, test } from 'vitest';
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { countOf } from '../../compiler/graph/tensor64.ts';
import type { Graph, HostData } from '../../compiler/graph/types.ts';
import type { Target } from '../../compiler/target.ts';
import { einsum, type F32, grad, rearrange, softmax, spec, sum, trace, unbind } from '../../dsl/index.ts';
import { compare } from '../../testing/bound.ts';
import { rounded } from '../../testing/host.ts';
import { runKernels } from '../../testing/kernels.ts';
import { numbers } from '../../testing/numbers.ts';
import { compiled, planOf, truth } from '../../testing/stages.ts';

type Rows = F32<'B N D'>;
const look = (q: Rows, k: Rows, v: Rows): F32<string> =>
  einsum(
    'b n m, b m e -> b n e',
    softmax(einsum('b n d, b m d -> b n m', q.mul(0.7), k as unknown as F32<'B M D'>)),
    v as unknown as F32<'B M E'>,
  ) as F32<string>;
const specsOf = (b: number, n: number, m: number, d: number, e: number): readonly string[] =>
  [`${b} ${n} ${d}`, `${b} ${m} ${d}`, `${b} ${m} ${e}`, `${b} ${n} ${e}`] as const;
const forward = (shapes: readonly string[]): Graph => trace(look as never, shapes.slice(0, 3).map((s) => spec(s)) as never).graph;
const backward = (shapes: readonly string[]): Graph =>
  trace(
    ((q: Rows, k: Rows, v: Rows, u: F32<string>) =>
      grad(([x, y, z]: readonly [Rows, Rows, Rows]) => sum('b n e ->' as string, look(x, y, z).mul(u)) as F32<''>)([q, k, v])) as never,
    shapes.map((s) => spec(s)) as never,
  ).graph;
const draw = (g: Graph, seed: number): readonly Tensor64[] => {
  const next = numbers(seed);
  return g.params.map((p) =>
    rounded(
      tensor64(
        p.type,
        Array.from({ length: countOf(p.type) }, () => 4 * next() - 2),
      ),
    ),
  );
};
const run = async (g: Graph, inputs: readonly Tensor64[], threads: number): Promise<readonly HostData[]> => {
  const { executable } = await compileGraph(g, { backend: cpu({ threads }) });
  inputs.forEach((t, i) => executable.write(i, Float32Array.from(t.data as Float64Array)));
  await executable.run();
  const out = g.results.map((_, i) => executable.read(i));
  executable.dispose();
  return out;
};
const templates = (g: Graph): readonly string[] => planOf(g, cpuTarget(2)).launches.map((l) => l.label.split(':')[0] as string);
/** Vectors of 16, 8 and 4 numbers, and none. */
const targets: readonly Target[] = [64, 32, 16, 4].map((vectorBytes) => ({
  ...cpuTarget(2),
  vectorBytes,
  registers: vectorBytes === 64 ? 32 : 16,
}));

const sizes: readonly (readonly [b: number, n: number, m: number, d: number, e: number])[] = [
  [1, 1, 1, 1, 1],
  [2, 5, 7, 4, 6],
  [1, 33, 97, 3, 5],
  [3, 16, 12, 8, 16],
  [1, 49, 200, 16, 20],
  [1, 65, 192, 7, 33],
];
describe.each(sizes)('%i of %i queries, %i keys, widths %i and %i', (...size) => {
  const shapes = specsOf(...size);
  it.each([
    ['forward', forward(shapes)],
    ['backward', backward(shapes)],
  ] as const)('%s', { timeout: 60_000 }, async (_, g) => {
    const inputs = draw(g, size[1]);
    const want = truth({ graph: g, inputs });
    for (const target of targets) {
      const seen = compare(want, runKernels(compiled(g), target, inputs));
      expect(seen.wrong).toBeUndefined();
      expect(seen.checked).toBe(seen.elements);
    }
    const [one, two] = [await run(g, inputs, 1), await run(g, inputs, 2)];
    expect(
      compare(
        want,
        one.map((d) => d as Float32Array),
      ).wrong,
    ).toBeUndefined();
    expect(two).toEqual(one);
  });
});

test('a layer reads queries, keys and values where its projection wrote them, and stores for the next', () => {
  const layer = (x: F32<'2 9 24'>) => {
    const [q, k, v] = unbind(rearrange('b n (t h k) -> t b h n k', x, { t: 3, h: 2 })) as unknown as [Rows, Rows, Rows];
    return rearrange(
      'b h n k -> b n (h k)' as string,
      einsum(
        'b h n m, b h m k -> b h n k' as string,
        softmax(einsum('b h n k, b h m k -> b h n m' as string, q, k) as F32<string>),
        v,
      ) as F32<string>,
    );
  };
  expect(templates(trace(layer as never, [spec('2 9 24')] as never).graph)).toEqual(['stream']);
});

test('memory grows with the tokens, not with their square', () => {
  const bytes = (n: number): number => planOf(backward(specsOf(1, n, n, 16, 16)), cpuTarget(2)).arenaBytes;
  expect(bytes(4096) / bytes(1024)).toBeLessThan(4.01);
  expect(bytes(4096)).toBeLessThan(4096 * 16 * 4 * 16);
});

test('infinities and NaN come out as the definition says', async () => {
  const g = forward(specsOf(1, 3, 40, 2, 2));
  const inputs = draw(g, 9);
  const set = (i: number, at: number, x: number): unknown => Object.assign(inputs[i]?.data as object, { [at]: x });
  // row 0 has a score of NaN; row 1 has one of +inf; key 3 is -inf away from row 2
  set(0, 0, Number.NaN);
  set(0, 2, Number.POSITIVE_INFINITY);
  set(0, 3, 0.5);
  set(1, 6, Number.NEGATIVE_INFINITY);
  const want = interpret(g, inputs)[0]?.data as Float64Array;
  for (const got of [runKernels(compiled(g), cpuTarget(2), inputs)[0], (await run(g, inputs, 2))[0]] as ArrayLike<number>[])
    expect(Array.from(got, Number.isNaN)).toEqual(Array.from(want, Number.isNaN));
});
