/** A small ViT and losses written in the language: the fixture of the type tests, the cost budget and the module tests. */
import * as d from '../../dsl/index.ts';

export const linear = <I extends d.DimArg, O extends d.DimArg>(i: I, o: O) =>
  d.module(
    { I: i, O: o },
    () => ({ weight: d.param('O I'), bias: d.param('O', d.initializers.zeros) }),
    ['... I'],
    (p, x) => d.einsum('... i, o i -> ... o', x, p.weight).add(p.bias),
  );

export const norm = <D extends d.DimArg>(dim: D) =>
  d.module(
    { D: dim },
    () => ({ weight: d.param('D', d.initializers.ones), bias: d.param('D', d.initializers.zeros) }),
    ['... D'],
    (p, x) => d.layerNorm(x, p.weight, p.bias),
  );

export const attention = <D extends d.DimArg, H extends d.DimArg>(dim: D, heads: H) =>
  d.module(
    { D: dim, H: heads, K: d.over(dim, heads) },
    ({ D }) => ({ qkv: linear(D, d.times(3, D)), proj: linear(D, D) }),
    ['B N D'],
    ({ qkv, proj, H, K }, x) => {
      const [q, k, v] = d.unbind(d.rearrange('b n (t h k) -> t b h n k', qkv(x), { t: 3, h: H }));
      const a = d.softmax(d.einsum('b h n k, b h m k -> b h n m', q.mul(d.rsqrt(d.scalar(K))), k));
      return proj(d.rearrange('b h n k -> b n (h k)', d.einsum('b h n m, b h m k -> b h n k', a, v)));
    },
  );

export const mlp = <D extends d.DimArg, F extends d.DimArg>(dim: D, hidden: F) =>
  d.module(
    { D: dim, F: hidden },
    ({ D, F }) => ({ fc1: linear(D, F), fc2: linear(F, D) }),
    ['B N D'],
    (p, x) => p.fc2(d.gelu(p.fc1(x))),
  );

export const block = <D extends d.DimArg, H extends d.DimArg>(dim: D, heads: H) =>
  d.module(
    { D: dim, H: heads },
    ({ D, H }) => ({ norm1: norm(D), attn: attention(D, H), norm2: norm(D), mlp: mlp(D, d.times(4, D)) }),
    ['B N D'],
    (p, x) => {
      const y = x.add(p.attn(p.norm1(x)));
      return y.add(p.mlp(p.norm2(y)));
    },
  );

export const vit = <D extends d.DimArg, H extends d.DimArg>(dim: D, heads: H, depth: number) =>
  d.module(
    { D: dim, H: heads },
    ({ D, H }) => ({ embed: linear(12, D), cls_token: d.param('1 1 D'), blocks: d.repeat(depth, () => block(D, H)), norm: norm(D) }),
    ['B N 12'],
    (p, patches) => {
      let x = d.concat('b * d', d.expand(p.cls_token, 'B 1 D'), p.embed(patches)).as('B N+1 D');
      for (const b of p.blocks) x = b(x);
      const y = p.norm(x);
      return { cls: d.slice('b 0 d', y), patches: d.slice('b 1: d', y) };
    },
  );

export const dinoLoss = (temp: number) =>
  d.fn(['S B K', 'T B K'], (student, teacher) =>
    d.mean('s t b ->', d.einsum('s b k, t b k -> s t b', d.logSoftmax(student.div(temp)), d.stopGradient(teacher))).neg(),
  );

export const koleo = d.fn(['B D'], (x) => {
  const u = x.div(d.sqrt(d.sum('b d -> b 1', x.mul(x))).add(1e-8));
  const nearest = d.max('i j -> i', d.einsum('i d, j d -> i j', u, u).sub(d.constant([[2]], '1 1')));
  return d.mean('i ->', d.log(d.sqrt(nearest.mul(-2).add(2)).add(1e-8))).neg();
});

export const sinkhorn = (iterations: number) =>
  d.fn(['B K'], (logits) => {
    let q = d.exp(logits);
    for (let i = 0; i < iterations; i++) {
      q = q.div(d.sum('b k -> 1 k', q));
      q = q.div(d.sum('b k -> b 1', q));
    }
    return q;
  });
