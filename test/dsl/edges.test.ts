/** Axes written as 1, runs of axes, orders of keys: programs at the edges of what patterns and trees allow, against numbers. */
import { describe, expect, test } from 'vitest';
import * as d from '../../dsl/index.ts';
import { first, run } from './run.ts';

const { spec } = d;
const a = [1, -2, 3, 4, 0.5, -6];
/** Patterns that the types would refuse, or that they cannot follow: the tracer is on its own. */
type Untyped = (pattern: string, ...xs: unknown[]) => d.Tensor;
const einsum = d.einsum as unknown as Untyped;

describe('einsum', () => {
  test('1 is an axis of size 1, in operands and in the output', () => {
    const xs = [a, [1, 10, 100]];
    expect(first(run((x, y) => d.einsum('b 1 d, d -> b', x, y), [spec('2 1 3'), spec('3')], xs)).values).toEqual([281, -591]);
    const ones = first(
      run(
        (x, y) => d.einsum('b 1 1, b 1 -> 1 b 1', x, y),
        [spec('2 1 1'), spec('2 1')],
        [
          [2, 3],
          [5, 7],
        ],
      ),
    );
    expect(ones).toEqual({ shape: [1, 2, 1], values: [10, 21] });
    expect(first(run((x) => d.einsum('b d -> d 1', x), [spec('2 3')], [a]))).toEqual({ shape: [3, 1], values: [5, -1.5, -3] });
  });
  test('letters of one operand are summed before the product; an operand may be a scalar', () => {
    expect(first(run((x, y) => d.einsum('a b, c d -> b d', x, y), [spec('2 3'), spec('2 1')], [a, [1, 3]])).values).toEqual([20, -6, -12]);
    expect(first(run((x, y) => d.einsum(', b -> b', x, y), [spec(''), spec('2')], [[2], [3, 4]])).values).toEqual([6, 8]);
    expect(first(run((x, y) => d.einsum('... i, i -> ...', x, y), [spec('2 1 3'), spec('3')], [a, [1, 1, 1]])).values).toEqual([2, -1.5]);
  });
  test.each([
    ['a, a, a -> a', ['3', '3', '3'], 'einsum: takes one or two tensors, got 3'],
    ['a -> a ...', ['3'], 'einsum: output axis ... does not occur in any operand'],
    ['a 1 -> a', ['3 4'], 'einsum: the pattern says 1 where operand 1 [3 4] has 4'],
    ['a b c -> (a b)', ['3 4 5'], 'einsum: groups in parentheses are for rearrange'],
    ['a a -> a', ['3 3'], "einsum: axis a is repeated in 'a a'"],
  ])('%s of %j is refused', (pattern, shapes, message) => {
    const f = (...xs: unknown[]) => einsum(pattern, ...xs);
    expect(() => d.trace(f as never, shapes.map((s) => spec(s as string)) as never)).toThrow(message);
  });
});

test('rearrange with axes of size 0: a size beside a given 0 must be given too', () => {
  const rearrange = d.rearrange as unknown as (pattern: string, x: d.Tensor, sizes: Record<string, number>) => d.Tensor;
  const shape = (pattern: string, sizes: Record<string, number>): readonly number[] =>
    first(run((x) => rearrange(pattern, x, sizes), [spec('0 3')], [[]])).shape;
  expect(shape('(l b) k -> l b k', { b: 4 })).toEqual([0, 4, 3]);
  expect(shape('(l b) k -> b l k', { l: 0, b: 4 })).toEqual([4, 0, 3]);
  expect(() => shape('(l b) k -> l b k', { l: 0 })).toThrow('rearrange: the size of b is unknown: pass it');
  expect(() => shape('l (b k) -> l b k', { k: 0 })).toThrow('rearrange: 3 is not the product of the sizes given');
});

test('rearrange with 1 inside and outside of groups', () => {
  const y = first(run((x) => d.rearrange('a (1 b) -> 1 (b 1) a', x), [spec('2 3')], [a]));
  expect(y).toEqual({ shape: [1, 3, 2], values: [1, 4, -2, 0.5, 3, -6] });
});

