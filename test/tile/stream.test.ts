/**
 * Attention's kernels, forward and backward, against the float64 interpreter within the bound computed from the program: sizes on both sides of
 * every tile, one row, one key, rows of any width, batches, operands that lie anywhere. In the checking interpreter and, where there is a
 * compiler, as C; equal bits for one thread and two. With rows of bf16 and f16, against the graph in which every rounding is a cast.
 */

import { describe, expect, it, test } from 'vitest';
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { gpus } from '../../backends/cuda/gpus.ts';
import { compileGraph, type Precision } from '../../compiler/compile.ts';
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import type { Graph, HostData } from '../../compiler/graph/types.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import type { Target } from '../../compiler/target.ts';
import { einsum, type F32, grad, rearrange, softmax, spec, sum, trace, unbind } from '../../dsl/index.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { results } from '../../testing/host.ts';
import { runKernels } from '../../testing/kernels.ts';
import { numbers } from '../../testing/numbers.ts';
import { compiled, planOf, truth } from '../../testing/stages.ts';
import { draw, look, type Rows, staged } from './attention.ts';

const specsOf = (b: number, n: number, m: number, d: number, e: number): readonly string[] =>
  [`${b} ${n} ${d}`, `${b} ${m} ${d}`, `${b} ${m} ${e}`, `${b} ${n} ${e}`] as const;
const forward = (shapes: readonly string[]): Graph => trace(look as never, shapes.slice(0, 3).map((s) => spec(s)) as never).graph;
const backward = (shapes: readonly string[]): Graph =>
  trace(
    ((q: Rows, k: Rows, v: Rows, u: F32<string>) =>
      grad(([x, y, z]: readonly [Rows, Rows, Rows]) => sum('b n e ->' as string, look(x, y, z).mul(u)) as F32<''>)([q, k, v])) as never,
    shapes.map((s) => spec(s)) as never,
  ).graph;
const run = async (g: Graph, inputs: readonly Tensor64[], threads: number, precision: Precision = 'f32'): Promise<readonly HostData[]> => {
  const { executable } = await compileGraph(g, { backend: cpu({ threads }), precision });
  inputs.forEach((t, i) => executable.write(i, Float32Array.from(t.data as Float64Array)));
  await executable.run();
  const out = await results(executable);
  executable.dispose();
  return out;
};
/** As C: within the bound on one thread, and the same bits on several. */
const native = async (g: Graph, inputs: readonly Tensor64[], want: ReturnType<typeof truth>, threads: number): Promise<void> => {
  const [one, several] = [await run(g, inputs, 1), await run(g, inputs, threads)];
  expect(
    compare(
      want,
      one.map((d) => d as Float32Array),
    ).wrong,
  ).toBeUndefined();
  expect(several).toEqual(one);
};
const templates = (g: Graph): readonly string[] => planOf(g, cpuTarget(2)).launches.map((l) => l.label.split(':')[0] as string);
/** Vectors of 16, 8 and 4 numbers, and none; and blocks of many and of few threads, which share much memory and little. */
const targets: readonly Target[] = [
  ...[64, 32, 16, 4].map((vectorBytes) => ({ ...cpuTarget(2), vectorBytes, registers: vectorBytes === 64 ? 32 : 16 })),
  { ...cpuTarget(2), vectorBytes: 16, bf16Dot: false, maxThreads: 64, sharedBytes: 16384 },
  { ...cpuTarget(2), vectorBytes: 16, bf16Dot: false, maxThreads: 16, sharedBytes: 8192 },
];

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
    // blocks of few threads where there is little to do: every one of them is interpreted
    const many = size[1] * size[2] > 500;
    for (const target of targets.filter((t) => t.maxThreads === 1 || t.maxThreads > 16 === many)) {
      const seen = compare(want, runKernels(compiled(g), target, inputs));
      expect(seen.wrong).toBeUndefined();
      expect(seen.checked).toBe(seen.elements);
    }
    await native(g, inputs, want, 2);
  });
});

/** Pairs in vectors of 16 and of 4, and without vectors; and halves that are widened, because there is no instruction for them. */
const halves: readonly (readonly [name: string, precision: 'bf16' | 'f16', target: Target])[] = [
  ['bf16, 16 lanes', 'bf16', { ...(targets[0] as Target), bf16Dot: true }],
  ['bf16, 4 lanes', 'bf16', { ...(targets[2] as Target), bf16Dot: true }],
  ['bf16, 1 lane', 'bf16', { ...(targets[3] as Target), bf16Dot: true }],
  ['bf16, widened', 'bf16', { ...(targets[1] as Target), bf16Dot: false }],
  ['bf16, 64 threads', 'bf16', targets[4] as Target],
  ['f16', 'f16', { ...(targets[1] as Target), bf16Dot: true }],
  ['bf16, matrix units', 'bf16', gpus.sm_80],
  ['bf16, warp groups', 'bf16', { ...gpus.sm_90a, matrix: { dtypes: ['bf16', 'f16'], products: 1 } }],
  ['f16, matrix units of few threads', 'f16', { ...gpus.sm_90a, maxThreads: 64, sharedBytes: 48 << 10, workers: 2 }],
];
const odd: readonly (readonly [b: number, n: number, m: number, d: number, e: number])[] = [
  [2, 2, 3, 2, 2],
  [1, 33, 97, 3, 5],
  [2, 32, 12, 8, 34],
  [1, 49, 129, 16, 20],
  [2, 70, 72, 24, 40],
];
describe.each(odd)('halves: %i of %i queries, %i keys, widths %i and %i', (...size) => {
  const shapes = specsOf(...size);
  it.each([
    ['forward', forward(shapes), 3],
    ['backward', backward(shapes), 7],
  ] as const)('%s', { timeout: 60_000 }, async (_, g, casts) => {
    const inputs = draw(g, size[1]);
    for (const [name, precision, target] of halves) {
      const { said, final } = staged(g, precision);
      // the rows of one call, or of two that share queries, keys and values, all of a half
      const rows = said.nodes.flatMap((n) => (n.op.prim === 'call' ? n.op.body.params : [])).filter((p) => p.type.dtype === precision);
      expect(rows.length).toBe(casts);
      const seen = compare(bounded(said, inputs), runKernels(final, target, inputs));
      expect(seen.wrong && `${name}: ${seen.wrong}`).toBeUndefined();
      expect(seen.checked).toBe(seen.elements);
    }
    for (const precision of ['bf16', 'f16'] as const) {
      const [one, two] = [await run(g, inputs, 1, precision), await run(g, inputs, 2, precision)];
      expect(
        compare(
          bounded(staged(g, precision).said, inputs),
          one.map((d) => d as Float32Array),
        ).wrong,
      ).toBeUndefined();
      expect(two).toEqual(one);
    }
  });
});

