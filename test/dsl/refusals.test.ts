/** What the tracer refuses, with the sentence that it says and the line that it points at. */
import { describe, expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import * as d from '../../dsl/index.ts';
import { here } from '../../dsl/location.ts';
import { compile } from '../../index.ts';

const { spec } = d;
const caught = (f: () => unknown): FoveaError => {
  try {
    f();
  } catch (e) {
    if (e instanceof FoveaError) return e;
    throw e;
  }
  throw new Error('nothing was thrown');
};

describe('the place is the line of the mistake', () => {
  const layer = d.module(
    { D: 4 },
    () => ({ w: d.param('D') }),
    ['B D'],
    (p, x) => x.mul(p.w),
  );
  /** Set on the line of the mistake, so that a loader that moves lines moves both. */
  let at: ReturnType<typeof here>;
  const mark = <X>(place: typeof at, x: X): X => {
    at = place;
    return x;
  };
  const same = (e: FoveaError): void => expect([e.loc?.file, e.loc?.line]).toEqual([import.meta.filename, at?.line]);
  test('of a call inside a function that is differentiated', () => {
    const step = (p: d.Params<typeof layer>, x: d.Tensor<string>) =>
      d.grad((q: typeof p) => {
        const f = d.apply(layer, q);
        const y = f(mark(here(), x));
        return d.sum('b d ->' as string, y) as d.Scalar;
      })(p);
    same(caught(() => d.trace(step as never, [d.paramSpecs(layer), spec('3 5')] as never)));
  });
  test('of an operation inside a checkpoint inside a scan', () => {
    const f = (x: d.F32<'3 2'>) => {
      const inner = (y: d.F32<'2'>) => {
        const z = d.zeros('7') as never;
        return y.add(mark(here(), z)) as typeof y;
      };
      return d.scan((c, r) => [d.checkpoint(inner)(c), r], d.zeros('2'), x);
    };
    same(caught(() => d.trace(f, [spec('3 2')])));
  });
  test('of the call of compile, for what is wrong with its sizes', async () => {
    const options = { backend: undefined as never, dims: { B: -1 } };
    const e = await compile((x) => x, mark(here(), [spec('B')] as const), options).catch((x: unknown) => x);
    expect(e).toMatchObject({ code: 'FV0005', message: 'the size B = -1 is not a whole number, 0 or more' });
    same(e as FoveaError);
  });
});

describe('dtypes', () => {
  const said = (f: (x: d.Tensor<string, 'i32'>) => unknown, dtype: d.DType = 'f32') => {
    const e = caught(() => d.trace(f as never, [spec('2 3', dtype)] as never));
    return [e.code, e.message];
  };
  test('numbers that a dtype does not have', () => {
    expect(said(() => d.full(0.5, '2', 'i32'))).toEqual(['FV0002', 'full: 0.5 is no i32']);
    expect(said(() => d.full(2, '2', 'bool'))).toEqual(['FV0002', 'full: 2 is no bool, whose numbers are 0 to 1']);
    expect(said((x) => x.add(2 ** 31), 'i32')).toEqual([
      'FV0002',
      'add: 2147483648 is no i32, whose numbers are -2147483648 to 2147483647',
    ]);
    expect(said((x) => x.add(0.5), 'i32')).toEqual(['FV0002', 'add: 0.5 is not a whole number and the tensor is i32[2 3]']);
    expect(said(() => d.scalar(Number.NaN, 'i32'))).toEqual(['FV0002', 'scalar: NaN is no i32']);
    expect(said(() => d.constant([1, 1.5], '2', 'u32'))).toEqual(['FV0002', 'constant: 1.5 is no u32']);
    expect(said((x) => d.pad('1:a: b', x as never, 0.5), 'i32')).toEqual(['FV0002', 'pad: 0.5 is no i32']);
  });
  test('truth values have no order and no sums', () => {
    expect(said((x) => x.lt(x), 'bool')).toEqual(['FV0002', 'lt: the tensor is bool[2 3]; truth values have no order']);
    expect(said((x) => d.einsum('a b -> a', x), 'bool')).toEqual(['FV0002', 'einsum: operand 1 [2 3] is bool']);
    expect(said((x) => d.matmul(x, x as never), 'bool')[0]).toBe('FV0001');
    expect(said((x) => d.matmul(x, d.rearrange('a b -> b a', x) as never), 'bool')).toEqual([
      'FV0002',
      'matmul: the left operand [2 3] is bool',
    ]);
  });
});

describe('shapes, in the words of the operation', () => {
  const said = (f: (x: never, y: never) => unknown, ...shapes: string[]) => {
    const e = caught(() => d.trace(f as never, shapes.map((s) => spec(s as string)) as never));
    return [e.code, e.message];
  };
  test('stack, layerNorm, rearrange, names that are no names', () => {
    expect(said((x, y) => d.stack([x, y]), '3', '4')).toEqual(['FV0001', 'stack: shapes differ: [3] vs [4]']);
    expect(said((x, y) => d.layerNorm(x, d.ones('3'), y), '2 3', '2 1')).toEqual(['FV0001', 'layerNorm: weight [3] and bias [2 1] differ']);
    expect(said((x) => d.rearrange('... d -> d ...' as string, x), '1 2 3')).toEqual(['FV0003', "rearrange: '...' in '... d -> d ...'"]);
    expect(said((x) => d.rearrange('a b -> b a' as string, x, { q: 7 }), '2 3')).toEqual([
      'FV0003',
      "rearrange: a size is given for q, which is no axis of 'a b -> b a'",
    ]);
    expect(said((x) => d.sum('a b -> a ...' as string, x), '2 3')).toEqual([
      'FV0003',
      'sum: axis ... does not occur on the left-hand side',
    ]);
    expect(said((x) => d.fn(['B%'], (y) => y)(x), '3')).toEqual(['FV0003', "'B%' is not a size"]);
  });
});
