/** Tensors without elements go in, through and out, on both backends: no registers, no masked patches, no images, and gradients through all of it. */
import { describe, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import {
  argmax,
  type Backend,
  compile,
  concat,
  einsum,
  type F32,
  gather,
  grad,
  type HostTensor,
  host,
  max,
  mean,
  scatterAdd,
  slice,
  softmax,
  spec,
  sum,
  type Tensor,
  toHost,
} from '../../index.ts';

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
