/** Attention is found in what users write, however they write it, and not in what only looks like it; its rules are those of the definition. */
import { describe, expect, it, test } from 'vitest';
import { type AttentionTag, attention, attentionTags, streams } from '../../compiler/graph/attention.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { countOf } from '../../compiler/graph/tensor64.ts';
import type { Graph, OpOf, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { nearMisses, recognise } from '../../compiler/transform/recognise.ts';
import {
  checkpoint,
  composite,
  einsum,
  exp,
  type F32,
  grad,
  max,
  rearrange,
  rsqrt,
  scalar,
  softmax,
  spec,
  stopGradient,
  sum,
  type Tensor,
  trace,
  vmap,
  where,
} from '../../dsl/index.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { laws } from '../../testing/laws/index.ts';
import { numbers } from '../../testing/numbers.ts';
import { gradGraph, jvpGraph, vmapGraph } from '../../testing/transforms.ts';

const law = (name: string) => laws.find((l) => l.name === name);
const context = {
  seed: 5,
  target: {} as never,
  seen: { once: [], again: [], threads: [], poisoned: [], shared: 0, precision: 'f32' as const, arithmetic: 'f32' as const },
};

type Q = F32<'2 3 5 4'>;
type K = F32<'2 3 7 4'>;
type V = F32<'2 3 7 6'>;
const specs = [spec('2 3 5 4'), spec('2 3 7 4'), spec('2 3 7 6')] as const;
const scores = (q: Q, k: K) => einsum('b h n d, b h m d -> b h n m', q, k);
const look = (w: F32<'2 3 5 7'>, v: V) => einsum('b h n m, b h m e -> b h n e', w, v);
const byHand = (s: F32<'2 3 5 7'>): F32<'2 3 5 7'> => {
  const e = exp(s.sub(max('b h n m -> b h n 1', s)));
  return e.div(sum('b h n m -> b h n 1', e));
};

const forms: { readonly [name: string]: (q: Q, k: K, v: V) => F32<string> } = {
  plain: (q, k, v) => look(softmax(scores(q, k)), v),
  'scaled queries': (q, k, v) => look(softmax(scores(q.mul(rsqrt(scalar(4))), k)), v),
  'scaled keys and scores': (q, k, v) => look(softmax(scores(q, k.mul(0.5)).div(1.5)), v),
  'softmax written out': (q, k, v) => look(byHand(scores(q, k).mul(0.5)), v),
  'weights on the right': (q, k, v) => einsum('b h m e, b h n m -> b h e n', v, softmax(scores(q, k))),
  'batches in another order': (q, k, v) => einsum('b h n m, b h m e -> h n b e', softmax(scores(q, k)), v),
  'keys transposed': (q, k, v) => look(softmax(einsum('b h n d, b h d m -> b h n m', q, rearrange('b h m d -> b h d m', k))), v),
  'in a checkpoint': (q, k, v) => checkpoint((x: Q) => look(softmax(scores(x, k)), v))(q),
};
const graphOf = (f: (q: Q, k: K, v: V) => F32<string>): Graph => trace(f as never, specs as never).graph;
const draw = (g: Graph, seed: number): readonly Tensor64[] => {
  const next = numbers(seed);
  return g.params.map((p: Value) =>
    tensor64(
      p.type,
      Array.from({ length: countOf(p.type) }, () => 4 * next() - 2),
    ),
  );
};
const tagsIn = (g: Graph): readonly string[] =>
  g.nodes.flatMap((n) => [
    ...(n.op.prim === 'call' ? [n.op.tag] : []),
    ...('body' in n.op && !(n.op.prim === 'call' && (attentionTags as readonly string[]).includes(n.op.tag)) ? tagsIn(n.op.body) : []),
  ]);
/** Two programs of one function: each is within its own bound of the exact results, so they differ by the sum of the two at most. */
const agree = (a: Graph, b: Graph, xs: readonly Tensor64[]): void => {
  const [one, other] = [bounded(a, xs, 'f64'), bounded(b, xs, 'f64')];
  const want = one.map(({ value, error }, r) => ({ value, error: error.map((e, i) => e + (other[r]?.error[i] as number)) }));
  const { wrong, checked, elements } = compare(
    want,
    other.map(({ value }) => value.data),
  );
  expect(wrong).toBeUndefined();
  expect(checked).toBe(elements);
};

describe.each(Object.entries(forms))('%s', (_, f) => {
  const written = graphOf(f);
  const found = recognise(written);
  it('becomes one call, and nothing is left of the weights', () => {
    verify(found);
    expect(tagsIn(found).filter((t) => t !== 'checkpoint')).toEqual(['fovea.attention']);
    expect(nearMisses(written)).toEqual([]);
  });
  it('means the same', () => agree(written, found, draw(written, 1)));
  it('is found once', () => expect(tagsIn(recognise(found))).toEqual(tagsIn(found)));
  it('has the gradient of the definition, which is a call too', () => {
    expect(tagsIn(gradGraph(written))).toContain('fovea.attention.grad');
    // forward mode recognises nothing: <u, J v> is of the program as written, <J' u, v> of the rule
    expect(tagsIn(jvpGraph(written))).not.toContain('fovea.attention.tangent');
    expect(law('duality')?.check({ graph: written, inputs: draw(written, 2) }, context)).toBeUndefined();
  });
});

const misses: { readonly [name: string]: readonly [f: (q: Q, k: K, v: V) => unknown, why: string] } = {
  'the weights are read twice': [
    (q, k, v) => {
      const w = softmax(scores(q, k));
      return [look(w, v), sum('b h n m -> b h n', w)];
    },
    'more than one contraction',
  ],
  'the weights are scaled': [(q, k, v) => look(softmax(scores(q, k)).mul(2), v), 'changed between their softmax and the contraction'],
  'the scores are read twice': [
    (q, k, v) => {
      const s = scores(q, k);
      return [look(softmax(s), v), sum('b h n m -> b h n', s)];
    },
    'read by more than the softmax',
  ],
  'values without the heads': [
    (q, k, v) => einsum('b h n m, b m e -> b h n e', softmax(scores(q, k)), sum('b h m e -> b m e', v)),
    'other batch axes',
  ],
};
test.each(Object.entries(misses))('%s: no call, and a reason', (_, [f, why]) => {
  const g = graphOf(f as never);
  expect(tagsIn(recognise(g))).toEqual(['softmax']);
  expect(nearMisses(g).map((m) => m.why)).toEqual([expect.stringContaining(why)]);
});

type S = F32<'2 3 5 7'>;
const whys = (g: Graph): readonly string[] => nearMisses(g).map((m) => m.why);
const shifted = (s: S): S => exp(s.sub(max('b h n m -> b h n 1', s)));
const rowSums = (e: S) => sum('b h n m -> b h n 1', e);
const written: { readonly [name: string]: readonly [f: (s: S, v: V) => F32<string>, why: string] } = {
  'over the queries': [
    (s, v) => {
      const e = exp(s.sub(max('b h n m -> b h 1 m', s)));
      return look(e.div(sum('b h n m -> b h 1 m', e)), v);
    },
    'the softmax runs over the queries, not the keys',
  ],
  'over the heads': [
    (s, v) => {
      const e = exp(s.sub(max('b h n m -> b 1 n m', s)));
      return look(e.div(sum('b h n m -> b 1 n m', e)), v);
    },
    'the softmax runs over an axis that weights and values share, as the heads, not over the keys',
  ],
  'over queries and keys': [
    (s, v) => {
      const e = exp(s.sub(max('b h n m -> b h 1 1', s)));
      return look(e.div(sum('b h n m -> b h 1 1', e)), v);
    },
    'the softmax runs over more axes than that of the keys',
  ],
  'over keys that are not last': [
    (s, v) => {
      const turned = rearrange('b h n m -> b h m n', s);
      const e = exp(turned.sub(max('b h m n -> b h 1 n', turned)));
      return einsum('b h m n, b h m e -> b h n e', e.div(sum('b h m n -> b h 1 n', e)), v);
    },
    'the softmax runs over the keys, but they are not the last axis of the scores',
  ],
  'without a maximum': [
    (s, v) => look(exp(s).div(rowSums(exp(s))), v),
    'the exponentials of the scores are taken without subtracting their maximum, so that they can overflow',
  ],
  'with the maximum of the queries': [
    (s, v) => {
      const e = exp(s.sub(max('b h n m -> b h 1 m', s)));
      return look(e.div(rowSums(e)), v);
    },
    'the maximum and the sum of the softmax run over different axes',
  ],
  'with a power of the sum': [
    (s, v) => {
      const e = shifted(s);
      return look(e.mul(rowSums(e).pow(-1)), v);
    },
    'the exponentials are multiplied by the reciprocal of their sum, not divided by the sum',
  ],
  'with one over the sum, on the left': [
    (s, v) =>
      look(
        scalar(1)
          .div(rowSums(shifted(s)))
          .mul(shifted(s)) as S,
        v,
      ),
    'the exponentials are multiplied by the reciprocal of their sum, not divided by the sum',
  ],
  'divided after mixing': [
    (s, v) => look(shifted(s), v).div(rowSums(shifted(s))),
    'the values are mixed first and divided by the sums of the exponentials after that',
  ],
  'with exponentials that are written twice': [
    (s, v) => look(shifted(s).div(rowSums(shifted(s))), v),
    'the exponentials of the scores, or the scores, are computed twice',
  ],
  'in a composite': [
    (s, v) =>
      look(
        composite('mine', (x: S) => exp(x).div(rowSums(exp(x))), s),
        v,
      ),
    'the exponentials of the scores are taken without subtracting their maximum, so that they can overflow',
  ],
};
describe.each(Object.entries(written))('a softmax written out, %s', (_, [f, why]) => {
  const g = graphOf((q, k, v) => f(scores(q, k).mul(0.5), v));
  it('stays, with the reason', () => {
    expect(tagsIn(recognise(g)).filter((t) => t !== 'mine')).toEqual([]);
    expect(whys(g)).toEqual([why]);
  });
  it('has the same reason where it is differentiated, once', () => expect(whys(gradGraph(g))).toEqual([why]));
});

test('a softmax over the queries is none', () => {
  const g = graphOf(((q: Q, k: K, v: V) => {
    const w = softmax(einsum('b h n d, b h m d -> b h m n', q, k));
    return einsum('b h m n, b h m e -> b h n e', w, v);
  }) as never);
  expect(tagsIn(recognise(g))).toEqual(['softmax']);
  expect(whys(g)).toEqual(['the softmax runs over the queries, not the keys']);
});

test('one head without images, whose keys are its values, over the queries: a near miss too', () => {
  const f = (q: F32<'5 4'>, k: F32<'7 4'>) => {
    const s = einsum('n d, m d -> n m', q, k);
    const e = exp(s.sub(max('n m -> 1 m', s)));
    return einsum('n m, m d -> n d', e.div(sum('n m -> 1 m', e)), k);
  };
  expect(whys(trace(f as never, [spec('5 4'), spec('7 4')] as never).graph)).toEqual(['the softmax runs over the queries, not the keys']);
});

type Keep = Tensor<'2 1 1 7', 'bool'>;
const before: { readonly [name: string]: readonly [f: (s: S, bias: F32<'3 5 7'>, keep: Keep) => F32<string>, why: string] } = {
  'a bias': [(s, bias) => s.add(bias), 'a bias is added to the scores'],
  'a bias on the left': [(s, bias) => bias.add(s), 'a bias is added to the scores'],
  'a bias, scaled after': [(s, bias) => s.mul(0.5).add(bias).div(2), 'a bias is added to the scores'],
  'less a bias': [(s, bias) => s.sub(bias), 'a bias is subtracted from the scores'],
  'a mask': [(s, _, keep) => s.add(where(keep, 0, -1e9) as never), 'a mask is added to the scores'],
  'a mask in numbers': [(s, _, keep) => s.add(keep.cast('f32').sub(1).mul(1e9) as never), 'a mask is added to the scores'],
  'a choice': [(s, _, keep) => where(keep, s, -1e9) as never, 'the scores are masked'],
  'a scale that varies': [(s, bias) => s.mul(bias), 'the scores are scaled by a tensor, not by one number'],
  'something else': [(s) => exp(s), 'the softmax is not of a contraction: exp stands between them'],
};
test.each(Object.entries(before))('%s in front of the softmax is named', (_, [f, why]) => {
  const whole = (q: Q, k: K, v: V, bias: F32<'3 5 7'>, keep: Keep) => look(softmax(f(scores(q, k), bias, keep)) as S, v);
  const g = trace(whole as never, [...specs, spec('3 5 7'), spec('2 1 1 7', 'bool')] as never).graph;
  expect(tagsIn(recognise(g))).toEqual(['softmax']);
  expect(whys(g)).toEqual([why]);
});

type X = F32<'5 4'>;
type Logits = F32<'5 7'>;
const classes = (x: X, w: F32<'7 4'>): Logits => einsum('b d, k d -> b k', x, w);
const noAttention: { readonly [name: string]: (x: X, w: F32<'7 4'>, logits: Logits, bias: F32<'7'>) => F32<string> } = {
  'logits that are given': (_, w, logits) => einsum('b k, k d -> b d', softmax(logits), w),
  'a linear layer': (x, w, _, bias) => einsum('b k, k d -> b d', softmax(classes(x, w).add(bias)), w),
  'a loss over classes': (x, w, targets) => einsum('b k, b k ->', softmax(classes(x, w)), targets),
  'a loss of each row': (x, w, targets) => einsum('b k, b k -> b', softmax(classes(x, w)), targets),
  'a soft assignment': (x, w) => einsum('b k, b d -> k d', softmax(classes(x, w)), x),
  'the gradient of a classifier': (x, w, targets) => einsum('b k, b d -> k d', softmax(classes(x, w)).sub(targets), x),
};
test.each(Object.entries(noAttention))('%s is no near miss', (_, f) => {
  const g = trace(f as never, [spec('5 4'), spec('7 4'), spec('5 7'), spec('7')] as never).graph;
  expect(tagsIn(recognise(g))).toEqual(['softmax']);
  expect(whys(g)).toEqual([]);
});

test('a sum that is held constant is no softmax: its derivative is another', () => {
  const held = (q: Q, k: K, v: V) => {
    const s = scores(q, k);
    const e = exp(s.sub(stopGradient(max('b h n m -> b h n 1', s))));
    return look(e.div(stopGradient(sum('b h n m -> b h n 1', e))), v);
  };
  const g = graphOf(held as never);
  expect(tagsIn(recognise(g))).toEqual([]);
  expect(law('duality')?.check({ graph: g, inputs: draw(g, 6) }, context)).toBeUndefined();
});

test('names of the compiler are not for composites', () => {
  const mine = () => trace((x: F32<'4'>) => composite('fovea.attention', (y: F32<'4'>) => y.mul(2), x), [spec('4')]);
  expect(mine).toThrow(expect.objectContaining({ code: 'FV0007' }));
  // nor are those of objects calls of the compiler
  const other = trace((x: F32<'4'>) => composite('constructor', (y: F32<'4'>) => y.mul(2), x), [spec('4')]).graph;
  const call = other.nodes[0]?.op;
  expect(call?.prim === 'call' && streams(call)).toBe(false);
});

test('more queries than a block can hold gradients of have no template', () => {
  const call = (tag: AttentionTag, n: number) => {
    const b = builder();
    const [scale, rows, one] = [[], [n, 64], [n]].map((shape) => b.param({ dtype: 'f32', shape })) as [Value, Value, Value];
    const operands = tag === 'fovea.attention' ? [scale, rows, rows, rows] : [scale, rows, rows, rows, one, one, rows];
    return b.maker(attention(b, tag, operands)[0] as Value)?.op as OpOf<'call'>;
  };
  expect([16384, 16385].map((n) => streams(call('fovea.attention.grad', n)))).toEqual([true, false]);
  expect(streams(call('fovea.attention', 16385))).toBe(true);
});

test('a scale that is learned has its gradient', () => {
  const f = (c: F32<''>, q: Q, k: K, v: V) => sum('b h n e ->', look(softmax(scores(q, k).mul(c)), v));
  const g = trace(grad(f) as never, [spec(''), ...specs] as never).graph;
  expect(tagsIn(g)).not.toContain('fovea.attention.grad');
  const value = trace(f as never, [spec(''), ...specs] as never).graph;
  expect(law('duality')?.check({ graph: value, inputs: draw(value, 3) }, context)).toBeUndefined();
});

test('rows of bf16 have the derivative of the definition', () => {
  const b = builder();
  const rows = [[], [2, 5, 4], [2, 7, 4], [2, 7, 6]].map((shape) => b.param({ dtype: 'f32', shape }));
  const [o] = attention(b, 'fovea.attention', [rows[0] as Value, ...rows.slice(1).map((x) => b.cast(x, 'bf16'))]) as [Value];
  const graph = b.build([o]);
  const derivative = gradGraph(graph);
  verify(derivative);
  expect(tagsIn(derivative).filter((t) => t === 'fovea.attention.grad')).toEqual([]);
  expect(law('duality')?.check({ graph, inputs: draw(graph, 6) }, context)).toBeUndefined();
});

describe('laws of attention', () => {
  const g = recognise(graphOf(forms['scaled queries'] as never));
  const p = { graph: g, inputs: draw(g, 4) };
  it.each(['duality', 'grad of grad', 'vmap', 'remat', 'text', 'verify', 'passes'])('%s', (name) => {
    expect(law(name)?.check(p, context)).toBeUndefined();
  });
  it('a batch of attentions is an attention', () => {
    const { graph } = vmapGraph(g, [true, false, true], 3);
    expect(tagsIn(graph)).toEqual(['fovea.attention']);
  });
  it('the gradients of single examples too', () => {
    const perExample = vmap((q: F32<'3 5 4'>) =>
      grad((x: F32<'3 5 4'>) => {
        const s = einsum('h n d, h m d -> h n m', x, x);
        return sum('h n d ->', einsum('h n m, h m d -> h n d', softmax(s), x));
      })(q),
    );
    const traced = trace(perExample as never, [spec('2 3 5 4')] as never).graph;
    expect(tagsIn(traced)).toEqual(['fovea.attention', 'fovea.attention.grad']);
  });
});
