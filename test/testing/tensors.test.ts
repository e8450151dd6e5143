/** The arbitraries of shapes and tensors: what they give fits, meets 0 and 1, and shrinks. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { spec } from '../../dsl/index.ts';
import { arbitraryShape, arbitraryShapes, arbitraryTensor } from '../../testing/index.ts';

const runs = { seed: 5, numRuns: 300 };
const samples = <X>(a: fc.Arbitrary<X>): X[] => fc.sample(a, runs);

test('a shape satisfies its signature and meets the sizes 0 and 1', () => {
  const all = samples(arbitraryShape('B N+1 2*D'));
  for (const { dims, shape } of all) expect(shape).toEqual([dims.B, (dims.N as number) + 1, 2 * (dims.D as number)]);
  for (const n of [0, 1, 2, 3, 4]) expect(all.some((s) => s.dims.B === n)).toBe(true);
});

test('one size a name over several signatures, quotients that divide, axes of ...', () => {
  for (const { dims, shapes } of samples(arbitraryShapes(['B N', 'N D:i32', 'D/H'], { sizes: { D: [0, 6], B: 7 } }))) {
    const [a, b, c] = shapes as [number[], number[], number[]];
    expect([a[0], b[0], b[1]]).toEqual([7, a[1], (dims.H as number) * (c[0] as number)]);
  }
  const ranks = samples(arbitraryShapes(['... D', '...'])).map(({ shapes: [a, b] }) => {
    expect(a?.slice(0, -1)).toEqual(b);
    return b?.length;
  });
  expect([...new Set(ranks)].sort()).toEqual([0, 1, 2]);
});

test('tensors in their range, of shapes and specs', () => {
  for (const t of samples(arbitraryShape('B D').chain(({ shape }) => arbitraryTensor(shape, { min: -1, max: 3 })))) {
    expect(t.data.length).toBe(t.shape.reduce((a, b) => a * b, 1));
    expect(t.dtype).toBe('f32');
    for (const x of t.data) expect(x >= -1 && x <= 3).toBe(true);
  }
  for (const t of samples(arbitraryTensor(spec('B 2', 'i32'), { dims: { B: 3 }, max: 5 })).slice(0, 20)) {
    expect([t.shape, t.dtype, t.data.every((x) => x >= 0 && x <= 5)]).toEqual([[3, 2], 'i32', true]);
  }
  expect(samples(arbitraryTensor([4], { dtype: 'bool' })).some((t) => t.data.includes(1) && t.data.includes(0))).toBe(true);
  expect(() => arbitraryTensor(spec('B 2'))).toThrow(/size B is not known/);
  expect(() => arbitraryShape('B N*')).toThrow(/'N\*' is not a size/);
  expect(() => arbitraryTensor(spec('2', 'bf16'))).toThrow(/bits/);
  expect(() => arbitraryShape('N-5')).toThrow(/no sizes fit \[N-5\] with N from 0 to 4/);
  expect(samples(arbitraryShape('N-5', { sizes: { N: [0, 7] } })).every(({ shape: [n] }) => [0, 1, 2].includes(n as number))).toBe(true);
  expect(() => arbitraryShapes(['B N', 'N'], { sizes: { M: 3 } })).toThrow(/\[B N\], \[N\] has no size M/);
});

test('a counterexample shrinks to the smallest sizes and to zeros', () => {
  const found = fc.check(
    fc.property(
      arbitraryShape('B D').chain(({ shape }) => arbitraryTensor(shape)),
      (t) => t.data.length < 2,
    ),
    runs,
  );
  const [t] = found.counterexample ?? expect.fail('no counterexample');
  expect(t.data.length).toBe(2);
  expect(Array.from(t.data, Math.abs)).toEqual([0, 0]);
});
