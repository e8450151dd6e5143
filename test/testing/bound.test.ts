/** Bounds of small programs by hand: what a rule gives, and that a number outside of it is told. */
import { expect, test } from 'vitest';
import { bounded, compare } from '../../testing/bound.ts';
import { parseProgram } from '../../testing/program-text.ts';

const u = 2 ** -24;
const run = (text: string) => {
  const p = parseProgram(text);
  return bounded(p.graph, p.inputs);
};

test('one addition is off by half a unit in the last place', () => {
  const [r] = run('graph (%0: f32[1], %1: f32[1]) {\n %2: f32[1] = add(%0, %1)\n return %2\n}\n%0 = [1]\n%1 = [0.5]\n');
  expect(r?.error[0]).toBeGreaterThanOrEqual(1.5 * u);
  expect(r?.error[0]).toBeLessThan(1.5 * u * (1 + 1e-6));
  expect(compare([r as never], [[1.5 + 1.4 * u]]).wrong).toBeUndefined();
  expect(compare([r as never], [[1.5 + 1.6 * u]]).wrong).toContain('element 0');
});

test('a difference of close numbers keeps the error of what was rounded before', () => {
  const [r] = run(
    'graph (%0: f32[1]) {\n %1: f32[1] = exp(%0)\n %2: f32[1] = exp(%0)\n %3: f32[1] = sub(%1, %2)\n return %3\n}\n%0 = [1]\n',
  );
  // 4 u e for each of them
  expect(r?.error[0]).toBeGreaterThan(8 * u * Math.E);
  expect(r?.error[0]).toBeLessThan(8.01 * u * Math.E);
});

test('bf16 rounds to 8 bits, where it is stored', () => {
  const [r] = run('graph (%0: bf16[1], %1: bf16[1]) {\n %2: bf16[1] = add(%0, %1)\n return %2\n}\n%0 = [1]\n%1 = [0.5]\n');
  expect(r?.error[0]).toBeGreaterThan(1.5 * 2 ** -8);
  expect(r?.error[0]).toBeLessThan(1.51 * 2 ** -8);
});

test('integers are exact; what an error may turn is not told', () => {
  const [sum, below, place] = run(`graph (%0: i32[3], %1: f32[2]) {
  %2: i32[] = reduceSum(%0) axes=[0]
  %3: f32[2] = sin(%1)
  %4: f32[2] = floor(%3)
  %5: f32[2] = sub(%3, %3)
  %6: i32[] = argmax(%5) axis=0
  return %2, %4, %6
}
%0 = [1, 2, 3]
%1 = [0, 1]
`);
  expect([...(sum?.error ?? [])]).toEqual([0]);
  // sin 0 may be just below 0, so its floor may be -1; sin 1 is far from whole
  expect(below?.error[0]).toBeGreaterThanOrEqual(1);
  expect(below?.error[1]).toBe(0);
  expect(place?.error[0]).toBe(Number.POSITIVE_INFINITY);
});

test('where a device may take subnormal numbers for zero, they are, coming in, between and going out, and what they decide is open', () => {
  const p = parseProgram(`graph (%0: f32[2], %1: f32[2]) {
  %2: f32[2] = mul(%0, %1)
  %3: f32[2] = add(%2, %1)
  %4: f32[2] = sign(%2)
  %5: f32[] = reduceSum(%2) axes=[0]
  %6: f32[2] = log(%1)
  return %2, %3, %4, %5, %6
}
%0 = [1e-20, 1]
%1 = [1e-20, 0.5]
`);
  const [kept, flushed] = [bounded(p.graph, p.inputs), bounded(p.graph, p.inputs, 'flushing')];
  expect(
    compare(
      kept,
      p.graph.results.map((_, i) => kept[i]?.value.data as Float64Array),
    ).wrong,
  ).toBeUndefined();
  const zero = [[0, 0.5], [1e-20, 1], [0, 1], [0.5], [Math.log(1e-20), Math.log(0.5)]];
  expect(compare(flushed, zero).wrong).toBeUndefined();
  expect(compare(kept, zero).wrong).toMatch(/^result 0, element 0: 0 is not (1|9\.\d+)e-4[01] /);
  // numbers that are not subnormal are bounded as tightly as before
  expect(flushed[0]?.error[1]).toBeLessThan(1.01 * (kept[0]?.error[1] as number));
  expect(compare(flushed, [[0, 0.5], [1e-20, 1], [2, 1], [0.5], [0, -1]]).wrong).toMatch(/^result 4, element 0/);
  const small = parseProgram('graph (%0: f32[1]) {\n %1: f32[1] = log(%0)\n return %0, %1\n}\n%0 = [1e-40]\n');
  const [argument, logarithm] = bounded(small.graph, small.inputs, 'flushing').map((b) => b.error[0]);
  expect(argument).toBeGreaterThanOrEqual(1e-40);
  expect(logarithm).toBe(Number.POSITIVE_INFINITY);
});
