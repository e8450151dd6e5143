/** Scales move out of contractions, and the numbers stay: on layers with a factor on every axis that one can stand on, and their gradients. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Builder } from '../../compiler/graph/builder.ts';
import { interpret, type Tensor64 } from '../../compiler/graph/interpret.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { cse } from '../../compiler/passes/cse.ts';
import { dce } from '../../compiler/passes/dce.ts';
import { scales } from '../../compiler/passes/scales.ts';
import { simplify } from '../../compiler/passes/simplify.ts';
import { numbers } from '../../testing/numbers.ts';
import { arg, draw, gradOf, trace } from '../transform/support.ts';

const run = (text: string): string => print(dce(cse(simplify(scales('f32')(parse(text))))), { meta: false });
/** Lines of a graph over x: f32[64 8], w: f32[8 4] and a factor s. */
const graph = (s: string, body: string): string => `graph(%0: f32[64 8], %1: f32[8 4], %2: f32[${s}]) {\n${body}\n}\n`;

/** dot(x s, w) with s along an axis of x, and how it ends. */
const scaledDot = (axis: 0 | 1, end = 'return %5'): string =>
  graph(
    ['64', '8'][axis] as string,
    `%3: f32[64 8] = broadcast(%2) shape=[64 8] axes=[${axis}]
     %4: f32[64 8] = mul(%0, %3)
     %5: f32[64 4] = dot(%4, %1) batch=[][] contract=[1][0] dtype=f32
     ${end}`,
  );

describe('a scaled operand', () => {
  it('along an axis of the result: the result is scaled', () => {
    const before = scaledDot(0);
    expect(run(before)).toBe(
      print(
        parse(
          graph(
            '64',
            `%3: f32[64 4] = dot(%0, %1) batch=[][] contract=[1][0] dtype=f32
             %4: f32[64 4] = broadcast(%2) shape=[64 4] axes=[0]
             %5: f32[64 4] = mul(%3, %4)
             return %5`,
          ),
        ),
        { meta: false },
      ),
    );
  });
  it('along the axis that is summed: the smaller operand is scaled', () => {
    const before = scaledDot(1);
    expect(run(before)).toBe(
      print(
        parse(
          graph(
            '8',
            `%3: f32[8 4] = broadcast(%2) shape=[8 4] axes=[0]
             %4: f32[8 4] = mul(%1, %3)
             %5: f32[64 4] = dot(%0, %4) batch=[][] contract=[1][0] dtype=f32
             return %5`,
          ),
        ),
        { meta: false },
      ),
    );
  });
  it.each([
    ['that something else reads', '%6: f32[64 8] = exp(%4)\nreturn %5, %6'],
    ['that is a result', 'return %5, %4'],
  ])('%s stays', (_, end) => {
    const before = scaledDot(0, end);
    expect(run(before)).toBe(print(parse(before), { meta: false }));
  });
  it('stays in float16, whose range is small', () => {
    const before = parse(scaledDot(0));
    expect(print(scales('f16')(before), { meta: false })).toBe(print(before, { meta: false }));
  });
});

/** y = (x w + b) g + r, w turned or not, the rows of x one axis or two. */
const layer = (turned: boolean, bias: boolean, rows: readonly number[], inner: number, outer: number): Graph => {
  const args = [arg([...rows, inner]), arg(turned ? [outer, inner] : [inner, outer]), arg([outer]), arg([outer]), arg([...rows, outer])];
  const last = rows.length;
  return trace(args, (b: Builder, x, w, c, g, r) => {
    const h = b.one({ prim: 'dot', batch: [[], []], contract: [[last], [turned ? 1 : 0]], dtype: 'f32' }, [x as Value, w as Value]);
    const along = (v: Value): Value => b.broadcast(v, h.type.shape, [last]);
    const y = b.add(b.mul(bias ? b.add(h, along(c as Value)) : h, along(g as Value)), r as Value);
    return [b.sum(b.mul(b.sin(y), y), [...rows.map((_, i) => i), last])];
  });
};
const prepared = (g: Graph): Graph => dce(cse(simplify(g)));
const near = (a: readonly Tensor64[], b: readonly Tensor64[]): void =>
  a.forEach((t, i) => {
    const u = b[i] as Tensor64;
    const top = Math.max(1e-300, ...t.data.map(Math.abs));
    // a sum of some hundred products in float64, in another order
    t.data.forEach((x, k) => expect(Math.abs(x - (u.data[k] as number)) / top).toBeLessThan(1e-13));
  });

