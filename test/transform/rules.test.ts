/**
 * Every primitive: its jvp against central differences in float64, its transpose by duality, and both again for the
 * gradient, which is order 2. The table is exhaustive by type: a primitive without a case does not compile.
 */
import { describe, expect, test } from 'vitest';
import type { Builder } from '../../compiler/graph/builder.ts';
import type { Op, Prim, Value } from '../../compiler/graph/types.ts';
import { jvpRules } from '../../compiler/transform/jvp.ts';
import { transposeRules } from '../../compiler/transform/transpose.ts';
import { type Arg, arg, checkAll, trace } from './support.ts';

interface Case {
  readonly args: readonly Arg[];
  readonly f: (b: Builder, ...xs: Value[]) => readonly Value[];
}
const of = (args: readonly Arg[], f: (b: Builder, ...xs: Value[]) => Value | readonly Value[]): Case => ({
  args,
  f: (b, ...xs) => [f(b, ...xs)].flat() as Value[],
});
const apply = (op: Op, ...args: Arg[]): Case => of(args, (b, ...xs) => b.emit(op, xs));
/** Discrete results, as a float, times the argument: their derivative must be zero and that of the product must not. */
const discrete = (f: (b: Builder, x: Value) => Value): Case => of([arg([5])], (b, x) => b.mul(b.cast(f(b, x), 'f32'), x));

const v = arg([5]);
const scalar = arg([]);
const m = arg([3, 4]);
const positive = arg([5], 0.5, 3);
const indices = arg([2, 3], -1, 6, 'i32');
const bits = (b: Builder, x: Value): Value => b.compare('gt', x, b.fill(0, x.type));
const whole = (b: Builder, x: Value): Value => b.cast(b.cast(b.floor(b.abs(b.mul(x, b.fill(8, x.type)))), 'i32'), 'u32');
const dot = (l: readonly number[], r: readonly number[], batch: [number[], number[]], contract: [number[], number[]]): Case =>
  apply({ prim: 'dot', batch, contract, dtype: 'f32' }, arg(l), arg(r));
const shift = (op: Op): Case => discrete((b, x) => b.one(op, [whole(b, x), b.fill(1, { dtype: 'u32', shape: [5] })]));

/** c' = tanh(w c + x), y = c * c', run in either direction. */
const recurrence = (reverse: boolean): Case =>
  of([arg([3]), arg([3, 3]), arg([4, 3])], (b, c, w, x) => {
    const body = trace([arg([3]), arg([3, 3]), arg([3])], (b, c, w, x) => {
      const wc = b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [w, c]);
      const next = b.tanh(b.add(b.mul(wc, b.fill(0.5, wc.type)), x));
      return [next, b.mul(c, next)];
    });
    return b.emit({ prim: 'scan', length: 4, carries: 1, constants: 1, reverse, body }, [c, w, x]);
  });