test('scores far below zero, where what is past the last row or key would have an infinite weight', { timeout: 60_000 }, () => {
  const shapes = specsOf(1, 18, 37, 4, 3);
  for (const g of [forward(shapes), backward(shapes)]) {
    // every product of a query and a key is about -600
    const inputs = draw(g, 3).map((t, i) =>
      i < 2
        ? tensor64(
            t.type,
            Array.from(t.data, (v) => (i === 0 ? 1 : -1) * (14 + v / 64)),
          )
        : t,
    );
    const want = truth({ graph: g, inputs });
    for (const target of targets) expect(compare(want, runKernels(compiled(g), target, inputs)).wrong).toBeUndefined();
    const { said, final } = staged(g, 'bf16');
    expect(compare(bounded(said, inputs), runKernels(final, gpus.sm_80, inputs)).wrong).toBeUndefined();
  }
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
  const { graph } = trace(layer as never, [spec('2 9 24')] as never);
  expect(templates(graph)).toEqual(['stream']);
  // bf16 between two contractions: attention reads and stores halves, and no launch casts them
  const between = (x: F32<'2 9 8'>, w: F32<'8 24'>, u: F32<'8 5'>) =>
    einsum('b n c, c e -> b n e' as string, layer(einsum('b n c, c e -> b n e' as string, x, w) as F32<'2 9 24'>) as F32<string>, u);
  const traced = trace(between as never, [spec('2 9 8'), spec('8 24'), spec('8 5')] as never).graph;
  const plan = buildPlan(staged(traced, 'bf16').final, cpuTarget(2), { donated: [-1], maxBytes: Number.POSITIVE_INFINITY });
  const made = plan.launches.map((l) => l.label.split(':')[0] as string).filter((t) => t !== 'map');
  expect(made).toEqual(['gemm', 'stream', 'gemm']);
  const call = plan.launches.findIndex((l) => l.label.startsWith('stream'));
  expect(plan.kernels[plan.launches[call]?.kernel as number]?.buffers.map((b) => b.dtype)).toEqual(['bf16', 'bf16']);
  // what is left are the casts of parameters
  const maps = plan.launches.filter((l) => l.label.startsWith('map')).flatMap((l) => l.parts.map((p) => p.offsets[0] as number));
  expect(maps.sort()).toEqual(plan.inputs.map((s) => s.offset).sort());
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

test('infinite rows: gradients are NaN, infinite and finite where those of the definition are, on every target', {
  timeout: 60_000,
}, () => {
  const kind = (x: number): string => (Number.isNaN(x) ? 'NaN' : Number.isFinite(x) ? 'finite' : `${x}`);
  for (const [n, m, d] of [
    [5, 7, 3],
    [17, 1, 2],
    [1, 17, 1],
  ] as const) {
    const g = backward(specsOf(1, n, m, d, 2));
    for (let seed = 0; seed < 12; seed++) {
      const next = numbers(seed);
      const inputs = draw(g, seed).map((t) =>
        tensor64(
          t.type,
          Array.from(t.data, (x) => {
            const r = next();
            return r < 0.03 ? Number.POSITIVE_INFINITY : r < 0.06 ? Number.NEGATIVE_INFINITY : r < 0.2 ? 0 : x;
          }),
        ),
      );
      const want = interpret(g, inputs).map((t) => Array.from(t.data, kind));
      for (const target of targets) {
        const got = runKernels(compiled(g), target, inputs).map((x) => Array.from(x as ArrayLike<number>, kind));
        expect(got, `${n} queries, ${m} keys, seed ${seed}`).toEqual(want);
      }
    }
  }
});

describe('more queries than a block holds gradients of', () => {
  it('are taken in parts, whose gradients of keys and values are added', { timeout: 60_000 }, async () => {
    const g = backward(specsOf(1, 4200, 3, 256, 2));
    expect(templates(g).filter((t) => t === 'stream-grad')).toHaveLength(2);
    const inputs = draw(g, 8);
    const want = truth({ graph: g, inputs });
    await native(g, inputs, want, 3);
  });
  it('need memory that is linear in them', () => {
    // eight times as many; twice that, for the parts' gradients wait for each other
    const [short, long] = [5000, 40000].map((t) => planOf(backward(specsOf(1, t, t, 64, 64)), cpuTarget(2)).arenaBytes) as [number, number];
    expect(long).toBeLessThan(16 * short);
  });
});
