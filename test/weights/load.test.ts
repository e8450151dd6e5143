/** Weights into a model: everything that does not fit is listed, or, when asked, left as it was. */
import { expect, test } from 'vitest';
import { type HostTensor, init, type LazyTensor, flatten as leavesOf, paramSpecs } from '../../dsl/index.ts';
import { linear } from '../../models/layers.ts';
import { flatten, loadWeights } from '../../models/weights/index.ts';

const model = linear(3, 2);
const specs = paramSpecs(model);
const lazy = (shape: readonly number[], fill: number): LazyTensor => ({
  shape,
  dtype: 'f32',
  load: () => new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill),
});
const whole = (): Map<string, LazyTensor> =>
  new Map([
    ['weight', lazy([2, 3], 1)],
    ['bias', lazy([2], 2)],
  ]);

test('tensors take the places of the specs, still lazy', () => {
  const file = whole();
  const { params, ...report } = loadWeights(specs, file);
  expect(params.weight).toBe(file.get('weight'));
  expect(params.bias).toBe(file.get('bias'));
  expect(report).toEqual({ missing: [], unexpected: [], wrong: [], nonFinite: [] });
});

test('all differences in one error', () => {
  const file = whole();
  file.delete('bias');
  file.set('weight', lazy([3, 2], 1)).set('extra', lazy([1], 1));
  expect(() => loadWeights(specs, file, { source: 'model.pth' })).toThrow(
    expect.objectContaining({
      code: 'FV0406',
      message: 'model.pth does not fit: bias: missing; weight: f32 [3 2] where f32 [2 3] is expected; extra: not part of the model',
    }),
  );
  const half: LazyTensor = { shape: [2], dtype: 'f16', load: () => new Uint16Array(2) };
  expect(() => loadWeights(specs, whole().set('bias', half))).toThrow('bias: f16 [2] where f32 [2] is expected');
});

test('permissive: what fits is taken, the rest keeps its initial values, and both are said', () => {
  const initial = init(model, 5);
  const file = whole();
  file.delete('bias');
  file.set('extra', lazy([1], 1));
  const { params, missing, unexpected, wrong } = loadWeights(initial, file, { strict: false });
  expect({ missing, unexpected, wrong }).toEqual({ missing: ['bias'], unexpected: ['extra'], wrong: [] });
  expect(params.weight).toBe(file.get('weight'));
  expect(params.bias).toBe(initial.bias);
  expect(leavesOf(params).map((l) => l.path)).toEqual(['weight', 'bias']);
  file.set('weight', lazy([6], 1));
  const second = loadWeights(initial, file, { strict: false });
  expect(second.params).toEqual(initial);
  expect(second.wrong).toEqual(['weight: f32 [6] where f32 [2 3] is expected']);
  // a spec has nothing to keep
  expect(() => loadWeights(specs, file, { strict: false })).toThrow('there is no initial value to keep');
});

test('a part of the names', () => {
  const file = new Map([...whole()].map(([n, t]) => [`backbone.${n}`, t]));
  file.set('head.weight', lazy([1], 1));
  expect(loadWeights(specs, file, { prefix: 'backbone' }).params.bias).toBe(file.get('backbone.bias'));
  expect(() => loadWeights(specs, file)).toThrow(/weight: missing; bias: missing; backbone.weight: not part of the model/);
});

test('infinities and NaN are refused by name, or said', () => {
  const bad = (value: number): LazyTensor => ({ shape: [2], dtype: 'f32', load: () => Float32Array.of(1, value) });
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const file = whole().set('bias', bad(value));
    expect(() => loadWeights(specs, file, { source: 'm' })).toThrow(
      expect.objectContaining({ code: 'FV0411', message: 'm holds infinities or NaN: bias' }),
    );
    const { params, nonFinite } = loadWeights(specs, file, { finite: false });
    expect(nonFinite).toEqual(['bias']);
    expect(params.bias).toBe(file.get('bias'));
  }
  const half: LazyTensor = { shape: [2], dtype: 'bf16', load: () => Uint16Array.of(0x3f80, 0x7fc0) };
  expect(() => loadWeights({ bias: half }, new Map([['bias', half]]))).toThrow('holds infinities or NaN: bias');
  // a value that was there before is not the file's
  const initial = { bias: { shape: [2], dtype: 'f32', data: Float32Array.of(Number.NaN, 1) } satisfies HostTensor };
  expect(loadWeights(initial, new Map(), { strict: false }).nonFinite).toEqual([]);
});

test('host tensors are weights too', () => {
  const values = init(model, 3);
  const tensors = new Map([...flatten(values)].map(([name, t]) => [name, t as HostTensor]));
  expect(loadWeights(specs, tensors).params).toEqual(values);
});
