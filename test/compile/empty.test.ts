/** Tensors without elements go in, through and out, on both backends: no registers, no masked patches, no rows, and gradients of all that. */
import { describe, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import {
  apply,
  argmax,
  type Backend,
  compile,
  concat,
  einsum,
  type F32,
  flatten,
  gather,
  grad,
  type HostTensor,
  host,
  init,
  max,
  mean,
  type Params,
  paramSpecs,
  scatterAdd,
  slice,
  softmax,
  spec,
  sum,
  type Tensor,
  toHost,
} from '../../index.ts';
import { batchSpec, hyperSpec, stateSpec, trainStep } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { type VitConfig, vit } from '../../models/vit.ts';
import { batchAt, hyper, start, tiny } from './tiny.ts';

const numbers = (t: unknown): number[] => Array.from((t as HostTensor).data);
const f32 = (shape: readonly number[], ...x: number[]): HostTensor => host(Float32Array.from(x), shape);
const close = (got: unknown, want: readonly number[]): void => {
  // inputs are small integers and quotients of them: a handful of float32 roundings, each 2^-24 of a number below 8
  expect(numbers(got).length).toBe(want.length);
  numbers(got).forEach((x, i) => expect(Math.abs(x - (want[i] as number))).toBeLessThan(8 * 2 ** -22));
};

const backends: readonly Backend[] = [cpu({ threads: 2 }), reference];
describe.each(backends.map((b) => [b.name, b] as const))('%s', (_, backend) => {
  test('an empty input, an empty result, an empty donated leaf; nothing but such', async () => {
    const program = await compile(
      (s: { a: F32<'N 3'>; b: F32<'2'> }, k: F32<''>) => ({ state: { a: s.a.mul(k), b: s.b.add(1) }, none: slice('1:1', s.b as never) }),
      [{ a: spec('N 3'), b: spec('2') }, spec('')],
      { backend, dims: { N: 0 }, donate: [0] },
    );
    let out = await program({ a: f32([0, 3]), b: f32([2], 1, 2) }, 2);
    out = await program(out.state, 2);
    expect([out.state.a.shape, (out.none as { readonly shape: readonly number[] }).shape]).toEqual([[0, 3], [0]]);
    const read = await toHost(out);
    expect([numbers(read.state.a), numbers(read.none), numbers(read.state.b)]).toEqual([[], [], [3, 4]]);
    const nothing = await compile((x: F32<'0'>) => ({ x, y: x.add(1) }), [spec('0')], { backend });
    const made = await toHost(await nothing({ shape: [0], dtype: 'f32', load: () => new Float32Array(0) }));
    expect([numbers(made.x), numbers(made.y), made.y.shape]).toEqual([[], [], [0]]);
    nothing.dispose();
  });

  test('what has elements and is made of none', async () => {
    const program = await compile(
      (x: F32<'N 2'>, y: F32<'3 2'>, i: Tensor<'N', 'i32'>) => ({
        joined: concat('* d', x, y),
        sum: sum('n d -> d', x),
        max: max('n d -> d', x),
        mean: mean('n d -> d', x),
        argmax: argmax('n d -> d', x),
        product: einsum('n d, n e -> d e', x, x),
        added: scatterAdd(y, i, x),
        rows: softmax(x),
        taken: gather(y, i),
      }),
      [spec('N 2'), spec('3 2'), spec('N', 'i32')],
      { backend, dims: { N: 0 } },
    );
    const y = f32([3, 2], 1, 2, 3, 4, 5, 6);
    const out = await toHost(await program(f32([0, 2]), y, host(new Int32Array(0), [0])));
    expect(numbers(out.joined)).toEqual(numbers(y));
    expect(numbers(out.sum)).toEqual([0, 0]);
    expect(numbers(out.max)).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    expect(numbers(out.mean)).toEqual([Number.NaN, Number.NaN]);
    expect(numbers(out.argmax)).toEqual([0, 0]);
    expect(numbers(out.product)).toEqual([0, 0, 0, 0]);
    expect(numbers(out.added)).toEqual(numbers(y));
    expect([numbers(out.rows), out.rows.shape, numbers(out.taken), out.taken.shape]).toEqual([[], [0, 2], [], [0, 2]]);
  });

  test('gradients: what depends on no rows has none, the rest is as without the empty part', async () => {
    // tokens: [1 class, R registers, N patches]; the loss reads all of them, and U chosen rows
    const loss = (p: { w: F32<'D D'>; registers: F32<'R D'> }, x: F32<'N D'>, rows: Tensor<'U', 'i32'>): F32<''> => {
      const tokens = concat('* d', p.registers, einsum('n d, e d -> n e', x, p.w));
      const chosen = gather(tokens, rows);
      return sum('n d ->', tokens.mul(tokens)).add(sum('u d ->', softmax(chosen).mul(chosen))) as F32<''>;
    };
    const sizes = { D: 2, R: 0, N: 2, U: 0 };
    const program = await compile(
      (p: { w: F32<'D D'>; registers: F32<'R D'> }, x: F32<'N D'>, rows: Tensor<'U', 'i32'>) => grad(loss)(p, x, rows),
      [{ w: spec('D D'), registers: spec('R D') }, spec('N D'), spec('U', 'i32')],
      { backend, dims: sizes },
    );
    const [w, x] = [f32([2, 2], 1, 2, 3, 4), f32([2, 2], 0.5, -1, 1, 0.25)];
    const g = await toHost(await program({ w, registers: f32([0, 2]) }, x, host(new Int32Array(0), [0])));
    expect([numbers(g.registers), g.registers.shape]).toEqual([[], [0, 2]]);
    // d/dw of sum (x w^T)^2 is 2 y^T x, with y = x w^T = [[-1.5, -2.5], [1.5, 4]]
    close(g.w, [2 * (-0.75 + 1.5), 2 * (1.5 + 0.375), 2 * (-1.25 + 4), 2 * (2.5 + 1)]);
  });
});

test('a vision transformer without registers gives none', async () => {
  const c: VitConfig = { ...tiny.model, registers: 0 };
  const model = vit(c);
  const [native, whole] = await Promise.all(
    backends.map(async (backend) => {
      const program = await compile(
        (p: Params<typeof model>, x: F32<'2 3 28 28'>) => apply(model, p)(x),
        [paramSpecs(model), spec('2 3 28 28')],
        {
          backend,
        },
      );
      const out = await toHost(
        await program(init(model, 3), f32([2, 3, 28, 28], ...Array.from({ length: 2 * 3 * 28 * 28 }, (_, i) => Math.sin(i)))),
      );
      expect([out.registers.shape, out.registers.data.length]).toEqual([[2, 0, 32], 0]);
      return out;
    }),
  );
  // two blocks of width 32 after a norm: well below a thousand roundings of numbers around 1
  expect(Math.max(...numbers(native?.cls).map((x, i) => Math.abs(x - (numbers(whole?.cls)[i] as number))))).toBeLessThan(1000 * 2 ** -24);
});

test('a training step without masked patches', async () => {
  const sizes = { ...geometry(tiny).sizes, U: 0 };
  const full = batchAt(0);
  const batch = {
    ...full,
    masks: { ...full.masks, data: new Uint8Array(full.masks.data.length) },
    maskIndices: host(new Int32Array(0), [0]),
    maskWeights: host(new Float32Array(0), [0]),
    maskCount: host([0], []),
  };
  const [native, truth] = await Promise.all(
    backends.map(async (backend) => {
      const step = await compile(trainStep(tiny), [stateSpec(tiny), batchSpec(tiny), hyperSpec()], { backend, dims: sizes, donate: [0] });
      return flatten((await toHost(await step(start(), batch, hyper(0)))).metrics).map(
        ({ path, leaf }) => [path, numbers(leaf)[0] as number] as const,
      );
    }),
  );
  expect(new Map(truth).get('ibot_loss')).toBeCloseTo(0, 12);
  // sums of positive terms: 32 roundings relative, as in dinov2.test.ts
  for (const [k, [path, x]] of (truth ?? []).entries())
    expect(Math.abs(x - (native?.[k]?.[1] as number)), path).toBeLessThanOrEqual(32 * 2 ** -24 * Math.abs(x));
}, 60_000);

test('a program with elements is the same program beside an empty one', async () => {
  const f = (x: F32<'4 8'>) => softmax(x.mul(2));
  const g = (x: F32<'4 8'>, none: F32<'N 8'>) => softmax(concat('* d', x, none).mul(2).as('4 8'));
  const backend = cpu({ threads: 1 });
  const [alone, beside] = [
    await compile(f, [spec('4 8')], { backend }),
    await compile(g, [spec('4 8'), spec('N 8')], { backend, dims: { N: 0 } }),
  ];
  expect(beside.report.plan?.launches.length).toBe(alone.report.plan?.launches.length);
  const x = f32([4, 8], ...Array.from({ length: 32 }, (_, i) => Math.sin(i)));
  expect(numbers(await (await beside(x, f32([0, 8]))).read())).toEqual(numbers(await (await alone(x)).read()));
});
