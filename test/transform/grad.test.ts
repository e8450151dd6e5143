/** What valueAndGrad emits: values at kinks, zeros, phases and order, only live nodes, linear size, errors. */
import { describe, expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { type Builder, builder } from '../../compiler/graph/builder.ts';
import { sym } from '../../compiler/graph/dim.ts';
import { showType } from '../../compiler/graph/infer.ts';
import { interpret, tensor64 } from '../../compiler/graph/interpret.ts';
import type { Graph, TensorType, Value } from '../../compiler/graph/types.ts';
import { valueAndGrad, vjp } from '../../compiler/transform/grad.ts';
import { jvp } from '../../compiler/transform/jvp.ts';
import { type Arg, arg, gradOf, trace, vector } from './support.ts';

/** Gradients of sum(f) at vectors, argument by argument. */
const at = (f: (b: Builder, ...xs: Value[]) => Value, ...xs: number[][]): number[][] => {
  const args: Arg[] = xs.map((x) => arg([x.length]));
  const g = trace(args, (b, ...vs) => {
    const y = f(b, ...vs);
    return [
      b.sum(
        y,
        y.type.shape.map((_, i) => i),
      ),
    ];
  });
  return interpret(
    gradOf(
      g,
      xs.map((_, i) => i),
    ),
    xs.map((x) => vector(...x)),
  )
    .slice(1)
    .map((t) => Array.from(t.data));
};
const prims = (g: Graph, phase: string): string =>
  g.nodes
    .filter((n) => n.meta.phase === phase)
    .map((n) => n.op.prim)
    .join(' ');

describe('at kinks and edges', () => {
  test('equal operands of max and min share the derivative', () => {
    expect(at((b, x, y) => b.max(x, y), [1, 2, 3], [3, 2, 1])).toEqual([
      [0, 0.5, 1],
      [1, 0.5, 0],
    ]);
    expect(at((b, x, y) => b.min(x, y), [1, 2, 3], [3, 2, 1])).toEqual([
      [1, 0.5, 0],
      [0, 0.5, 1],
    ]);
  });
  test('equal extrema share the derivative of a reduction', () => {
    expect(at((b, x) => b.one({ prim: 'reduceMax', axes: [0] }, [x]), [1, 4, 4, 0])).toEqual([[0, 0.5, 0.5, 0]]);
    expect(at((b, x) => b.one({ prim: 'reduceMin', axes: [0] }, [x]), [2, 2, 2, 2])).toEqual([[0.25, 0.25, 0.25, 0.25]]);
  });
  test('abs has derivative 0 at 0', () => {
    expect(at((b, x) => b.abs(x), [-2, 0, 2])).toEqual([[-1, 0, 1]]);
  });
  test('pow is finite at base 0, and at exponents 0, 1 and 2', () => {
    expect(at((b, x, y) => b.pow(x, y), [0, 0, 0, 3], [2, 1, 0, 0])).toEqual([
      [0, 1, 0, 0],
      [0, 0, 0, Math.log(3)],
    ]);
  });
  test('the second derivative of x^2 at 0 is 2', () => {
    const g = gradOf(
      trace([arg([])], (b, x) => [b.pow(x, b.constant(2))]),
      [0],
    );
    const second = gradOf({ ...g, results: g.results.slice(1) }, [0]);
    expect(interpret(second, [tensor64({ dtype: 'f32', shape: [] }, [0])]).map((t) => t.data[0])).toEqual([0, 2]);
  });
  test('stopGradient stops it; an argument that is not used has gradient 0', () => {
    expect(at((b, x) => b.mul(x, b.stopGradient(x)), [3, 5])).toEqual([[3, 5]]);
    expect(at((b, x, _y) => b.stopGradient(x), [3, 5], [1, 2])).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });
  test('gather drops what is out of range, and adds what is read twice', () => {
    const index = (b: Builder): Value => b.one({ prim: 'array', data: [0, 2, 2, 9, -1], shape: [5], dtype: 'i32' }, []);
    expect(at((b, x) => b.gather(x, index(b), 0), [1, 2, 3])).toEqual([[1, 0, 2]]);
  });
});

describe('what is emitted', () => {
  const sine = trace([arg([4])], (b, x) => [b.sum(b.sin(x), [0])]);

  test('forward, then backward; slopes stand in the backward phase', () => {
    const g = gradOf(sine, [0]);
    expect(prims(g, 'fwd')).toBe('sin reduceSum');
    expect(prims(g, 'bwd')).toBe('const broadcast cos mul');
  });
  test('scope and place are those of the primal node', () => {
    const loc = { file: 'model.ts', line: 3, col: 7 };
    const g = trace([arg([4])], (b, x) => b.at({ scope: 'blocks.3/mlp', loc }, () => [b.sum(b.mul(x, x), [0])]));
    const bwd = gradOf(g, [0]).nodes.filter((n) => n.meta.phase === 'bwd' && n.op.prim !== 'const');
    expect(bwd.map((n) => n.op.prim)).toEqual(['broadcast', 'mul', 'mul', 'add']);
    for (const n of bwd) expect(n.meta).toMatchObject({ scope: 'blocks.3/mlp', loc });
  });
  test('weights of a matmul get their gradient in their own layout, by one dot', () => {
    for (const [shape, contract] of [
      [
        [5, 4],
        [[2], [1]],
      ],
      [
        [4, 5],
        [[2], [0]],
      ],
    ] as const) {
      const g = trace([arg([2, 3, 4]), arg(shape)], (b, x, w) => {
        const y = b.one({ prim: 'dot', batch: [[], []], contract, dtype: 'f32' }, [x, w]);
        return [b.sum(y, [0, 1, 2])];
      });
      expect(prims(gradOf(g, [1]), 'bwd')).toBe('const broadcast dot');
    }
  });
  test('nothing dead: every node reaches a result', () => {
    const g = trace([arg([4]), arg([4, 4]), arg([2], 0, 3, 'i32')], (b, x, w, i) => {
      const y = b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [w, x]);
      return [b.sum(b.mul(b.exp(y), b.max(x, y)), [0]), b.gather(x, i, 0)];
    });
    for (const wrt of [[0], [1], [0, 1], []]) {
      const joint = gradOf(g, wrt);
      const live = new Set<Value>(joint.results);
      for (const n of [...joint.nodes].reverse()) {
        expect(
          n.outputs.some((o) => live.has(o)),
          n.op.prim,
        ).toBe(true);
        for (const v of n.inputs) live.add(v);
      }
    }
  });
  test('a call without derivative stays a call; one with derivative is its body', () => {
    const body = trace([arg([4])], (b, x) => [b.tanh(x)]);
    const g = trace([arg([4]), arg([4])], (b, x, y) => {
      const [p, q] = [b.one({ prim: 'call', tag: 'squash', body }, [x]), b.one({ prim: 'call', tag: 'squash', body }, [y])];
      return [b.sum(b.mul(p, q), [0])];
    });
    expect(prims(gradOf(g, [1]), 'fwd')).toBe('call tanh mul reduceSum');
  });
  test('the size of the gradient is linear in that of the program, and long chains need no deep stack', () => {
    const chain = (n: number): Graph =>
      trace([arg([2])], (b, x) => {
        let y = x as Value;
        for (let i = 0; i < n; i++) y = i % 2 ? b.sin(y) : b.mul(y, x as Value);
        return [b.sum(y, [0])];
      });
    const count = (n: number): number => gradOf(chain(n), [0]).nodes.length;
    expect(count(200) - count(100)).toBe(count(300) - count(200));
    expect(count(10_100) - count(100)).toBe(100 * (count(200) - count(100)));
  });
  test('a scan stacks what varies; constants of its body are computed again', () => {
    const body = trace([arg([]), arg([])], (b, c, x) => {
      const k = b.exp(b.constant(0.5));
      return [b.mul(b.mul(c, k), x)];
    });
    const g = trace([arg([]), arg([5])], (b, c, x) =>
      b.emit({ prim: 'scan', length: 5, carries: 1, constants: 0, reverse: false, body }, [c, x]),
    );
    const forward = gradOf(g, [0]).nodes.find((n) => n.op.prim === 'scan');
    expect(forward?.outputs.map((o) => showType(o.type))).toEqual(['f32[]']);
  });
  test('the backward phase visits layers in reverse, each with the gradient of its weights', () => {
    const g = trace([arg([2]), arg([2]), arg([2])], (b, x, w1, w2) => {
      const layer = (k: number, x: Value, w: Value): Value => b.at({ scope: `layer${k}` }, () => b.tanh(b.mul(x, w)));
      return [b.sum(layer(2, layer(1, x as Value, w1 as Value), w2 as Value), [0])];
    });
    const scopes = gradOf(g, [1, 2]).nodes.flatMap((n) => (n.meta.phase === 'bwd' && n.op.prim === 'mul' ? [n.meta.scope] : []));
    expect(scopes).toEqual([...scopes].sort().reverse());
    expect(new Set(scopes).size).toBe(2);
  });
  test('named sizes', () => {
    const t: TensorType = { dtype: 'f32', shape: [sym('B'), sym('N')] };
    const b = builder();
    const x = b.param(t);
    const g = b.build([b.sum(b.mul(b.broadcast(b.sum(x, [1]), t.shape, [0]), b.slice(b.concat([x, x], 0), [0, 0], t.shape)), [0, 1])]);
    expect(gradOf(g, [0]).results.map((r) => showType(r.type))).toEqual(['f32[]', 'f32[B N]']);
  });
  test('gradients have the dtype of their argument, also through a mixed dot', () => {
    const g = trace([arg([2, 3], -1, 1, 'bf16'), arg([3], -1, 1, 'bf16')], (b, w, x) => [
      b.sum(b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [w, x]), [0]),
    ]);
    expect(gradOf(g, [0, 1]).results.map((r) => showType(r.type))).toEqual(['f32[]', 'bf16[2 3]', 'bf16[3]']);
  });
  test('resharding: the cotangent of a gather is scattered', () => {
    const g = trace([arg([4])], (b, x) => [b.sum(b.one({ prim: 'reshard', axis: 'data', from: { split: 0 }, to: 'R' }, [x]), [0])]);
    const back = gradOf(g, [0]).nodes.find((n) => n.op.prim === 'reshard' && n.meta.phase === 'bwd');
    expect(back?.op).toEqual({ prim: 'reshard', axis: 'data', from: 'P', to: { split: 0 } });
  });
  test('a scan of the backward phase runs the other way over what the forward scan stacked', () => {
    const body = trace([arg([]), arg([]), arg([])], (b, c, w, x) => [b.add(b.mul(c, w), x)]);
    const g = trace([arg([]), arg([]), arg([5])], (b, c, w, x) =>
      b.emit({ prim: 'scan', length: 5, carries: 1, constants: 1, reverse: false, body }, [c, w, x]),
    );
    const scans = gradOf(g, [0, 1, 2]).nodes.flatMap((n) =>
      n.op.prim === 'scan' ? [{ ...n.op, phase: n.meta.phase, outs: n.outputs.length }] : [],
    );
    expect(scans).toMatchObject([
      { phase: 'fwd', reverse: false, carries: 1, outs: 2 },
      { phase: 'bwd', reverse: true, carries: 2, outs: 3 },
    ]);
  });
});

