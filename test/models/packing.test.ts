/** Images of several sizes as one sequence: what it computes is what each of them gives alone, forwards and backwards. */
import { describe, expect, it } from 'vitest';
import {
  apply,
  einsum,
  type F32,
  leaves,
  type Params,
  rearrange,
  size,
  softmax,
  sum,
  type Tensor,
  unbind,
  valueAndGrad,
  where,
} from '../../dsl/index.ts';
import { pack, rowsOfImages, type Segment, unpack } from '../../models/layers/packing.ts';
import { packedAttention } from '../../models/layers.ts';
import { type Crop, crop, encode, type Keep, type VitConfig, type VitParams, vit } from '../../models/vit.ts';
import { allNumbers, evaluate, type Numbers, nest, numbers } from './evaluate.ts';
import { distance, random } from './random.ts';

const weights = (m: Parameters<typeof leaves>[0]): unknown =>
  nest(leaves(m).map(({ path, shape }) => [path, random(path, shape as number[], { scale: 0.5 })] as const));

const c: VitConfig = {
  width: 12,
  depth: 2,
  heads: 3,
  ffn: 'swiglu',
  layerScale: 0.5,
  patch: 2,
  imageSize: 6,
  registers: 1,
  interpolation: { offset: 0.1, antialias: false },
};
const views = [
  { x: random('a', [2, 3, 6, 6]), m: numbers([0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0], [2, 9], 'bool') },
  { x: random('b', [3, 3, 4, 2]) },
  { x: random('c', [1, 3, 2, 2]) },
];
type View = { readonly x: F32<'B 3 S W'>; readonly m?: Tensor<'B N', 'bool'> };
const cropOf = ({ x, m }: View): Crop => crop(c, x, 'N', m) as unknown as Crop;
/** Something that depends on every output, unevenly. */
const score = (f: { readonly cls: F32<string>; readonly registers: F32<string>; readonly patches: F32<string> }): F32<''> => {
  const weighed = (x: F32<string>): F32<''> => sum(`${x.shape.map((_, i) => `a${i}`).join(' ')} ->` as string, x.mul(x).mul(x)) as F32<''>;
  return weighed(f.cls).add(weighed(f.registers)).add(weighed(f.patches));
};

