/** Contractions whose axes are in another order than memory, or have no strides as they lie: kernels give what the interpreter does. */
import { expect, test } from 'vitest';
import { cpuTarget } from '../../backends/cpu/index.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { interpret, tensor64 } from '../../compiler/graph/interpret.ts';
import { runKernels } from '../../testing/kernels.ts';

type Contract = readonly [readonly number[], readonly number[]];
test.each<readonly [string, readonly number[], readonly number[], Contract]>([
  [
    'the first operand lists its last axis first',
    [2, 3],
    [3, 2],
    [
      [1, 0],
      [0, 1],
    ],
  ],
  [
    'the same, with axes that are kept',
    [2, 3, 4],
    [3, 2, 5],
    [
      [1, 0],
      [0, 1],
    ],
  ],
  [
    'both list their axes backwards',
    [2, 3],
    [2, 3],
    [
      [1, 0],
      [1, 0],
    ],
  ],
  [
    'contracted axes on both sides of a free one: the operand is copied',
    [2, 3, 4],
    [2, 4, 5],
    [
      [0, 2],
      [0, 1],
    ],
  ],
])('%s', (_, left, right, contract) => {
  const b = builder();
  const [x, y] = [left, right].map((shape) => b.param({ dtype: 'f32', shape }));
  if (!x || !y) throw new Error('two operands');
  const g = b.build([b.one({ prim: 'dot', batch: [[], []], contract, dtype: 'f32' }, [x, y])]);
  // small whole numbers: sums are exact in any order
  const args = [x, y].map(({ type }, k) =>
    tensor64(
      type,
      Array.from({ length: (k === 0 ? left : right).reduce((n, d) => n * d, 1) }, (_, i) => i * (k + 1) - 3),
    ),
  );
  expect(Array.from(runKernels(g, cpuTarget(2), args)[0] ?? [])).toEqual(Array.from(interpret(g, args)[0]?.data ?? [0]));
});

test('an operand that is a slice', () => {
  const b = builder();
  const [x, y] = [b.param({ dtype: 'f32', shape: [4, 3] }), b.param({ dtype: 'f32', shape: [3, 2] })];
  const part = b.slice(x, [1, 0], [3, 3]);
  const g = b.build([b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [part, y])]);
  const args = [x, y].map(({ type }, k) =>
    tensor64(
      type,
      Array.from({ length: k === 0 ? 12 : 6 }, (_, i) => i * (k + 1) - 3),
    ),
  );
  expect(Array.from(runKernels(g, cpuTarget(2), args)[0] ?? [])).toEqual(Array.from(interpret(g, args)[0]?.data ?? [0]));
});

test('a result that is transposed as it is stored', () => {
  const b = builder();
  const [x, y] = [b.param({ dtype: 'f32', shape: [2, 3] }), b.param({ dtype: 'f32', shape: [3, 4] })];
  const product = b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [x, y]);
  const g = b.build([b.transpose(product, [1, 0])]);
  const args = [x, y].map(({ type }, k) =>
    tensor64(
      type,
      Array.from({ length: k === 0 ? 6 : 12 }, (_, i) => i * (k + 1) - 3),
    ),
  );
  expect(Array.from(runKernels(g, cpuTarget(2), args)[0] ?? [])).toEqual(Array.from(interpret(g, args)[0]?.data ?? [0]));
});
