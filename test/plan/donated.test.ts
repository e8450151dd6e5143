/** What a plan refuses about donation. That donation never changes a bit is a law, in the tests of compile. */
import { expect, test } from 'vitest';
import { builder } from '../../compiler/graph/builder.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { cpu } from '../fuse/run.ts';

test('two outputs cannot take the place of one input', () => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [4] }, 'x');
  const g = b.build([b.neg(x), b.exp(x)]);
  expect(() => buildPlan(g, cpu, { donated: [0, 0], maxBytes: 1e9 })).toThrow(/two outputs cannot take the place of one input/);
  expect(buildPlan(g, cpu, { donated: [0, -1], maxBytes: 1e9 }).aliases).toEqual([0, -1]);
});

test('a vector that is short of elements is overwritten in place like the others', () => {
  for (const n of [17, 20001]) {
    const b = builder();
    const x = b.param({ dtype: 'f32', shape: [n] }, 'x');
    const { launches } = buildPlan(b.build([b.neg(x)]), cpu, { donated: [0], maxBytes: 1e9 });
    expect(launches.map((l) => l.label)).toEqual(['map: neg']);
  }
});
