/** Rows are taken before what is computed row by row, and not a bit changes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Builder } from '../../compiler/graph/builder.ts';
import { interpret, tensor64 } from '../../compiler/graph/interpret.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { inline } from '../../compiler/passes/inline.ts';
import { rows } from '../../compiler/transform/rows.ts';
import { numbers } from '../../testing/numbers.ts';
import { arg, draw, gradOf, trace } from './support.ts';

const [images, tokens, width] = [4, 9, 6];
const shape = [images, tokens, width];
const dot = (b: Builder, x: Value, w: Value): Value =>
  b.one({ prim: 'dot', batch: [[], []], contract: [[x.type.shape.length - 1], [0]], dtype: 'f32' }, [x, w]);
/** x - mean of its row, as a region of its own. */
const centred = (b: Builder, x: Value): Value => {
  const last = x.type.shape.length - 1;
  const body = trace([arg(x.type.shape as number[])], (c, y) => {
    const mean = c.mul(c.sum(y as Value, [last]), c.fill(1 / width, { dtype: 'f32', shape: x.type.shape.slice(0, -1) }));
    const kept = Array.from({ length: last }, (_, i) => i);
    return [c.sub(y as Value, c.broadcast(mean, x.type.shape, kept))];
  });
  return b.one({ prim: 'call', tag: 'centred', body }, [x]);
};
/** A residual block on tokens: x + tanh(centred(x) w) u. */
const block = (b: Builder, x: Value, w: Value, u: Value): Value => b.add(x, dot(b, b.tanh(dot(b, centred(b, x), w)), u));
const first = (b: Builder, y: Value): Value => b.reshape(b.slice(y, [0, 0, 0], [images, 1, width]), [images, width]);
const rest = (b: Builder, y: Value): Value => b.reshape(b.slice(y, [0, 1, 0], [...shape]), [images * (tokens - 1), width]);

type Readers = (b: Builder, y: Value, index: Value) => readonly Value[];
const model = (readers: Readers): Graph =>
  trace([arg(shape), arg([width, width]), arg([width, width]), arg([5], 0, 31, 'i32')], (b, x, w, u, i) =>
    readers(b, block(b, x as Value, w as Value, u as Value), i as Value).map((v) => b.sin(v)),
  );
const products = (g: Graph): (readonly unknown[])[] =>
  inline(g).nodes.flatMap((n) => (n.op.prim === 'dot' ? [n.outputs[0]?.type.shape ?? []] : []));
const args = (g: Graph, seed: number, index = [3, 0, 31, 7, 7]) => {
  const next = numbers(seed);
  return g.params.map((p) => (p.type.dtype === 'i32' ? tensor64(p.type, index) : draw(arg(p.type.shape as number[]), next)));
};
const bits = (g: Graph, index?: number[]): void => {
  const after = rows(g);
  verify(after);
  expect(interpret(after, args(g, 4, index))).toEqual(interpret(g, args(g, 4, index)));
};

