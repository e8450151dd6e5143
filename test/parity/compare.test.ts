/** When an output passes: the rules of the index, each at its limit. */
import { expect, test } from 'vitest';
import type { Output } from '../../models/parity/catalogue.ts';
import { compare, type Numbers, type Verdict } from '../../models/parity/compare.ts';

const output = (more: Partial<Output>, shape: number[] = [4]): Output => ({ name: 'x', shape, dtype: 'F32', ...more });
const against = (o: Output, want: number[], got: ArrayLike<number> | undefined, shape: readonly number[] = o.shape): Verdict =>
  compare(o, { shape: o.shape, data: Float32Array.from(want) }, got === undefined ? undefined : ({ shape, data: got } satisfies Numbers));

test('within the tolerance and not beyond', () => {
  const o = output({ tol_abs: 0.25 });
  expect(against(o, [1, 2, 3, 4], [1.25, 2, 3, 4])).toMatchObject({ pass: true, error: 0.25, ratio: 1 });
  const far = against(o, [1, 2, 3, 4], [1, 2, 2.5, 4]);
  expect(far).toMatchObject({ pass: false, error: 0.5, ratio: 2 });
  expect(far.why).toMatch(/element 2 is 2\.5, recorded is 3/);
});

test('a tolerance of 0 and an exact output pass only what is equal', () => {
  for (const o of [output({ tol_abs: 0 }), output({ exact: true }), output({ exact: true, tol_abs: 1 })]) {
    expect(against(o, [0, 1, 2, 3], [0, 1, 2, 3])).toMatchObject({ pass: true, ratio: 0 });
    expect(against(o, [0, 1, 2, 3], [0, 1, 2, 3.0001])).toMatchObject({ pass: false, ratio: Number.POSITIVE_INFINITY });
  }
});

test('no number that is not one passes, even where it is recorded', () => {
  const o = output({ tol_abs: Number.MAX_VALUE });
  expect(against(o, [0, 1, 2, 3], [0, Number.NaN, 2, 3]).pass).toBe(false);
  expect(against(o, [0, Number.NaN, 2, 3], [0, Number.NaN, 2, 3]).pass).toBe(false);
  expect(against(o, [0, 1, 2, 3], [0, Number.POSITIVE_INFINITY, 2, 3]).pass).toBe(false);
  expect(against(output({ tol_abs: 1, tol_count_fraction: 1 }), [0, 1, 2, 3], [0, Number.NaN, 2, 3]).pass).toBe(false);
});

test('what is missing or has another shape fails', () => {
  expect(against(output({ tol_abs: 1 }), [0, 1, 2, 3], undefined)).toMatchObject({ pass: false, why: 'no runner produces it' });
  expect(against(output({ tol_abs: 1 }, [2, 2]), [0, 1, 2, 3], [0, 1, 2, 3], [4]).pass).toBe(false);
  expect(against(output({ tol_abs: 1 }, [2, 2]), [0, 1, 2, 3], [0, 1, 2, 3], [1, 2, 2]).pass).toBe(false);
  expect(against(output({ tol_abs: 1 }), [0, 1, 2, 3], [0, 1, 2]).pass).toBe(false);
});

test('a number without a shape is a list of one', () => {
  expect(against(output({ tol_abs: 0 }, [1]), [5], [5], []).pass).toBe(true);
});

test('a range that is left out, and its borders', () => {
  const o = output({ tol_abs: 0, ignore_range: [1, 3] });
  expect(against(o, [0, 1, 2, 3], [0, 9, Number.NaN, 3]).pass).toBe(true);
  expect(against(o, [0, 1, 2, 3], [9, 1, 2, 3]).pass).toBe(false);
  expect(against(o, [0, 1, 2, 3], [0, 1, 2, 9]).pass).toBe(false);
});

test('a fraction of the elements may differ, by the tolerance at most', () => {
  const o = output({ tol_abs: 1, tol_count_fraction: 0.5 });
  expect(against(o, [0, 1, 2, 3], [1, 0, 2, 3])).toMatchObject({ pass: true, error: 1, ratio: 1 });
  expect(against(o, [0, 1, 2, 3], [1, 0, 1, 3])).toMatchObject({ pass: false, why: '3 of 4 elements differ' });
  expect(against(o, [0, 1, 2, 3], [2, 1, 2, 3])).toMatchObject({ pass: false, error: 2 });
});