// differentiation comes before sharding
const cases: { readonly [P in Exclude<Prim, 'collective' | 'start' | 'wait'>]: readonly Case[] } = {
  const: [of([v], (b, x) => b.mul(x, b.fill(3, x.type))), of([v], (b) => b.constant(2))],
  array: [of([arg([2])], (b, x) => b.mul(x, b.one({ prim: 'array', data: [2, 5], shape: [2], dtype: 'f32' }, [])))],
  iota: [of([m], (b, x) => b.mul(x, b.one({ prim: 'iota', shape: [3, 4], axis: 1, dtype: 'f32' }, [])))],
  neg: [apply({ prim: 'neg' }, v)],
  exp: [apply({ prim: 'exp' }, v)],
  log: [apply({ prim: 'log' }, positive)],
  sin: [apply({ prim: 'sin' }, v)],
  cos: [apply({ prim: 'cos' }, v)],
  tanh: [apply({ prim: 'tanh' }, v)],
  sqrt: [apply({ prim: 'sqrt' }, positive)],
  rsqrt: [apply({ prim: 'rsqrt' }, positive)],
  erf: [apply({ prim: 'erf' }, v)],
  abs: [apply({ prim: 'abs' }, v)],
  sign: [discrete((b, x) => b.sign(x))],
  floor: [discrete((b, x) => b.floor(x))],
  not: [discrete((b, x) => b.not(bits(b, x)))],
  cast: [
    of([v], (b, x) => b.mul(b.cast(b.cast(x, 'bf16'), 'f32'), x)),
    discrete((b, x) => b.cast(x, 'i32')),
    of([arg([5], 0, 9, 'i32'), v], (b, i, x) => b.mul(b.cast(i, 'f32'), x)),
  ],
  stopGradient: [of([v], (b, x) => b.stopGradient(b.fill(2, x.type)))],
  add: [apply({ prim: 'add' }, v, v), of([v], (b, x) => b.add(x, x))],
  sub: [apply({ prim: 'sub' }, v, v), of([v], (b, x) => b.sub(b.fill(1, x.type), x))],
  mul: [apply({ prim: 'mul' }, v, v), of([v], (b, x) => b.mul(x, x))],
  div: [apply({ prim: 'div' }, v, positive), apply({ prim: 'div' }, v, arg([5], -3, -0.5))],
  pow: [apply({ prim: 'pow' }, positive, v), of([v], (b, x) => b.pow(x, b.fill(3, x.type)))],
  max: [apply({ prim: 'max' }, v, v), of([v], (b, x) => b.mul(x, b.max(x, b.fill(0, x.type))))],
  min: [apply({ prim: 'min' }, v, v)],
  rem: [apply({ prim: 'rem' }, arg([5], -9, 9), positive), apply({ prim: 'rem' }, arg([5], -9, 9), arg([5], -3, -0.5))],
  and: [discrete((b, x) => b.and(bits(b, x), bits(b, b.neg(x))))],
  or: [discrete((b, x) => b.or(bits(b, x), bits(b, b.neg(x))))],
  xor: [discrete((b, x) => b.xor(whole(b, x), whole(b, b.neg(x))))],
  shiftLeft: [shift({ prim: 'shiftLeft' })],
  shiftRight: [shift({ prim: 'shiftRight' })],
  compare: [discrete((b, x) => bits(b, x))],
  select: [
    apply({ prim: 'select' }, arg([5], 0, 1, 'bool'), v, v),
    of([arg([5], 0, 1, 'bool'), v], (b, c, x) => b.select(c, b.fill(1, x.type), b.mul(x, x))),
    of([v], (b, x) => b.select(bits(b, x), b.sin(x), x)),
  ],
  broadcast: [
    apply({ prim: 'broadcast', shape: [2, 3, 4], axes: [1, 2] }, m),
    apply({ prim: 'broadcast', shape: [2, 3, 4], axes: [0, 2] }, arg([2, 1])),
    apply({ prim: 'broadcast', shape: [1, 3], axes: [0, 1] }, arg([1, 3])),
    apply({ prim: 'broadcast', shape: [2, 3], axes: [] }, arg([])),
  ],
  reshape: [apply({ prim: 'reshape', shape: [2, 6] }, m)],
  transpose: [apply({ prim: 'transpose', perm: [2, 0, 1] }, arg([2, 3, 4]))],
  slice: [apply({ prim: 'slice', start: [1, 0], limit: [3, 2] }, m)],
  pad: [apply({ prim: 'pad', low: [1, 0], high: [0, 2], value: 7 }, m)],
  concat: [apply({ prim: 'concat', axis: 1 }, m, arg([3, 2]), m), of([m], (b, x) => b.concat([b.fill(1, x.type), x, b.mul(x, x)], 0))],
  reverse: [apply({ prim: 'reverse', axes: [0, 1] }, m)],
  gather: [apply({ prim: 'gather', axis: 0 }, m, indices), apply({ prim: 'gather', axis: 1 }, m, indices)],
  scatterAdd: [
    apply({ prim: 'scatterAdd', axis: 0 }, arg([4, 2]), indices, arg([2, 3, 2])),
    apply({ prim: 'scatterAdd', axis: 1 }, arg([2, 4]), arg([3], -1, 6, 'i32'), arg([2, 3])),
    of([indices, arg([2, 3, 2])], (b, i, u) => b.scatterAdd(b.fill(1, { dtype: 'f32', shape: [4, 2] }), i, u, 0)),
    of([arg([4, 2]), indices], (b, x, i) => b.scatterAdd(x, i, b.fill(1, { dtype: 'f32', shape: [2, 3, 2] }), 0)),
  ],
  dot: [
    dot([2, 3], [4, 3], [[], []], [[1], [1]]),
    dot([3, 2], [3, 4], [[], []], [[0], [0]]),
    dot([2, 3], [3, 4], [[], []], [[1], [0]]),
    dot([3, 2], [4, 3], [[], []], [[0], [1]]),
    dot([5, 2, 3], [4, 5, 3], [[0], [1]], [[2], [2]]),
    dot([2, 5, 3], [3, 4, 5], [[1], [2]], [[2], [0]]),
    dot(
      [2, 3, 4],
      [4, 5, 3],
      [[], []],
      [
        [1, 2],
        [2, 0],
      ],
    ),
    dot(
      [2, 3, 2, 4],
      [3, 2, 4, 5],
      [
        [2, 1],
        [1, 0],
      ],
      [[3], [2]],
    ),
    dot([3], [3], [[], []], [[0], [0]]),
    dot([2], [3], [[], []], [[], []]),
    of([m], (b, x) => b.one({ prim: 'dot', batch: [[], []], contract: [[1], [1]], dtype: 'f32' }, [x, x])),
    apply({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, arg([2, 3], -2, 2, 'bf16'), arg([3, 4], -2, 2, 'bf16')),
    apply({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'bf16' }, arg([2, 3]), arg([3, 4])),
  ],
  reduceSum: [apply({ prim: 'reduceSum', axes: [1] }, m), apply({ prim: 'reduceSum', axes: [0, 2] }, arg([2, 3, 2]))],
  reduceMax: [apply({ prim: 'reduceMax', axes: [1] }, m), apply({ prim: 'reduceMax', axes: [0, 2] }, arg([2, 3, 2]))],
  reduceMin: [apply({ prim: 'reduceMin', axes: [0] }, m)],
  argmax: [of([m], (b, x) => b.mul(b.cast(b.one({ prim: 'argmax', axis: 1 }, [x]), 'f32'), b.sum(x, [1])))],
  cumsum: [apply({ prim: 'cumsum', axis: 1 }, m), apply({ prim: 'cumsum', axis: 0 }, m)],
  randomBits: [
    of([arg([2], 0, 99, 'u32'), v], (b, key, x) => {
      const r = b.one({ prim: 'randomBits', shape: [5] }, [key]);
      return b.mul(x, b.cast(b.shiftRight(r, b.fill(28, r.type)), 'f32'));
    }),
  ],
  call: ['softplus', 'checkpoint'].map((tag) =>
    of([v, v], (b, x, y) => {
      const body = trace([v, v], (b, x, y) => [b.log(b.add(b.exp(x), b.exp(y))), b.mul(x, y)]);
      return b.emit({ prim: 'call', tag, body }, [x, b.sin(y)]);
    }),
  ),
  scan: [
    recurrence(false),
    recurrence(true),
    // two carries: the tangent reaches the first only through the second; the constants of the body are not stacked
    of([arg([2]), arg([3, 2])], (b, w, x) => {
      const body = trace([arg([2]), arg([2]), arg([2]), arg([2])], (b, p, q, w, x) => {
        const c = b.sin(b.add(p, b.fill(0.5, p.type)));
        return [b.mul(c, q), b.mul(b.add(q, w), x), b.mul(p, w)];
      });
      const start = b.fill(0.25, w.type);
      return b.emit({ prim: 'scan', length: 3, carries: 2, constants: 1, reverse: false, body }, [start, start, w, x]);
    }),
    // an integer carry counts; nothing but the slices moves
    of([arg([4])], (b, x) => {
      const body = trace([arg([], 0, 1, 'i32'), arg([])], (b, i, x) => [b.add(i, b.fill(1, i.type)), b.mul(b.cast(i, 'f32'), b.mul(x, x))]);
      return b.emit({ prim: 'scan', length: 4, carries: 1, constants: 0, reverse: true, body }, [b.constant(0, 'i32'), x]).slice(1);
    }),
  ],
  reshard: [apply({ prim: 'reshard', axis: 'data', from: { split: 0 }, to: 'R' }, m)],
  axisIndex: [of([arg([])], (b, x) => b.mul(x, b.add(x, b.cast(b.one({ prim: 'axisIndex', axis: 'data' }, []), 'f32'))))],
  perShard: [
    of([v, v], (b, x, y) => {
      const body = trace([scalar, scalar], (b, x, y) => [b.mul(b.sin(x), y), b.stopGradient(x), b.add(y, y)]);
      return b.emit({ prim: 'perShard', axis: 'data', body }, [x, y]).filter((_, i) => i !== 1);
    }),
    of([v], (b, x) => {
      const body = trace([scalar, scalar], (b, x, y) => [b.exp(b.mul(x, y))]);
      return b.emit({ prim: 'perShard', axis: 'data', body }, [x, b.fill(0.5, x.type)]);
    }),
  ],
};

describe.each(Object.entries(cases))('%s', (prim, list) => {
  test.each(list.map((c, i) => [i, c] as const))('case %i: forward, backward and second order', (i, c) => {
    expect(list.length).toBeGreaterThan(0);
    for (const seed of [1, 2, 3]) checkAll(trace(c.args, c.f), c.args, 100 * i + seed + prim.length);
  });
});

test('a table that lacks a primitive does not compile', () => {
  const { sin: _sin, ...noSin } = jvpRules;
  const { dot: _dot, ...noDot } = transposeRules;
  // @ts-expect-error sin has no rule
  const forward: typeof jvpRules = noSin;
  // @ts-expect-error dot has no rule
  const backward: typeof transposeRules = noDot;
  expect(['sin' in forward, 'dot' in backward]).toEqual([false, false]);
});