test('reductions over several axes, axes of size 1 among them', () => {
  expect(first(run((x) => d.mean('1 a b -> b', x), [spec('1 2 3')], [a])).values).toEqual([2.5, -0.75, -1.5]);
  expect(first(run((x) => d.argmax('a b -> a', x), [spec('2 4')], [[1, 1, 0, 1, -0, 0, -0, 0]])).values).toEqual([0, 0]);
  expect(first(run((x) => d.sum('1 a 1 b -> b 1', x), [spec('1 2 1 3')], [a]))).toEqual({ shape: [3, 1], values: [5, -1.5, -3] });
});

test('indices out of range and indices that repeat', () => {
  const index = [-1, 2, 2, 3, -(2 ** 31)];
  expect(first(run((x, i) => d.gather(x, i), [spec('3 2'), spec('5', 'i32')], [[1, 2, 3, 4, 5, 6], index])).values).toEqual([
    0, 0, 5, 6, 5, 6, 0, 0, 0, 0,
  ]);
  expect(
    first(
      run(
        (x, i, u) => d.scatterAdd(x, i, u),
        [spec('2 2', 'i32'), spec('3', 'i32'), spec('3 2', 'i32')],
        [
          [1, 2, 3, 4],
          [1, 1, 7],
          [1, 2, 3, 4, 5, 6],
        ],
      ),
    ).values,
  ).toEqual([1, 2, 7, 10]);
  expect(first(run((i) => d.oneHot(i, 3), [spec('3', 'i32')], [[-1, 1, 3]])).values).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 0]);
});

test('whole numbers wrap at 32 bits', () => {
  expect(first(run((x) => d.sum('a ->', x), [spec('3', 'i32')], [[2147483647, 1, 5]])).values).toEqual([-2147483643]);
  expect(first(run((x) => x.add(-1), [spec('2', 'u32')], [[1, 0]])).values).toEqual([0, 4294967295]);
  expect(first(run((x, y) => x.mul(y), [spec('1', 'u32'), spec('1', 'u32')], [[3e9], [3e9]])).values).toEqual([
    Number((3000000000n * 3000000000n) & 0xffffffffn),
  ]);
});

describe('trees are matched by key, in whatever order', () => {
  test('the carry of a scan', () => {
    const f = (x: d.F32<'3'>) => {
      const [c] = d.scan((c, r: d.Scalar) => [{ b: c.b.mul(r), a: c.a.add(r) }, r] as const, { a: d.scalar(1), b: d.scalar(2) }, x);
      return [c.a, c.b];
    };
    expect(run(f, [spec('3')], [[2, 3, 4]]).map((o) => o.values)).toEqual([[10], [48]]);
  });
  test('the tangents of jvp', () => {
    const f = (x: d.F32<'1'>, y: d.F32<'1'>) =>
      d.jvp((p: { a: d.F32<'1'>; b: d.F32<'1'> }) => p.a.mul(p.b))([{ a: x, b: y }], [{ b: d.zeros('1'), a: d.ones('1') }])[1];
    expect(first(run(f, [spec('1'), spec('1')], [[5], [7]])).values).toEqual([7]);
  });
  test('and by all keys: neither tree may have one that the other lacks', () => {
    const both = (p: unknown, q: unknown) => () => d.trace((x: d.F32<'1'>) => d.treeMap((u) => u, { l: p, x }, { l: q, x }).x, [spec('1')]);
    expect(both({ a: 1 }, { a: 1, b: 2 })).toThrow('the trees differ: l.b is missing in one of them');
    expect(both({ a: 1, b: 2 }, { a: 1 })).toThrow('the trees differ: l.b is missing in one of them');
    expect(both([1], [1, 2])).toThrow('the trees differ: l.1 is missing in one of them');
    const scan = (out: unknown) => () => d.trace((x: d.F32<'3'>) => d.scan(() => out as never, { a: x }, x)[0].a, [spec('3')]);
    expect(scan(undefined)).toThrow('scan: the function returns [carry, y]');
    expect(scan([{}, 0])).toThrow('the trees differ: a is missing in one of them');
    expect(scan([{ a: 1 }, 0])).toThrow('scan: the carry that leaves: a is a tensor in one tree and none in the other');
  });
});
