/** Modules, parameter trees, tracing, transforms, random numbers and messages at trace time. */

import { describe, expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { bindGraph } from '../../compiler/graph/bind.ts';
import { print } from '../../compiler/graph/print.ts';
import { threefry2x32 } from '../../compiler/graph/threefry.ts';
import type { Graph, Meta } from '../../compiler/graph/types.ts';
import * as d from '../../dsl/index.ts';
import { initialize } from '../../dsl/init.ts';
import { attention, block, linear, vit } from './models.ts';
import { first, prims, range, run } from './run.ts';

const { spec } = d;
const metas = (g: Graph): Meta[] => g.nodes.flatMap((n) => [n.meta, ...('body' in n.op ? metas(n.op.body) : [])]);
const error = (f: () => unknown): FoveaError => {
  try {
    f();
  } catch (e) {
    if (e instanceof FoveaError) return e;
    throw e;
  }
  throw new Error('no error was thrown');
};

describe('parameters', () => {
  const model = vit(8, 2, 2);
  test('paths are checkpoint names and shapes are in the outer sizes', () => {
    const of = Object.fromEntries(d.leaves(model).map((l) => [l.path, l.shape]));
    expect(Object.keys(of).slice(0, 4)).toEqual(['embed.weight', 'embed.bias', 'cls_token', 'blocks.0.norm1.weight']);
    expect(of['blocks.1.attn.qkv.weight']).toEqual([24, 8]);
    expect(of['blocks.1.mlp.fc1.weight']).toEqual([32, 8]);
    expect(Object.keys(of)).toHaveLength(29);
  });
  test('initial values depend on seed and path alone', () => {
    const [x, y, deeper] = [d.init(model, 3), d.init(model, 3), d.init(vit(8, 2, 3), 3)];
    expect(x).toEqual(y);
    expect(deeper.blocks[1]?.attn.qkv.weight).toEqual(x.blocks[1]?.attn.qkv.weight);
    expect(d.init(model, 4).cls_token.data).not.toEqual(x.cls_token.data);
    expect(x.blocks[0]?.attn.qkv.weight.data).not.toEqual(x.blocks[1]?.attn.qkv.weight.data);
    expect([...(x.norm.weight.data as Float32Array)]).toEqual(Array.from({ length: 8 }, () => 1));
    const w = [...(d.init(linear(100, 100), 0).weight.data as Float32Array)];
    // 10^4 numbers: the standard error of the spread is 0.7 %, and one of 22 normal numbers lies beyond two deviations
    expect(Math.abs(Math.hypot(...w) / 100 / 0.02 - 1)).toBeLessThan(0.035);
    expect(Math.max(...w.map(Math.abs))).toBeGreaterThan(0.05);
    const cut = initialize({ kind: 'truncNormal', std: 0.02, bound: 0.04 }, 0, 'cut', [10000]);
    expect(Math.max(...cut.map(Math.abs))).toBeLessThanOrEqual(Math.fround(0.04));
    // mean of 10^4 numbers of variance below 0.02^2: five standard errors
    expect(Math.abs(w.reduce((s, v) => s + v, 0) / 1e4)).toBeLessThan(5 * 0.02 * 1e-2);
  });
  test('masks and path trees', () => {
    const m = d.mask(model, (p) => !p.endsWith('bias'));
    expect([m.embed, m.cls_token]).toEqual([{ weight: true, bias: false }, true]);
    expect(d.pathTree(model).blocks[1]?.norm2.weight).toBe('blocks.1.norm2.weight');
  });
  test('a tree that does not fit is FV0006 with the path', () => {
    const e = error(() =>
      d.trace((p: d.F32<'8 8'>, x: d.F32<'3 8'>) => d.apply(linear(8, 8), { weight: p } as never)(x), [spec('8 8'), spec('3 8')]),
    );
    expect([e.code, e.message]).toEqual(['FV0006', 'parameter bias: expected a tensor [O], got nothing']);
  });
});

test('a size and a parameter of one name are refused where the module is declared', () => {
  const declare = () =>
    d.module(
      { N: 4 },
      () => ({ N: d.param('N') }),
      ['N'],
      (_, x) => x,
    );
  const e = error(declare as () => unknown);
  expect([e.code, e.message]).toEqual(['FV0007', "module: 'N' is the name of a size and of a parameter"]);
  expect(e.loc?.file).toContain('modules.test.ts');
});

describe('tracing', () => {
  test('once over names: parameters are named by path, scopes by module, locations by the call', () => {
    const m = vit(8, 2, 1);
    const t = d.trace((p, x) => d.scope('student', () => d.apply(m, p)(x)), [d.paramSpecs(m), spec('2*B N 12')]);
    expect(t.inputs[0]).toMatchObject({ path: '0.embed.weight', shape: [8, 12] });
    expect(t.outputs.map((o) => [o.path, o.shape.join(' ')])).toEqual([
      ['cls', '2*B 8'],
      ['patches', '2*B N 8'],
    ]);
    expect(t.output).toEqual({ cls: 0, patches: 1 });
    const scopes = new Set(t.graph.nodes.map((n) => n.meta.scope));
    expect(scopes).toContain('student/blocks.0/attn/qkv');
    expect(scopes).toContain('student/norm');
    for (const n of metas(t.graph)) expect(n.loc?.file).toMatch(/test\/dsl\/models\.ts$/);
  });
  test('names bind to numbers, in the whole program and inside bodies', () => {
    const f = d.fn(['B N'], (x) => x.add(d.full(1, 'B 1')).add(d.scalar(d.size('Q'))));
    const t = d.trace(f, [spec('4 N')], { dims: { N: 3 } });
    expect(t.outputs[0]?.shape).toEqual([4, 3]);
  });
  test('attention equals its formula', () => {
    // one head of width 1, one token: the softmax is 1, so the result is proj(v)
    const m = attention(1, 1);
    const out = run((p, x) => d.apply(m, p)(x), [d.paramSpecs(m), spec('1 1 1')], [[5, 6, 7], [0, 0, 1], [2], [10], [3]]);
    expect(first(out).values).toEqual([2 * (7 * 3 + 1) + 10]);
  });
});

describe('transforms', () => {
  test('grad of a loss of trees, with aux and captured tensors', () => {
    const f = (p: { w: d.F32<'3'>; b: d.Scalar }, x: d.F32<'3'>) => {
      const [loss, aux, g] = d.valueAndGrad((q: typeof p) => [d.sum('i ->', q.w.mul(x).mul(x)).add(q.b.mul(q.b)), q.w.add(x)] as const, {
        hasAux: true,
      })(p);
      return { loss, aux, g };
    };
    const out = run(f, [{ w: spec('3'), b: spec('') }, spec('3')], [[1, 2, 3], [5], [1, 10, 2]]);
    expect(out.map((o) => o.values)).toEqual([[1 + 200 + 12 + 25], [2, 12, 5], [1, 100, 4], [10]]);
  });
  test('grad of grad; jvp of grad', () => {
    const cube = (x: d.Scalar): d.Scalar => x.mul(x).mul(x);
    expect(first(run((x) => d.grad((y: d.Scalar) => d.grad(cube)(y))(x), [spec('')], [[2]])).values).toEqual([12]);
    expect(run((x, t) => d.jvp(d.grad(cube))([x], [t]), [spec(''), spec('')], [[2], [10]]).map((o) => o.values)).toEqual([[12], [120]]);
  });
  test('checkpoint changes no number and keeps a callable polymorphic', () => {
    const m = block(4, 2);
    const specs = [d.paramSpecs(m), spec('1 2 4')] as const;
    const data = [
      ...d.leaves(m).map((l, k) => range(l.shape.reduce<number>((n, s) => n * Number(s), 1)).map((i) => Math.sin(i + k))),
      range(8).map((i) => Math.cos(i)),
    ];
    const loss = (saved: boolean) => (p: d.Params<typeof m>, x: d.F32<'1 2 4'>) =>
      d.grad((q: d.Params<typeof m>) => d.sum('b n d ->', d.sin((saved ? d.apply(m, q) : d.checkpoint(d.apply(m, q)))(x))))(p);
    expect(run(loss(false), specs, data)).toEqual(run(loss(true), specs, data));
    const g = d.trace((p, x) => d.checkpoint(d.apply(m, p))(x), specs).graph;
    expect(prims(g)).toHaveLength(1);
    expect(prims(g)[0]).toMatch(/^checkpoint\(layerNorm\(/);
  });
  test('scan is its loop, forwards and backwards, with captured tensors', () => {
    const f = (reverse: boolean) => (c: d.Scalar, xs: d.F32<'L'>, k: d.Scalar) =>
      d.scan((s: d.Scalar, x: d.Scalar) => [s.mul(k).add(x), s] as const, c, xs, { reverse });
    const specs = [spec(''), spec('L'), spec('')] as const;
    expect(run(f(false), specs, [[1], [1, 2, 3], [10]], { L: 3 }).map((o) => o.values)).toEqual([[1123], [1, 11, 112]]);
    expect(run(f(true), specs, [[1], [1, 2, 3], [10]], { L: 3 }).map((o) => o.values)).toEqual([[1321], [132, 13, 1]]);
  });
  test('messages', () => {
    expect(error(() => d.trace((x: d.F32<'3'>) => d.grad((y: d.F32<'3'>) => y as never)(x), [spec('3')])).message).toBe(
      'grad: the function returns f32[3], not one float scalar',
    );
    expect(error(() => d.trace((x: d.Tensor<'', 'i32'>) => d.grad((y: typeof x) => y.cast('f32'))(x), [spec('', 'i32')])).code).toBe(
      'FV0103',
    );
  });
});

describe('random', () => {
  // known answers of the reference implementation (Random123, kat_vectors, threefry2x32 with 20 rounds)
  test('threefry2x32 gives the published answers', () => {
    expect(threefry2x32([0, 0], [0, 0])).toEqual([0x6b200159, 0x99ba4efe]);
    expect(threefry2x32([0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff])).toEqual([0x1cb996fc, 0xbb002be7]);
    expect(threefry2x32([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3])).toEqual([0xc4923a9c, 0x483df7a0]);
  });
  test('bits of a key are those of the cipher; uniform is their upper part', () => {
    const want = range(4)
      .map((i) => threefry2x32([0, 9], [0, i]))
      .map(([x, y]) => (x ^ y) >>> 0);
    expect(first(run(() => d.random.bits(d.random.key(9), '4'), [], [])).values).toEqual(want);
    expect(first(run((s) => d.random.uniform(d.random.key(s), '4'), [spec('', 'u32')], [[9]])).values).toEqual(
      want.map((w) => Math.floor(w / 256) * 2 ** -24),
    );
  });
  test('derived keys differ from each other and from their parent', () => {
    const keys = run(
      (s) => {
        const k = d.random.key(1);
        return [
          k,
          ...d.random.split(k, 3),
          d.random.fold(k, 0),
          d.random.fold(k, s),
          d.random.fold(d.random.key(2), 1),
          d.random.fold(d.random.key(1), 2),
        ];
      },
      [spec('', 'i32')],
      [[7]],
    ).map((o) => o.values.join());
    expect(new Set(keys).size).toBe(8);
  });
  test('normal, truncated normal and bernoulli have their moments', () => {
    const n = 4000;
    const [z, t, b] = run(
      () => {
        const [k1, k2, k3] = d.random.split(d.random.key(0), 3);
        return [d.random.normal(k1, '4000'), d.random.truncatedNormal(k2, '4000'), d.random.bernoulli(k3, 0.25, '4000').cast('f32')];
      },
      [],
      [],
    ).map((o) => o.values) as [number[], number[], number[]];
    const mean = (xs: readonly number[]) => xs.reduce((s, x) => s + x, 0) / xs.length;
    const se = 5 / Math.sqrt(n); // five standard errors of a mean of unit variance
    expect(Math.abs(mean(z))).toBeLessThan(se);
    expect(Math.abs(mean(z.map((x) => x * x)) - 1)).toBeLessThan(se * Math.SQRT2); // x^2 has variance 2
    expect(Math.max(...t.map(Math.abs))).toBeLessThan(2 + 1e-5);
    expect(Math.abs(mean(b) - 0.25)).toBeLessThan(se * Math.sqrt(0.25 * 0.75));
  });
});

describe('sizes that are bound when the program is compiled', () => {
  const [D, H] = [d.size('D'), d.size('H')];
  const heads = d.module(
    { D, H, K: d.over(D, H) },
    () => ({ w: d.param('D D') }),
    ['B D'],
    ({ w, H, K }, x) => d.rearrange('b (h k) -> h b k', d.einsum('b d, e d -> b e', x, w), { h: H }).mul(d.scalar(K)),
  );
  const specs = [d.paramSpecs(heads), spec('B D')] as const;
  const f = (p: d.Params<typeof heads>, x: d.F32<'B D'>) => ({ y: d.apply(heads, p)(x), hot: d.oneHot(d.zeros('B', 'i32'), d.size('H')) });
  const sizes = { B: 1, D: 4, H: 2 };
  test('are the same program, whether they are bound before or after tracing', () => {
    const before = d.trace(f, specs, { dims: sizes });
    const after = bindGraph(d.trace(f, specs).graph, new Map(Object.entries(sizes)));
    expect(before.outputs.map((o) => o.shape)).toEqual([
      [2, 1, 2],
      [1, 2],
    ]);
    expect(print(before.graph)).toBe(print(after));
  });
  test('and must fit', () => {
    const e = error(() => d.trace(f, specs, { dims: { ...sizes, D: 5 } }));
    expect([e.code, e.message]).toEqual(['FV0001', 'rearrange: 5 is not divisible by h=2']);
  });
});

describe('errors', () => {
  test('a traced tensor has no value', () => {
    const in1 = (f: (x: d.F32<'3'>) => unknown) => error(() => d.trace((x: d.F32<'3'>) => ({ x, y: f(x) }), [spec('3')]));
    expect(in1((x) => `${x as unknown as string}`).message).toBe('a traced tensor has no value: it cannot be used in a string');
    expect(in1((x) => Number(x) > 3).code).toBe('FV0004');
    expect(in1((x) => [...(x as unknown as number[])]).code).toBe('FV0004');
  });
  test('nor a life outside its trace', () => {
    let kept: d.F32<'3'> | undefined;
    d.trace((x: d.F32<'3'>) => (kept = x), [spec('3')]);
    expect(error(() => kept?.add(1)).message).toBe('a tensor operation ran outside a trace');
    expect(error(() => d.trace((x: d.F32<'3'>) => x.add(kept as d.F32<'3'>), [spec('3')])).message).toBe(
      'a tensor of shape [3] was used outside the trace that made it',
    );
  });
  test('shapes, with the place and the scope', () => {
    const e = error(() => d.trace((x, y) => d.scope('head', () => x.add(y as never)), [spec('B N 384'), spec('P 384')]));
    expect([e.code, e.message, e.scope]).toEqual(['FV0001', 'add: cannot broadcast [B N 384] with [P 384]: N vs P', 'head']);
    expect(e.loc?.file).toMatch(/modules\.test\.ts$/);
    expect(error(() => d.trace((x) => x.as('B D'), [spec('B N')])).message).toBe('as: the tensor is [B N], not [B D]');
    expect(error(() => d.trace((x) => d.apply(block(8, 2), x as never)(x as never), [spec('B 8')])).code).toBe('FV0001');
    expect(error(() => d.trace(() => ({ n: 3 }), [])).message).toBe('result n is number, not a tensor');
  });
});