describe('errors', () => {
  const caught = (f: () => unknown): FoveaError => {
    try {
      f();
    } catch (e) {
      if (e instanceof FoveaError) return e;
      throw e;
    }
    throw new Error('nothing was thrown');
  };
  test.each([
    ['a vector', trace([arg([2, 3])], (_, x) => [x as Value]), [0], 'grad: the function returns f32[2 3], not one float scalar'],
    ['an integer', trace([arg([], 0, 9, 'i32')], (_, x) => [x as Value]), [0], 'grad: the function returns i32[], not one float scalar'],
    ['nothing', trace([arg([])], () => []), [0], 'grad: the function returns nothing, not one float scalar'],
    ['an integer argument', trace([arg([]), arg([3], 0, 9, 'i32')], (_, x) => [x as Value]), [0, 1], 'argument 1 (x1) is i32[3]'],
    ['no such argument', trace([arg([])], (_, x) => [x as Value]), [4], 'there is no argument 4: the function has 1'],
  ])('%s', (_, g, wrt, message) => {
    const b = builder({ scope: 'student', phase: 'fwd', loc: { file: 'a.ts', line: 1, col: 2 } });
    const e = caught(() =>
      valueAndGrad(
        b,
        g,
        g.params.map((p) => b.param(p.type, p.name)),
        wrt,
      ),
    );
    expect(e).toMatchObject({ code: 'FV0103', message, scope: 'student', loc: { line: 1 } });
    expect(e.hint).toBeTruthy();
  });
  test('cotangents and tangents that do not fit', () => {
    const g = trace([arg([2])], (b, x) => [b.sin(x as Value)]);
    const b = builder();
    const [x, t] = [b.param({ dtype: 'f32', shape: [2] }), b.param({ dtype: 'f32', shape: [3] })];
    expect(caught(() => vjp(b, g, [x], [t])).message).toBe('result 0 is f32[2], its cotangent f32[3]');
    expect(caught(() => jvp(b, g, [x], [t])).message).toBe('jvp: argument 0 is f32[2], its tangent f32[3]');
  });
});
