/** Operations against numbers worked out by plain loops, through the float64 interpreter. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as d from '../../dsl/index.ts';
import { first, prims, range, run } from './run.ts';

const { spec } = d;
const a = [1, -2, 3, 4, 0.5, -6];

describe('pointwise', () => {
  test('aligns at the right; numbers, scalars and literal 1 stretch', () => {
    expect(first(run((x, v) => x.mul(2).add(v), [spec('2 3'), spec('3')], [a, [10, 20, 30]]))).toEqual({
      shape: [2, 3],
      values: [12, 16, 36, 18, 21, 18],
    });
    expect(
      first(
        run(
          (x, v) => x.add(v),
          [spec('2 1'), spec('1 3')],
          [
            [1, 2],
            [10, 20, 30],
          ],
        ),
      ),
    ).toEqual({ shape: [2, 3], values: [11, 21, 31, 12, 22, 32] });
    expect(first(run((v, x) => v.sub(x), [spec('3'), spec('2 3')], [[1, 1, 1], a])).values).toEqual(a.map((x) => 1 - x));
  });
  test('comparisons, logic, where, casts', () => {
    expect(first(run((x) => d.where(x.gt(0).and(x.lt(4)), x, -1), [spec('6')], [a])).values).toEqual([1, -1, 3, -1, 0.5, -1]);
    expect(first(run((x) => x.ge(3).not().cast('i32'), [spec('6')], [a])).values).toEqual([1, 1, 0, 0, 1, 1]);
    expect(first(run((x) => x.div(2), [spec('3', 'i32')], [[7, -7, 4]])).values).toEqual([3, -3, 2]);
  });
  test('composites are their formulas', () => {
    // 50 float64 roundings of numbers below 10, unless the reference itself is less exact
    const is = (f: (x: d.F32<'6'>) => d.F32<'6'>, g: (x: number) => number, bound = (_: number) => 50 * 10 * 2 ** -53) => {
      const { values } = first(run(f, [spec('6')], [a]));
      values.forEach((v, i) => expect(Math.abs(v - g(a[i] as number))).toBeLessThan(bound(a[i] as number)));
    };
    is(d.sigmoid, (x) => 1 / (1 + Math.exp(-x)));
    is(d.silu, (x) => x / (1 + Math.exp(-x)));
    is(d.relu, (x) => Math.max(x, 0));
    // the alternating series for erf loses as much as its terms are large: they sum to exp(z^2) at most, z^2 = x^2 / 2
    is(
      (x) => d.gelu(x).sub(x.mul(0.5)),
      (x) => Math.abs(x) * 0.5 * erf(Math.abs(x) / Math.SQRT2),
      (x) => 200 * Math.exp((x * x) / 2) * 2 ** -53,
    );
    is(d.softmax, (x) => Math.exp(x) / a.reduce((s, y) => s + Math.exp(y), 0));
    is(d.logSoftmax, (x) => x - Math.log(a.reduce((s, y) => s + Math.exp(y), 0)));
  });
  test('layerNorm has zero mean and unit variance before weight and bias', () => {
    const { values } = first(
      run(
        (x, w, b) => d.layerNorm(x, w, b, 0),
        [spec('2 3'), spec('3'), spec('3')],
        [
          [1, 2, 3, 4, 8, 12],
          [1, 1, 1],
          [0, 0, 0],
        ],
      ),
    );
    const z = Math.sqrt(1.5);
    [-z, 0, z, -z, 0, z].forEach((v, i) => expect(values[i]).toBeCloseTo(v, 12));
  });
});

/** erf by its Taylor series: converges for the arguments above. */
const erf = (x: number): number => {
  let [term, sum] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
};

/** einsum by loops over every letter. */
const slow = (pattern: string, sizes: Record<string, number>, ...xs: readonly (readonly number[])[]): number[] => {
  const [left, out] = pattern.split('->').map((s) => s.split(',').map((o) => o.split(' ').filter(Boolean))) as [string[][], string[][]];
  const all = Object.keys(sizes);
  const of = (names: readonly string[], at: Record<string, number>) =>
    names.reduce((i, n) => i * (sizes[n] as number) + (at[n] as number), 0);
  const y = Array.from({ length: (out[0] as string[]).reduce((p, n) => p * (sizes[n] as number), 1) }, () => 0);
  const visit = (i: number, at: Record<string, number>): void => {
    if (i < all.length) for (let k = 0; k < (sizes[all[i] as string] as number); k++) visit(i + 1, { ...at, [all[i] as string]: k });
    else (y[of(out[0] as string[], at)] as number) += left.reduce((p, names, k) => p * (xs[k]?.[of(names, at)] as number), 1);
  };
  visit(0, {});
  return y;
};