describe('LayerScale', () => {
  it('the gradients are those of the definition', () =>
    fc.assert(
      fc.property(fc.boolean(), fc.boolean(), fc.boolean(), fc.nat(), (turned, bias, two, seed) => {
        const g = prepared(gradOf(layer(turned, bias, two ? [4, 6] : [24], 8, 5), [0, 1, 2, 3]));
        const after = scales('f32')(g);
        verify(after);
        const next = numbers(seed);
        const xs = g.params.map((p) => draw(arg(p.type.shape as number[]), next));
        near(interpret(g, xs), interpret(after, xs));
      }),
      { numRuns: 24 },
    ));
  it.each([true, false])('the backward phase reads neither the product nor a scaled gradient (turned: %s)', (turned) => {
    const g = prepared(scales('f32')(prepared(gradOf(layer(turned, true, [24], 8, 5), [0, 1, 2, 3]))));
    const forward = new Map(g.nodes.filter((n) => n.meta.phase === 'fwd').flatMap((n) => n.outputs.map((o) => [o, n.op.prim] as const)));
    const back = g.nodes.filter((n) => n.meta.phase === 'bwd');
    expect(back.flatMap((n) => n.inputs.map((v) => forward.get(v)))).not.toContain('dot');
    const dots = back.filter((n) => n.op.prim === 'dot');
    expect(dots).toHaveLength(2);
    const maker = new Map(back.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
    // what both contractions read of the gradient is one value, which no factor was applied to
    const shared = dots[0]?.inputs.find((v) => dots[1]?.inputs.includes(v));
    expect(maker.get(shared as Value)?.op.prim).not.toBe('broadcast');
    expect(shared).toBeDefined();
  });
});

/** Weight normalisation: each row of v over its norm, times x. */
const normed = (rows: number): Graph =>
  trace([arg([rows, 8]), arg([40, 8])], (b, x, v) => {
    const norm = b.rsqrt(b.sum(b.mul(v as Value, v as Value), [1]));
    const w = b.mul(v as Value, b.broadcast(norm, [40, 8], [0]));
    const y = b.one({ prim: 'dot', batch: [[], []], contract: [[1], [1]], dtype: 'f32' }, [x as Value, w]);
    return [b.sum(b.mul(b.sin(y), y), [0, 1])];
  });

// of few rows the backward phase scales the gradient of the result instead; of many it needs the normalised weight
it.each([6, 60])('weight normalisation: the forward phase makes no normalised weight (%i rows)', (rows) => {
  const g = prepared(gradOf(normed(rows), [0, 1]));
  const after = prepared(scales('f32')(g));
  const xs = g.params.map((p) => draw(arg(p.type.shape as number[]), numbers(3)));
  near(interpret(g, xs), interpret(after, xs));
  const forward = after.nodes.filter((n) => n.meta.phase === 'fwd' && n.op.prim === 'dot');
  expect(forward.map((n) => n.inputs.every((v) => after.params.includes(v)))).toEqual([true]);
});

it('batches and axes in any order', () =>
  fc.assert(
    fc.property(fc.constantFrom(0, 1, 2), fc.boolean(), fc.nat(), (axis, second, seed) => {
      const sizes = [3, 16, 8] as const;
      const g = trace([arg(sizes), arg([8, 3, 4]), arg([sizes[axis] as number])], (b, x, w, s) => {
        const scaled = b.mul(x as Value, b.broadcast(s as Value, [...sizes], [axis]));
        const op = { prim: 'dot', dtype: 'f32' } as const;
        return second
          ? [b.one({ ...op, batch: [[1], [0]], contract: [[0], [2]] }, [w as Value, scaled])]
          : [b.one({ ...op, batch: [[0], [1]], contract: [[2], [0]] }, [scaled, w as Value])];
      });
      const after = scales('f32')(g);
      verify(after);
      const xs = g.params.map((p) => draw(arg(p.type.shape as number[]), numbers(seed)));
      near(interpret(g, xs), interpret(after, xs));
      if (axis < 2) expect(after.nodes.at(-1)?.op.prim).toBe('mul');
    }),
  ));
