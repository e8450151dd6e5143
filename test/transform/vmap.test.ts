/** Law: example i of vmap(f)(xs) is f(x_i), bit for bit in the interpreter, for generated graphs over all primitives and regions. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { builder } from '../../compiler/graph/builder.ts';
import { type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { type Graph, isFloat } from '../../compiler/graph/types.ts';
import { valueAndGrad } from '../../compiler/transform/grad.ts';
import { loop } from '../../testing/laws/vmap.ts';
import { arbitraryGraph, arbitraryProgram } from '../../testing/program.ts';

/** Every example of the batch against the graph itself. */
const check = (graph: Graph, inputs: readonly Tensor64[], batched: readonly boolean[]): void =>
  expect(loop({ graph, inputs }, batched)).toBeUndefined();

test('vmap is a loop, for generated programs and any choice of batched arguments', () => {
  fc.assert(
    fc.property(arbitraryProgram({ maxNodes: 16 }), fc.nat(7), ({ graph, inputs }, choice) => {
      const batched = graph.params.map((_, i) => ((choice >> i) & 1) === 0);
      check(graph, inputs, batched);
    }),
    { seed: 41, numRuns: 400 },
  );
});

test('vmap of the gradient is the gradient of single examples', () => {
  fc.assert(
    fc.property(arbitraryProgram({ maxNodes: 8, differentiable: true }), ({ graph, inputs }) => {
      const at = graph.params.flatMap((p, i) => (isFloat(p.type.dtype) ? [i] : []));
      const b = builder();
      const params = graph.params.map((p) => b.param(p.type));
      const sums = builder();
      const ps = graph.params.map((p) => sums.param(p.type));
      const [y] = sums.inline(graph, ps) as [Graph['results'][number]];
      const scalar = sums.build([
        sums.sum(
          y,
          y.type.shape.map((_, i) => i),
        ),
      ]);
      const { results, grads } = valueAndGrad(b, scalar, params, at);
      check(
        b.build([...results, ...grads]),
        inputs,
        graph.params.map(() => true),
      );
    }),
    { seed: 42, numRuns: 60 },
  );
});

test('generated graphs reach every rule', () => {
  const seen = new Set<string>();
  const visit = (g: Graph): void => {
    for (const n of g.nodes) {
      seen.add(n.op.prim);
      if ('body' in n.op) visit(n.op.body);
    }
  };
  for (const g of fc.sample(arbitraryGraph({ maxNodes: 16 }), { seed: 41, numRuns: 400 })) visit(g);
  for (const prim of ['gather', 'scatterAdd', 'dot', 'scan', 'call', 'perShard', 'randomBits', 'argmax', 'cumsum', 'concat', 'reshard'])
    expect([prim, seen.has(prim)]).toEqual([prim, true]);
});

describe('indices of an example', () => {
  const build = (f: (b: ReturnType<typeof builder>) => Graph['results'][number]): Graph => {
    const b = builder();
    return b.build([f(b)]);
  };
  it('stay among its own rows, and out of range where they were', () => {
    const g = build((b) => b.gather(b.param({ dtype: 'f32', shape: [2, 3, 2] }), b.param({ dtype: 'i32', shape: [2, 2] }), 1));
    const x = tensor64(
      { dtype: 'f32', shape: [2, 3, 2] },
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
    const index = tensor64({ dtype: 'i32', shape: [2, 2] }, [-1, 2, 3, 0]);
    for (const batched of [
      [true, true],
      [false, true],
      [true, false],
    ])
      check(g, [x, index], batched);
  });
  it('add to its own rows', () => {
    const g = build((b) =>
      b.scatterAdd(
        b.param({ dtype: 'f32', shape: [2, 3] }),
        b.param({ dtype: 'i32', shape: [4] }),
        b.param({ dtype: 'f32', shape: [2, 4] }),
        1,
      ),
    );
    const t = (shape: number[], from: number): Tensor64 =>
      tensor64(
        { dtype: 'f32', shape },
        Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => from + i),
      );
    const index = tensor64({ dtype: 'i32', shape: [4] }, [2, -1, 3, 2]);
    for (let choice = 1; choice < 8; choice++)
      check(
        g,
        [t([2, 3], 1), index, t([2, 4], 20)],
        [0, 1, 2].map((i) => ((choice >> i) & 1) === 1),
      );
  });
  it('add to its own rows, of a list with two axes', () => {
    const g = build((b) =>
      b.scatterAdd(
        b.param({ dtype: 'f32', shape: [2, 3] }),
        b.param({ dtype: 'i32', shape: [2, 3] }),
        b.param({ dtype: 'f32', shape: [2, 2, 3] }),
        1,
      ),
    );
    const t = (shape: number[], from: number): Tensor64 =>
      tensor64(
        { dtype: 'f32', shape },
        Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => from + i * i),
      );
    check(g, [t([2, 3], 1), tensor64({ dtype: 'i32', shape: [2, 3] }, [2, 0, 1, 1, -1, 2]), t([2, 2, 3], 20)], [true, true, true]);
  });
  it('go back behind two axes', () => {
    const g = build((b) => b.gather(b.param({ dtype: 'f32', shape: [2, 3, 4] }), b.param({ dtype: 'i32', shape: [2, 2] }), 2));
    const x = tensor64(
      { dtype: 'f32', shape: [2, 3, 4] },
      Array.from({ length: 24 }, (_, i) => i + 1),
    );
    check(g, [x, tensor64({ dtype: 'i32', shape: [2, 2] }, [3, 0, 2, 1])], [true, true]);
  });
});

test('a dot of one batched operand has the batch first', () => {
  const b = builder();
  const [x, y] = [b.param({ dtype: 'f32', shape: [2, 3] }), b.param({ dtype: 'f32', shape: [3, 4] })];
  const g = b.build([b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [x, y])]);
  const t = (shape: number[], n: number): Tensor64 =>
    tensor64(
      { dtype: 'f32', shape },
      Array.from({ length: n }, (_, i) => i + 1),
    );
  for (const batched of [
    [true, false],
    [false, true],
  ])
    check(g, [t([2, 3], 6), t([3, 4], 12)], batched);
});