describe('rows of tokens', () => {
  it('the first token of each image', () => {
    const g = model((b, y) => [first(b, y)]);
    expect(products(rows(g))).toEqual([
      [images, width],
      [images, width],
    ]);
    bits(g);
  });
  it('and some of the others, by a list of places; out of range they are zeros', () => {
    const g = model((b, y, i) => [first(b, y), b.gather(rest(b, y), i, 0)]);
    expect(products(rows(g))).toEqual([
      [images + 5, width],
      [images + 5, width],
    ]);
    bits(g);
    bits(g, [-1, 32, 5, 31, 0]);
  });
  it('zeros, not what is made of a row of zeros', () => {
    const g = trace([arg(shape), arg([width, width]), arg([5], 0, 31, 'i32')], (b, x, w, i) => {
      const half = b.fill(0.5, { dtype: 'f32', shape });
      return [b.gather(rest(b, b.tanh(b.add(dot(b, x as Value, w as Value), half))), i as Value, 0)];
    });
    expect(products(rows(g))).toEqual([[5, width]]);
    bits(g, [-1, 32, 5, 31, 0]);
  });
  it('the gradients are of these rows alone', () => {
    const loss = trace([arg(shape), arg([width, width]), arg([width, width]), arg([5], 0, 31, 'i32')], (b, x, w, u, i) => {
      const y = block(b, x as Value, w as Value, u as Value);
      return [b.add(b.sum(b.sin(first(b, y)), [0, 1]), b.sum(b.gather(rest(b, y), i as Value, 0), [0, 1]))];
    });
    const gradient = gradOf(loss, [0, 1, 2]);
    for (const s of products(gradient)) expect(s[0]).toBeLessThan(images * tokens);
    // against the gradient of a loss that also reads, times nothing, every row
    const whole = trace([arg(shape), arg([width, width]), arg([width, width]), arg([5], 0, 31, 'i32')], (b, x, w, u, i) => {
      const y = block(b, x as Value, w as Value, u as Value);
      const all = b.mul(b.sum(y, [0, 1, 2]), b.constant(0));
      return [b.add(all, b.add(b.sum(b.sin(first(b, y)), [0, 1]), b.sum(b.gather(rest(b, y), i as Value, 0), [0, 1])))];
    });
    const xs = args(loss, 9);
    const [few, every] = [interpret(gradient, xs), interpret(gradOf(whole, [0, 1, 2]), xs)];
    few.forEach((t, k) => {
      t.data.forEach((x, j) => expect(x).toBeCloseTo(every[k]?.data[j] as number, 12));
    });
  });
});

describe('all rows stay', () => {
  it.each<[string, Readers]>([
    ['where something reads them all', (b, y) => [first(b, y), b.sum(y, [1])]],
    ['where they are a result', (_, y) => [y]],
    ['where most of them are taken', (b, y) => [rest(b, y)]],
    ['where columns are taken', (b, y) => [b.slice(y, [0, 0, 0], [images, tokens, 1])]],
  ])('%s', (_, readers) => {
    const g = model(readers);
    expect(products(rows(g)).every((s) => s[0] !== images || s.length === 3)).toBe(true);
    bits(g);
  });
  it('in front of what mixes them', () => {
    const g = trace([arg(shape), arg([width, width]), arg([tokens, tokens])], (b, x, w, m) => {
      const y = dot(b, x as Value, w as Value);
      const mixed = b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [y, m as Value]);
      return [first(b, dot(b, b.transpose(mixed, [0, 2, 1]), w as Value))];
    });
    // the first product has every row, the last one row an image
    const shapes = products(rows(g));
    expect(shapes[0]).toEqual(shape);
    expect(shapes.at(-1)).toEqual([images, width]);
    const after = rows(g);
    const next = numbers(2);
    const xs = g.params.map((p) => draw(arg(p.type.shape as number[]), next));
    expect(interpret(after, xs)).toEqual(interpret(g, xs));
  });
});

it('a value that is read by rows and as a whole is made as a whole', () => {
  const g = trace([arg([8, 8]), arg([8, width]), arg([width, width])], (b, m, x, w) => {
    const y = dot(b, x as Value, w as Value);
    return [b.slice(b.add(dot(b, m as Value, y), y), [0, 0], [2, width])];
  });
  const after = rows(g);
  verify(after);
  expect(products(after)).toEqual([
    [8, width],
    [2, width],
  ]);
  const next = numbers(5);
  const xs = g.params.map((p) => draw(arg(p.type.shape as number[]), next));
  expect(interpret(after, xs)).toEqual(interpret(g, xs));
});

it('any readers', () =>
  fc.assert(
    fc.property(
      fc.subarray([0, 1, 2, 3], { minLength: 1 }),
      fc.array(fc.integer({ min: -2, max: 34 }), { minLength: 5, maxLength: 5 }),
      (which, index) => {
        const all: Readers[] = [
          (b, y) => [first(b, y)],
          (b, y, i) => [b.gather(rest(b, y), i, 0)],
          (b, y) => [b.slice(y, [1, 2, 0], [2, 5, width])],
          (b, y, i) => [b.gather(y, i, 1)],
        ];
        bits(
          model((b, y, i) => which.flatMap((k) => (all[k] as Readers)(b, y, i))),
          index,
        );
      },
    ),
    { numRuns: 60 },
  ));