describe('a packed list of crops', () => {
  it('gives the features of every crop alone, and the gradients of their sum', () => {
    const total =
      (list: (p: VitParams, vs: readonly View[]) => readonly Parameters<typeof score>[0][]) => (p: VitParams, vs: readonly View[]) => {
        const out = list(p, vs);
        return out.map(score).reduce((a, b) => a.add(b));
      };
    const together = total((p, vs) => encode(c, p, vs.map(cropOf)));
    const alone = total((p, vs) => vs.flatMap((v) => encode(c, p, [cropOf(v)])));
    const grad = (f: (p: VitParams, vs: readonly View[]) => F32<''>) => (p: VitParams, vs: readonly View[]) =>
      valueAndGrad((q: VitParams) => f(q, vs))(p);
    const args = [weights(vit(c)), views];
    const [a, b] = [evaluate(grad(together), args), evaluate(grad(alone), args)].map(allNumbers) as [Numbers[], Numbers[]];
    expect(a.length).toBe(leaves(vit(c)).length + 1);
    a.forEach((x, i) => {
      const y = (b[i] as Numbers).data;
      const largest = Array.from(y).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      // sums of at most some hundred products in another order: a few hundred roundings of 2^-53
      expect(distance(x.data, y)).toBeLessThanOrEqual(1e-13 * Math.max(largest, 1));
    });
  });

  it.each([
    ['lists of kept images', 'i32'],
    ['factors', 'f32'],
  ] as const)('with stochastic depth by %s in shards: each shard is what it is alone, gradients too', (_, dtype) => {
    const [W, crops] = [3, [2, 1]] as const; // three shards of two images; two crops of an image, and one of another size
    const [b, kept] = [2, [3, 1]] as const;
    const images = crops.map((v, i) => random(`s${i}`, [W, v, b, 3, 6 - 2 * i, 6 - 2 * i]));
    const drops = (w: number, block: number) =>
      crops.map((v, i) =>
        dtype === 'f32'
          ? random(`f${w}${block}${i}`, [v * b])
          : numbers(
              Array.from({ length: kept[i] as number }, (_, k) => (k * 3 + w + block) % (v * b)),
              [kept[i] as number],
              dtype,
            ),
      );
    const part = (x: Numbers, w: number): Numbers => {
      const [n, each] = [x.data.length / W, x.shape.slice(3)];
      return numbers(Array.from(x.data).slice(w * n, (w + 1) * n), [(x.shape[1] as number) * b, ...each]);
    };
    /** Crop-major over all shards. */
    const joined = (xs: readonly Numbers[], v: number): Numbers => {
      const [n, { shape }] = [(xs[0] as Numbers).data.length / v, xs[0] as Numbers];
      const runs = Array.from({ length: v }, (_, k) => xs.flatMap((x) => Array.from(x.data).slice(k * n, (k + 1) * n)));
      return numbers(runs.flat(), [W * (shape[0] as number), ...shape.slice(1)], (xs[0] as Numbers).dtype);
    };
    const f = (shards: number) => (p: VitParams, xs: readonly F32<'B 3 S W'>[], keep: readonly Keep[]) =>
      valueAndGrad((q: VitParams) => {
        const views = encode(
          c,
          q,
          xs.map((x) => crop(c, x, 'N') as unknown as Crop),
          { keep, shards: { count: shards, images: b } },
        );
        return views.map(score).reduce((x, y) => x.add(y));
      })(p);
    const params = weights(vit(c));
    const keepOf = (w: number) => [0, 1].map((block) => ({ attn: drops(w, 2 * block), ffn: drops(w, 2 * block + 1) }));
    const own = Array.from({ length: W }, (_, w) => allNumbers(evaluate(f(1), [params, images.map((x) => part(x, w)), keepOf(w)])));
    const lists = (branch: 'attn' | 'ffn', block: number) =>
      crops.map((v, i) =>
        joined(
          own.map((_, w) => keepOf(w)[block]?.[branch][i] as Numbers),
          dtype === 'f32' ? v : 1,
        ),
      );
    const all = allNumbers(
      evaluate(f(W), [
        params,
        images.map((x, i) =>
          joined(
            own.map((_, w) => part(x, w)),
            crops[i] as number,
          ),
        ),
        [0, 1].map((block) => ({ attn: lists('attn', block), ffn: lists('ffn', block) })),
      ]),
    );
    all.forEach((x, i) => {
      const sum = Array.from(x.data, (_, k) => own.reduce((s, shard) => s + ((shard[i] as Numbers).data[k] as number), 0));
      const largest = sum.reduce((m, v) => Math.max(m, Math.abs(v)), 1);
      // sums in another order, as above
      expect(distance(x.data, sum)).toBeLessThanOrEqual(1e-13 * largest);
    });
    // the shards differ, so that a list of another shard would be seen
    expect(distance(own[0]?.[0]?.data as Numbers['data'], own[1]?.[0]?.data as Numbers['data'])).toBeGreaterThan(1e-3);
  });

  it('is taken apart into what it was put together from', () => {
    const f = (xs: readonly F32<'B N D'>[]) => {
      const { rows, segments } = pack(xs);
      return unpack(rows, segments);
    };
    const xs = [random('p', [2, 3, 4]), random('q', [1, 5, 4]), random('r', [3, 1, 4])];
    expect((evaluate(f, [xs]) as Numbers[]).map((y) => [y.shape, Array.from(y.data)])).toEqual(
      xs.map((x) => [x.shape, Array.from(x.data)]),
    );
  });
});

describe('attention on a packed sequence', () => {
  const segments: readonly Segment[] = [
    { images: 2, tokens: 3 },
    { images: 3, tokens: 2 },
  ];
  it('is attention under a block-diagonal mask', () => {
    const layer = packedAttention(size('D', 6), size('H', 2), segments);
    const image = [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4];
    const same = numbers(
      image.flatMap((i) => image.map((j) => Number(i === j))),
      [12, 12],
      'bool',
    );
    const f = (p: Params<typeof layer>, x: F32<'T D'>, mask: Tensor<'T T', 'bool'>) => {
      const qkv = einsum('t d, e d -> t e', x, p.qkv.weight).add(p.qkv.bias as F32<'3*D'>);
      const [q, k, v] = unbind(rearrange('t (s h k) -> s h t k', qkv, { s: 3, h: 2 }));
      const scores = einsum('h t k, h s k -> h t s', q, k).mul(1 / Math.sqrt(3));
      const found = einsum('h t s, h s k -> h t k', softmax(where(mask, scores, -1e30)), v);
      const rows = rearrange('h t k -> t (h k)', found).as('T D');
      const dense = einsum('t d, e d -> t e', rows, p.proj.weight).add(p.proj.bias as F32<'D'>);
      return { packed: apply(layer, p)(x), dense };
    };
    const out = evaluate(f, [weights(layer), random('x', [12, 6]), same], { T: 12, D: 6, H: 2, K: 3 }) as Record<
      'packed' | 'dense',
      Numbers
    >;
    // two orders of sums of at most 12 terms of size 1
    expect(distance(out.packed.data, out.dense.data)).toBeLessThanOrEqual(1e-14);
  });

  it('names the rows of chosen images', () => {
    const keep = [numbers([1], [1], 'i32'), numbers([2, 0], [2], 'i32')];
    const rows = evaluate((k: readonly Tensor<string, 'i32'>[]) => rowsOfImages(segments, k), [keep]) as Numbers;
    expect(Array.from(rows.data)).toEqual([3, 4, 5, 10, 11, 6, 7]);
  });
});
