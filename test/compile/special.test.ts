/**
 * NaN, infinities and zeros through the whole pipeline: C gives exactly what the float64 interpreter gives. Generated
 * programs keep away from these numbers (testing/program.ts), so they are laid out here in full: every pair of them.
 */
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { type Builder, builder } from '../../compiler/graph/builder.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import { tensor64 } from '../../compiler/graph/tensor64.ts';
import type { Compare, Value } from '../../compiler/graph/types.ts';
import { results } from '../../testing/host.ts';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const special = [nan, inf, -inf, 0, -0, 1, -1, 2, -2, 0.5, -0.5, 3];

/** Results of f on C and in float64, rounded to f32. */
const both = async (
  args: readonly { readonly shape: readonly number[]; readonly data: readonly number[] }[],
  f: (b: Builder, xs: readonly Value[]) => readonly Value[],
): Promise<{ readonly c: number[][]; readonly truth: number[][] }> => {
  const b = builder();
  const graph = b.build(
    f(
      b,
      args.map((a) => b.param({ dtype: 'f32', shape: a.shape })),
    ),
  );
  const { executable } = await compileGraph(graph, { backend: cpu({ threads: 2 }) });
  args.forEach((a, i) => executable.write(i, Float32Array.from(a.data)));
  await executable.run();
  const c = (await results(executable)).map((x) => Array.from(x));
  executable.dispose();
  const wanted = interpret(
    graph,
    args.map((a) => tensor64({ dtype: 'f32', shape: a.shape }, a.data)),
  );
  return { c, truth: wanted.map((t) => Array.from(t.data, (x) => (t.type.dtype === 'f32' ? Math.fround(x) : x))) };
};

const lefts = special.flatMap((x) => special.map(() => x));
const rights = special.flatMap(() => special);
const pairs = [lefts, rights].map((data) => ({ shape: [data.length], data }));
const compares: readonly Compare[] = ['eq', 'ne', 'lt', 'le', 'gt', 'ge'];

test('pow, max, min and comparisons of every pair', { timeout: 60_000 }, async () => {
  const { c, truth } = await both(pairs, (b, [x, y]) => {
    const [p, q] = [x as Value, y as Value];
    return [b.pow(p, q), b.max(p, q), b.min(p, q), ...compares.map((cmp) => b.compare(cmp, p, q))];
  });
  // which zero is the larger one is left to a backend
  const [plain, wanted] = [c, truth].map((all) => all.map((r, i) => (i === 1 || i === 2 ? r.map((v) => v + 0) : r)));
  expect(plain).toEqual(wanted);
  const at = (x: number, y: number): number | undefined =>
    c[0]?.[special.indexOf(x) * special.length + special.findIndex((s) => Object.is(s, y))];
  expect([at(1, nan), at(1, inf), at(1, -inf), at(-1, inf), at(-1, -inf), at(-1, nan)]).toEqual([1, 1, 1, 1, 1, nan]);
});

test('pow folded at compile time, and exponents known beforehand', { timeout: 60_000 }, async () => {
  const { c, truth } = await both([{ shape: [special.length], data: special }], (b, [x]) =>
    special.flatMap((k) => [
      b.pow(x as Value, b.fill(k, (x as Value).type)),
      b.pow(b.fill(k, (x as Value).type), x as Value),
      b.mul(b.stopGradient(x as Value), b.pow(b.fill(1, (x as Value).type), b.fill(k, (x as Value).type))),
    ]),
  );
  expect(c).toEqual(truth);
});

test('argmax: the first NaN wins, then the first maximum; along rows and columns, in vectors and left-overs', {
  timeout: 60_000,
}, async () => {
  const rows: number[][] = [
    [1, nan, 7, nan],
    [nan, nan, nan, nan],
    [-inf, -inf, -inf, -inf],
    [inf, 2, nan, inf],
    [3, inf, inf, -inf],
    [-0, 0, -0, 0],
  ];
  const wide = [5, 31, 40, 67, 128].flatMap((n) =>
    [[], [n - 1], [2, n - 1], [0, 3], [n - 2, n - 1]].map((at) =>
      Array.from({ length: n }, (_, i) => (at.includes(i) ? nan : Math.sin(i * n))),
    ),
  );
  for (const group of [rows, ...[5, 31, 40, 67, 128].map((n) => wide.filter((r) => r.length === n))]) {
    const [m, n] = [group.length, (group[0] as number[]).length];
    const { c, truth } = await both([{ shape: [m, n], data: group.flat() }], (b, [x]) => [
      b.one({ prim: 'argmax', axis: 1 }, [x as Value]),
      b.one({ prim: 'argmax', axis: 0 }, [b.transpose(x as Value, [1, 0])]),
      b.one({ prim: 'argmax', axis: 0 }, [x as Value]),
    ]);
    expect(c).toEqual(truth);
  }
});

test('every function, cast and reduction of every special value', { timeout: 60_000 }, async () => {
  const unary = ['neg', 'exp', 'log', 'sin', 'cos', 'tanh', 'sqrt', 'rsqrt', 'erf', 'abs', 'sign', 'floor'] as const;
  const { c, truth } = await both([{ shape: [special.length], data: special }], (b, [v]) => {
    const x = v as Value;
    // rows that hold one special number among ones, in every place
    const table = b.select(
      b.compare(
        'eq',
        b.one({ prim: 'iota', shape: [12, 12], axis: 0, dtype: 'i32' }, []),
        b.one({ prim: 'iota', shape: [12, 12], axis: 1, dtype: 'i32' }, []),
      ),
      b.broadcast(x, [12, 12], [0]),
      b.fill(1, { dtype: 'f32', shape: [12, 12] }),
    );
    return [
      ...unary.map((prim) => b[prim](x)),
      ...(['f16', 'bf16'] as const).map((t) => b.cast(b.cast(x, t), 'f32')),
      ...(['i32', 'u32', 'bool'] as const).map((t) => b.cast(x, t)),
      ...(['reduceSum', 'reduceMax', 'reduceMin'] as const).flatMap((prim) => [0, 1].map((axis) => b.one({ prim, axes: [axis] }, [table]))),
      ...[0, 1].map((axis) => b.one({ prim: 'cumsum', axis }, [table])),
    ];
  });
  // two units of the last place, as ../cpu/math.test.ts allows; everything that is not finite or is zero must be equal
  const near = (x: number, y: number): boolean =>
    Object.is(x, y) || (Number.isFinite(y) && y !== 0 && Math.abs(x - y) <= 2 ** -22 * Math.abs(y));
  const wrong = c.flatMap((r, o) =>
    r.flatMap((x, i) => (near(x, truth[o]?.[i] as number) ? [] : [`result ${o}, element ${i}: ${x}, not ${truth[o]?.[i]}`])),
  );
  expect(wrong).toEqual([]);
});
