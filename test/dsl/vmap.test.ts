/** vmap in the language: types, trees, what is shared, composition with grad, and what is refused. */
import { describe, expect, expectTypeOf, test } from 'vitest';
import * as d from '../../dsl/index.ts';
import { first, range, run } from './run.ts';

const { spec } = d;

describe('vmap', () => {
  test('maps over the first axis of every tensor of its arguments; what is used from outside is shared', () => {
    const f = (rows: d.F32<'4 3'>, w: d.F32<'3'>) => d.vmap((x: d.F32<'3'>) => d.sum('i ->', x.mul(w)))(rows);
    expectTypeOf<ReturnType<typeof f>>().toEqualTypeOf<d.Tensor<'4', 'f32'>>();
    expect(first(run(f, [spec('4 3'), spec('3')], [range(12), [1, 0, 2]]))).toEqual({ shape: [4], values: [4, 13, 22, 31] });
  });
  test('takes and gives trees; a result without examples is repeated', () => {
    const f = (t: { readonly a: d.F32<'B 2'>; readonly b: d.F32<'B'> }) =>
      d.vmap((x: { readonly a: d.F32<'2'>; readonly b: d.Scalar }) => ({ y: x.a.mul(x.b), one: d.ones('2') }))(t);
    expectTypeOf<ReturnType<typeof f>>().toEqualTypeOf<{ y: d.Tensor<'B 2', 'f32'>; one: d.Tensor<'B 2', 'f32'> }>();
    const specs = [{ a: spec('B 2'), b: spec('B') }] as const;
    expect(
      run(
        f,
        specs,
        [
          [1, 2, 3, 4],
          [10, 100],
        ],
        { B: 2 },
      ).map((o) => o.values),
    ).toEqual([
      [10, 20, 300, 400],
      [1, 1, 1, 1],
    ]);
  });
  test('gives the gradient of every example, which sum up to that of the batch', () => {
    const loss = (w: d.F32<'3'>, x: d.F32<'3'>): d.Scalar => d.sum('i ->', d.sin(w.mul(x)));
    const f = (w: d.F32<'3'>, rows: d.F32<'4 3'>) => {
      const single = d.vmap((x: d.F32<'3'>) => d.grad((v: d.F32<'3'>) => loss(v, x))(w))(rows);
      const batch = d.grad((v: d.F32<'3'>) => d.sum('b ->', d.vmap((x: d.F32<'3'>) => loss(v, x))(rows)))(w);
      return [d.sum('b i -> i', single), batch] as const;
    };
    const [a, b] = run(f, [spec('3'), spec('4 3')], [[0.5, -1, 2], range(12).map((i) => i / 7)]);
    // sums of four products, in two orders
    a?.values.forEach((x, i) => expect(Math.abs(x - (b?.values[i] as number))).toBeLessThan(1e-14));
  });
  test('nests, and maps over modules', () => {
    const layer = d.module(
      { D: 3 },
      () => ({ w: d.param('D') }),
      ['... D'],
      (p, x) => x.mul(p.w),
    );
    const f = (p: d.Params<typeof layer>, x: d.F32<'2 4 3'>) =>
      d.vmap((rows: d.F32<'4 3'>) => d.vmap((row: d.F32<'3'>) => d.sum('i ->', d.apply(layer, p)(row)))(rows))(x);
    expectTypeOf<ReturnType<typeof f>>().toEqualTypeOf<d.Tensor<'2 4', 'f32'>>();
    const out = first(run(f, [d.paramSpecs(layer), spec('2 4 3')], [[1, 1, 1], range(24)]));
    expect([out.shape, out.values.slice(0, 3)]).toEqual([
      [2, 4],
      [3, 12, 21],
    ]);
  });
  test('refuses arguments whose first axes differ, scalars, and no tensor at all', () => {
    const refused = (f: () => unknown): string => {
      try {
        f();
      } catch (e) {
        return (e as { report(): string }).report().replace(/\n {2}at .*/, '');
      }
      throw new Error('it did not fail');
    };
    const two = (a: d.F32<string>, b: d.F32<string>) => d.vmap((x: d.F32<string>, y: d.F32<string>) => x.mul(y))(a, b);
    expect(refused(() => d.trace(two as never, [spec('4 3'), spec('5 3')]))).toBe(
      'FV0001: vmap: argument 1 is f32[5 3]; its first axis should be 4\n  Use what is shared by all examples from outside f.',
    );
    expect(refused(() => d.trace(two as never, [spec('4 3'), spec('')]))).toMatch(/argument 1 is f32\[\]/);
    expect(refused(() => d.trace((() => d.vmap(() => d.scalar(1))()) as never, []))).toMatch(/^FV0006: vmap: the arguments have no tensor/);
  });
});
