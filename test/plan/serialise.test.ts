/** Plans as text: what is written reads back, and nothing else is read. The law `plan text` says the same of generated programs. */
import { expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import * as e from '../../compiler/kernel/expr.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { parsePlan, printPlan } from '../../compiler/plan/serialise.ts';
import type { Plan, Slot } from '../../compiler/plan/types.ts';
import { planOf } from '../cpu/helper.ts';

const scale: Kernel = {
  name: 'scale',
  buffers: [
    { name: 'x', dtype: 'f32', size: 3, access: 'read' },
    { name: 'y', dtype: 'f32', size: 3, access: 'write' },
  ],
  grid: [3, 1, 1],
  threads: 1,
  body: [{ s: 'store', to: 'y', index: e.block(0), value: e.mul(e.load({ name: 'x', dtype: 'f32' }, e.block(0)), e.f32(-0)) }],
};
const { names: _, ...made } = planOf([scale]);
const slot: Slot = { type: { dtype: 'f32', shape: [5] }, offset: 128, bytes: 20 };
const plan: Plan = {
  ...made,
  collectives: [
    {
      kind: 'reduce-scatter',
      group: 'shard',
      dtype: 'f32',
      reduction: 'sum',
      segments: [{ send: 0, receive: 64, count: 3 }],
      scope: 'student',
      phase: 'bwd',
    },
  ],
  events: [
    { what: 'start', collective: 0, before: 0 },
    { what: 'wait', collective: 0, before: 1 },
  ],
  constants: [{ slot, data: [-0, 0, Number.NaN, Infinity, -Infinity] }],
  lifetimes: [{ slot, scope: 'student/"odd"\nname/ß', first: -1, last: 1 }],
};
const text = printPlan({ plan, key: 'abc', nodes: 7 });

const refusal = (t: string): string => {
  try {
    parsePlan(t);
  } catch (x) {
    expect(x).toBeInstanceOf(FoveaError);
    expect((x as FoveaError).code).toBe('FV0203');
    return (x as FoveaError).message;
  }
  return 'none';
};

test('what is printed reads back, every number included', () => {
  const back = parsePlan(text);
  expect({ key: back.key, nodes: back.nodes }).toEqual({ key: 'abc', nodes: 7 });
  expect({ ...back.plan }).toStrictEqual(plan);
  expect(back.plan.constants[0]?.data.map((x) => Object.is(x, -0))).toEqual([true, false, false, false, false]);
  expect(back.plan.kernels).toBe(back.plan.kernels);
  expect(printPlan(back)).toBe(text);
});

test('any damage is noticed: a character changed, added or lost, anywhere', () => {
  for (let i = 0; i < text.length; i++) {
    const other = String.fromCharCode(text.charCodeAt(i) ^ 1);
    for (const t of [
      text.slice(0, i) + other + text.slice(i + 1),
      text.slice(0, i) + text.slice(i + 1),
      text.slice(0, i),
      `${text.slice(0, i)}1${text.slice(i)}`,
    ])
      if (t !== text) expect(refusal(t), `at ${i}`).toMatch(/^plan text: /);
  }
  expect(refusal(text + text)).toMatch(/damaged/);
  expect(refusal('')).toMatch(/begin/);
});

test('another version is refused by name', () => {
  expect(refusal(text.replace('fovea plan 2 ', 'fovea plan 3 '))).toBe('plan text: it is of version 3, this is version 2');
});