describe('einsum', () => {
  const letters = ['a', 'b', 'c', 'd'];
  const list = fc.uniqueArray(fc.constantFrom(...letters), { minLength: 1, maxLength: 3 });
  test('equals loops on random patterns of one and two operands', () => {
    fc.assert(
      fc.property(
        fc.array(list, { minLength: 1, maxLength: 2 }),
        fc.uniqueArray(fc.constantFrom(...letters), { maxLength: 4 }),
        (ins, wanted) => {
          const present = new Set(ins.flat());
          const out = wanted.filter((n) => present.has(n));
          const sizes = Object.fromEntries([...present].map((n) => [n, letters.indexOf(n) + 2]));
          const pattern = `${ins.map((i) => i.join(' ')).join(', ')} -> ${out.join(' ')}`;
          const data = ins.map((names, k) =>
            range(
              names.reduce((p, n) => p * (sizes[n] as number), 1),
              k + 1,
            ),
          );
          const specs = ins.map((names) => spec(names.map((n) => sizes[n]).join(' ') as string));
          // patterns made at run time have no type rule: the tracer is on its own
          const f = (...xs: unknown[]) => (d.einsum as unknown as (p: string, ...x: unknown[]) => d.Tensor)(pattern, ...xs);
          const got = first(run(f as never, specs, data));
          expect(got.shape).toEqual(out.map((n) => sizes[n]));
          expect(got.values).toEqual(slow(pattern, sizes, ...data)); // whole numbers below 2^53: exact
        },
      ),
      { seed: 7, numRuns: 150 },
    );
  });
  test('the common contractions are one dot and at most one transpose', () => {
    const of = (f: (...xs: never[]) => unknown, ...specs: d.TensorSpec[]) => prims(d.trace(f as never, specs).graph);
    expect(of((x: d.F32<'B N D'>, w: d.F32<'E D'>) => d.einsum('b n d, e d -> b n e', x, w), spec('B N D'), spec('E D'))).toEqual(['dot']);
    expect(
      of((q: d.F32<'B H N K'>, k: d.F32<'B H M K'>) => d.einsum('b h n k, b h m k -> b h n m', q, k), spec('B H N K'), spec('B H M K')),
    ).toEqual(['dot']);
    expect(of((x: d.F32<'S B K'>, t: d.F32<'T B K'>) => d.einsum('s b k, t b k -> s t b', x, t), spec('S B K'), spec('T B K'))).toEqual([
      'dot',
      'transpose',
    ]);
    expect(of((w: d.F32<'D E'>, x: d.F32<'B D'>) => d.einsum('d e, b d -> b e', w, x), spec('D E'), spec('B D'))).toEqual(['dot']);
    expect(of((x: d.F32<'... D'>) => d.einsum('... d -> ...', x), spec('B N D'))).toEqual(['reduceSum']);
  });
  test('matmul broadcasts batch axes', () => {
    const x = range(12);
    expect(first(run((p, q) => d.matmul(p, q), [spec('2 2 3'), spec('3 2')], [x, [1, 0, 0, 1, 1, 1]])).values).toEqual([
      2, 3, 8, 9, 14, 15, 20, 21,
    ]);
    expect(
      first(
        run(
          (p, q) => d.matmul(p, q),
          [spec('1 2'), spec('2 2 1')],
          [
            [1, 2],
            [1, 2, 3, 4],
          ],
        ),
      ),
    ).toEqual({ shape: [2, 1, 1], values: [5, 11] });
  });
});

describe('patterns', () => {
  test('rearrange splits, permutes, merges; its inverse gives x back', () => {
    const x = range(24);
    const y = first(run((t) => d.rearrange('b n (h k) -> h (b n) k', t, { h: 2 }), [spec('2 3 4')], [x]));
    expect(y.shape).toEqual([2, 6, 2]);
    expect(y.values.slice(0, 6)).toEqual([0, 1, 4, 5, 8, 9]);
    const back = (t: d.F32<'2 3 4'>) => d.rearrange('h (b n) k -> b n (h k)', d.rearrange('b n (h k) -> h (b n) k', t, { h: 2 }), { b: 2 });
    expect(first(run(back, [spec('2 3 4')], [x]))).toEqual({ shape: [2, 3, 4], values: x });
    expect(first(run((t) => d.rearrange('1 a -> a 1 1', t), [spec('1 3')], [[1, 2, 3]])).shape).toEqual([3, 1, 1]);
  });
  test('reductions', () => {
    expect(first(run((x) => d.sum('b n -> n', x), [spec('2 3')], [a])).values).toEqual([5, -1.5, -3]);
    expect(first(run((x) => d.mean('b n -> b 1', x), [spec('2 3')], [[1, 2, 3, 4, 5, 9]]))).toEqual({ shape: [2, 1], values: [2, 6] });
    expect(first(run((x) => d.max('... n -> ...', x), [spec('2 3')], [a])).values).toEqual([3, 4]);
    expect(first(run((x) => d.min('b n ->', x), [spec('2 3')], [a]))).toEqual({ shape: [], values: [-6] });
    expect(first(run((x) => d.sum('a b c -> c a', x), [spec('2 1 3')], [range(6)]))).toEqual({ shape: [3, 2], values: [0, 3, 1, 4, 2, 5] });
    expect(first(run((x) => d.argmax('b n -> b', x), [spec('2 3')], [[1, 5, 5, 2, 0, 1]])).values).toEqual([1, 0]);
    expect(first(run((x) => d.cumsum('b *n', x), [spec('2 3')], [range(6)])).values).toEqual([0, 1, 3, 3, 7, 12]);
    expect(first(run((x) => d.reverse('*b n', x), [spec('2 3')], [range(6)])).values).toEqual([3, 4, 5, 0, 1, 2]);
  });
  test('the mean over a named size divides by what it is bound to', () => {
    expect(first(run((x) => d.mean('b ->', x), [spec('B')], [[1, 2, 6]], { B: 3 })).values).toEqual([3]);
  });
});

describe('parts', () => {
  test('slice, concat, pad, split, unbind, stack fit together', () => {
    const x = range(12);
    const parts = (t: d.F32<'2 3 2'>) => d.concat('b * d', d.slice('b :1 d', t), d.slice('b 1: d', t));
    expect(first(run(parts, [spec('2 3 2')], [x]))).toEqual({ shape: [2, 3, 2], values: x });
    expect(first(run((t) => d.slice('b 2 d', t), [spec('2 3 2')], [x]))).toEqual({ shape: [2, 2], values: [4, 5, 10, 11] });
    expect(first(run((t) => d.stack([...d.unbind(t)]), [spec('2 3 2')], [x])).values).toEqual(x);
    expect(run((t) => d.split(t, 2), [spec('3 4')], [x]).map((o) => o.values)).toEqual([
      [0, 1, 4, 5, 8, 9],
      [2, 3, 6, 7, 10, 11],
    ]);
    expect(first(run((t) => d.pad('1:b:0 d', t, 7), [spec('1 2')], [[1, 2]]))).toEqual({ shape: [2, 2], values: [7, 7, 1, 2] });
  });
  test('gather, scatterAdd, oneHot, iota, expand, constant', () => {
    const rows = [1, 2, 3, 4, 5, 6];
    expect(first(run((x, i) => d.gather(x, i), [spec('3 2'), spec('4', 'i32')], [rows, [2, 0, 0, 5]])).values).toEqual([
      5, 6, 1, 2, 1, 2, 0, 0,
    ]);
    expect(
      first(
        run(
          (x, i, u) => d.scatterAdd(x, i, u),
          [spec('3 1'), spec('3', 'i32'), spec('3 1')],
          [
            [0, 0, 0],
            [1, 1, 9],
            [5, 6, 7],
          ],
        ),
      ).values,
    ).toEqual([0, 11, 0]);
    expect(first(run((i) => d.oneHot(i, 3), [spec('2', 'i32')], [[2, 0]]))).toEqual({ shape: [2, 3], values: [0, 0, 1, 1, 0, 0] });
    expect(first(run(() => d.iota('2 3'), [], [])).values).toEqual([0, 1, 2, 0, 1, 2]);
    expect(first(run((x) => d.expand(x, '2 2'), [spec('2 1')], [[3, 4]])).values).toEqual([3, 3, 4, 4]);
    expect(
      first(
        run(
          () =>
            d.constant(
              [
                [1, 2],
                [3, 4],
              ],
              '2 2',
            ),
          [],
          [],
        ),
      ).values,
    ).toEqual([1, 2, 3, 4]);
    expect(first(run(() => d.scalar(d.size('K', 64)), [], [])).values).toEqual([64]);
  });
});
