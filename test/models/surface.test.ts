/** The constructor's surface: names and shapes of every variant, and what each argument changes in the result. */
import { describe, expect, it } from 'vitest';
import { apply, type F32, leaves, type Params, type Tensor } from '../../dsl/index.ts';
import { swigluAligned, swigluHidden } from '../../models/layers.ts';
import { blockPaths } from '../../models/vit/chunks.ts';
import { type Drop, dropForm, kept } from '../../models/vit/drop-path.ts';
import { patchEmbed, patchGrid } from '../../models/vit/patches.ts';
import { type Crop, crop, encode, intermediate, type VitConfig, type VitParams, vit } from '../../models/vit.ts';
import { allNumbers, evaluate, type Numbers, nest, numbers } from './evaluate.ts';
import { distance, random as unitRandom } from './random.ts';

const random = (name: string, shape: readonly number[]): Numbers => unitRandom(name, shape, { scale: 0.5 });
type Leaves = Parameters<typeof leaves>[0];
/** Formula weights; `name` may map several models' paths to the same numbers. */
const weights = (m: Leaves, name = (path: string) => path): unknown =>
  nest(leaves(m).map(({ path, shape }) => [path, random(name(path), shape as number[])] as const));

const base: VitConfig = {
  width: 8,
  depth: 5,
  heads: 2,
  ffn: 'mlp',
  layerScale: 0.5,
  patch: 2,
  imageSize: 4,
  registers: 0,
  interpolation: { offset: 0.1, antialias: false },
};
const image = random('image', [2, 3, 4, 4]);
const features = (c: VitConfig, params: unknown, x: Numbers = image): readonly Numbers[] =>
  allNumbers(evaluate((p: VitParams, images: F32<'B Ch S W'>) => apply(vit(c), p)(images), [params, x]));
const refusal = (f: () => unknown): string => {
  try {
    f();
  } catch (e) {
    return (e as { report(): string }).report();
  }
  throw new Error('it did not fail');
};

describe('blocks in groups', () => {
  it('keeps the number of a block in the network; a depth that does not divide gives one group more', () => {
    expect(blockPaths({ depth: 5, chunks: 2 })).toEqual(['0.0', '0.1', '1.2', '1.3', '2.4']);
    expect(blockPaths({ depth: 4, chunks: 4 })).toEqual(['0.0', '1.1', '2.2', '3.3']);
    expect(blockPaths({ depth: 2, chunks: 1 })).toEqual(['0.0', '0.1']);
    expect(blockPaths({ depth: 2 })).toEqual(['0', '1']);
    const paths = leaves(vit({ ...base, chunks: 2 })).map((l) => l.path);
    expect(paths.filter((p) => p.endsWith('attn.qkv.weight'))).toEqual(
      blockPaths({ depth: 5, chunks: 2 }).map((b) => `blocks.${b}.attn.qkv.weight`),
    );
  });
  it('computes the same in every layout, alone and in a list', () => {
    const flat = (path: string): string => path.replace(/^blocks\.\d+\.(\d+\.)/, 'blocks.$1');
    const listed = (c: VitConfig, params: unknown): readonly Numbers[] =>
      allNumbers(
        evaluate(
          (p: VitParams, x: F32<'B Ch S W'>) => encode(c, p, [crop(c, x, 'N') as unknown as Crop, crop(c, x, 'N') as unknown as Crop]),
          [params, image],
        ),
      );
    const want = features(base, weights(vit(base)));
    for (const chunks of [1, 2, 5]) {
      const c = { ...base, chunks };
      const params = weights(vit(c), flat);
      features(c, params).forEach((x, i) => expect(distance(x.data, (want[i] as Numbers).data)).toBe(0));
      expect(listed(c, params).map((x) => Array.from(x.data))).toEqual(listed(base, weights(vit(base))).map((x) => Array.from(x.data)));
    }
  });
  it('refuses more groups than blocks', () => {
    expect(refusal(() => vit({ ...base, chunks: 6 }))).toBe(
      'FV0408: 5 blocks cannot lie in 6 groups\n  Give at most one group a block, or 0 for a flat list.',
    );
  });
});

describe('feed-forward layers', () => {
  const names = (ffn: VitConfig['ffn'], layerScale: number | null): string[] =>
    leaves(vit({ ...base, depth: 1, ffn, layerScale }))
      .map((l) => l.path)
      .filter((p) => p.startsWith('blocks.') && !/attn|norm1/.test(p))
      .map((p) => p.replace('blocks.0.', ''));
  it('has the parameters of its kind', () => {
    expect(names('mlp', 1)).toEqual([
      'ls1.gamma',
      'norm2.weight',
      'norm2.bias',
      'mlp.fc1.weight',
      'mlp.fc1.bias',
      'mlp.fc2.weight',
      'mlp.fc2.bias',
      'ls2.gamma',
    ]);
    expect(names('swiglu', 0)).toEqual(['norm2.weight', 'norm2.bias', 'mlp.w12.weight', 'mlp.w12.bias', 'mlp.w3.weight', 'mlp.w3.bias']);
    expect(names('identity', 1)).toEqual(['ls1.gamma', 'norm2.weight', 'norm2.bias', 'ls2.gamma']);
    expect(names('none', 1)).toEqual(['ls1.gamma']);
  });
  it('without a layer still adds the normalised tokens, unless the branch is left out', () => {
    const c: VitConfig = { ...base, depth: 1, layerScale: null };
    const all = weights(vit(c));
    const prenorm = (ffn: VitConfig['ffn'], change: (block: Record<string, unknown>) => Record<string, unknown>): Numbers => {
      const { blocks, ...rest } = all as { blocks: Record<string, unknown>[] };
      return features({ ...c, ffn }, { ...rest, blocks: [change(blocks[0] as Record<string, unknown>)] })[3] as Numbers;
    };
    const attended = prenorm('none', ({ norm1, attn }) => ({ norm1, attn }));
    const { norm2 } = (all as { blocks: { norm2: Record<'weight' | 'bias', Numbers> }[] }).blocks[0]!;
    const added = prenorm('identity', ({ norm1, attn, norm2 }) => ({ norm1, attn, norm2 }));
    const width = 8;
    const want = Array.from(attended.data, (x, i) => {
      const row = Array.from(attended.data).slice(i - (i % width), i - (i % width) + width);
      const mean = row.reduce((a, b) => a + b) / width;
      const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / width;
      return x + ((x - mean) / Math.sqrt(variance + 1e-6)) * norm2.weight.data[i % width]! + norm2.bias.data[i % width]!;
    });
    // a dozen float64 operations on numbers below 4
    expect(distance(added.data, want)).toBeLessThan(1e-14);
  });
  it('rounds the hidden width of SwiGLU as published', () => {
    expect([384, 768, 1024, 1536].map((d) => swigluHidden(4 * d))).toEqual([1024, 2048, 2736, 4096]);
    expect(swigluHidden(4096, 64)).toBe(2752);
  });
  it('gates the same way with three layers as with two', () => {
    const m = swigluAligned(4, 6);
    const [x, p] = [random('x', [3, 4]), weights(m) as Record<'w1' | 'w2' | 'w3', Record<'weight' | 'bias', Numbers>>];
    const out = evaluate((q: Params<typeof m>, y: F32<'B 4'>) => apply(m, q)(y), [p, x]) as Numbers;
    const linear = (row: readonly number[], { weight, bias }: Record<'weight' | 'bias', Numbers>): number[] =>
      Array.from(bias.data, (b, o) => row.reduce((s, v, i) => s + v * weight.data[o * row.length + i]!, b));
    const want = [0, 1, 2].flatMap((r) => {
      const row = Array.from(x.data).slice(4 * r, 4 * r + 4);
      const [gate, value] = [linear(row, p.w1), linear(row, p.w2)];
      return linear(
        gate.map((g, i) => (g / (1 + Math.exp(-g))) * value[i]!),
        p.w3,
      );
    });
    // three layers of sums of at most 7 terms below 1: a few dozen roundings of 2^-53
    expect(distance(out.data, want)).toBeLessThan(1e-14);
  });
});

describe('patches', () => {
  it('embeds by a convolution whose stride is its kernel, for any sides and channels, with a norm if asked', () => {
    const config = { width: 3, patch: [2, 3], channels: 2 } as const;
    const m = patchEmbed(config);
    expect(leaves(m).map((l) => [l.path, l.shape])).toEqual([
      ['proj.weight', [3, 2, 2, 3]],
      ['proj.bias', [3]],
    ]);
    const x = random('pixels', [1, 2, 4, 6]);
    const p = weights(m) as { proj: Record<'weight' | 'bias', Numbers> };
    const out = evaluate((q: Params<typeof m>, y: F32<'B I S W'>) => apply(m, q)(y), [p, x]) as Numbers;
    const want: number[] = [];
    for (const [top, left] of [
      [0, 0],
      [0, 3],
      [2, 0],
      [2, 3],
    ] as const)
      for (let d = 0; d < 3; d++) {
        let s = p.proj.bias.data[d]!;
        for (let ch = 0; ch < 2; ch++)
          for (let i = 0; i < 2; i++)
            for (let j = 0; j < 3; j++)
              s += x.data[(ch * 4 + top + i) * 6 + left + j]! * p.proj.weight.data[((d * 2 + ch) * 2 + i) * 3 + j]!;
        want.push(s);
      }
    expect(out.shape).toEqual([1, 4, 3]);
    // sums of 13 terms in another order: each term is below 1/4, a partial sum below 4, and is rounded by at most 2^-53 of itself
    expect(distance(out.data, want)).toBeLessThan(13 * 4 * 2 ** -53);
    const g = patchGrid(config);
    const onGrid = evaluate((q: Params<typeof g>, y: F32<'B I S W'>) => apply(g, q)(y), [p, x]) as Numbers;
    expect([onGrid.shape, Array.from(onGrid.data)]).toEqual([[1, 2, 2, 3], Array.from(out.data)]);
    expect(leaves(patchEmbed({ ...config, patchNorm: true })).map((l) => l.path)).toEqual([
      'proj.weight',
      'proj.bias',
      'norm.weight',
      'norm.bias',
    ]);
  });
  it('refuses sides that the patch does not divide, naming both', () => {
    const x = random('odd', [1, 3, 4, 5]);
    expect(refusal(() => features(base, weights(vit(base)), x))).toMatch(
      /^FV0408: an image of 4 x 5 pixels does not divide into patches of 2 x 2\n(.*\n)* {2}Resize or crop it, for example to 4 x 4\.$/,
    );
  });
  it('rounds the learned grid down: the image size counts whole patches', () => {
    const c = { ...base, imageSize: 5 };
    expect(leaves(vit(c)).find((l) => l.path === 'pos_embed')?.shape).toEqual([1, 5, 8]);
    features(c, weights(vit(c))).forEach((x, i) =>
      expect(Array.from(x.data)).toEqual(Array.from((features(base, weights(vit(base)))[i] as Numbers).data)),
    );
  });
  it('takes images of other channels than three', () => {
    const c = { ...base, channels: 1 };
    expect(leaves(vit(c)).find((l) => l.path === 'patch_embed.proj.weight')?.shape).toEqual([8, 1, 2, 2]);
    expect(features(c, weights(vit(c)), random('gray', [2, 1, 4, 4]))[0]?.shape).toEqual([2, 8]);
  });
});

describe('features of a model without registers', () => {
  it('have a part for registers of width zero', () => {
    const [cls, registers, patches, prenorm] = features(base, weights(vit(base)));
    expect([cls, registers, patches, prenorm].map((x) => x?.shape)).toEqual([
      [2, 8],
      [2, 0, 8],
      [2, 4, 8],
      [2, 5, 8],
    ]);
  });
});

describe('intermediate layers', () => {
  const take = (blocks: number | readonly number[]): readonly unknown[] =>
    evaluate(
      (p: VitParams, x: F32<'B Ch S W'>) =>
        intermediate(base, p, crop(base, x, 'N'), { blocks }).map(({ cls, patches }) => ({ cls, patches })),
      [weights(vit(base)), image],
    ) as readonly unknown[];
  it('come in network order, each block once', () => {
    expect(allNumbers(take([3, 1, 3])).map((x) => Array.from(x.data))).toEqual(allNumbers(take([1, 3])).map((x) => Array.from(x.data)));
    expect(take(5).length).toBe(5);
  });
  it('refuses blocks that do not exist', () => {
    expect(refusal(() => take([0, 5]))).toMatch(/^FV0408: intermediate: blocks 5 are not among the 5 of the model\n/);
    expect(refusal(() => take(6))).toMatch(/the last 6 blocks are not among the 5 of the model/);
    // a list of so many numbers would not fit into memory
    expect(refusal(() => take(1e9))).toMatch(/the last 1000000000 blocks/);
  });
});

describe('stochastic depth', () => {
  const c: VitConfig = { ...base, depth: 1 };
  const params = weights(vit(c));
  const run = (attn: Numbers | undefined, ffn: Numbers | undefined, scales?: readonly number[]): Numbers => {
    const list = (x: Numbers | undefined): readonly Numbers[] => (x ? [x] : []);
    const f = (p: VitParams, x: F32<'B Ch S W'>, a: readonly Drop[], b: readonly Drop[]) =>
      encode(c, p, [crop(c, x, 'N') as unknown as Crop], { keep: [{ attn: a, ffn: b }], scales })[0];
    return allNumbers(evaluate(f, [params, random('three', [3, 3, 4, 4]), list(attn), list(ffn)]))[3] as Numbers;
  };
  it('has the original form at every rate', () => {
    expect([dropForm(0.05, 'list'), dropForm(0.1, 'tensor'), dropForm(0.11, 'tensor')]).toEqual(['subset', 'mask', 'subset']);
    expect([kept(4, 0.3), kept(1, 0.9), kept(64, 0.4)]).toEqual([2, 1, 38]);
  });
  it('as a subset is the mask form with factors batch / kept and 0', () => {
    const subset = run(numbers([2, 0], [2], 'i32'), numbers([1], [1], 'i32'));
    const mask = run(numbers([1.5, 0, 1.5], [3]), numbers([0, 3, 0], [3]));
    // the branch sees the same rows; one product is rounded in another place
    expect(distance(subset.data, mask.data)).toBeLessThan(1e-14);
    expect(distance(subset.data, run(undefined, undefined).data)).toBeGreaterThan(1e-3);
  });
  it('takes another factor if asked', () => {
    const scaled = run(numbers([2, 0], [2], 'i32'), numbers([1], [1], 'i32'), [2]);
    const mask = run(numbers([2, 0, 2], [3]), numbers([0, 2, 0], [3]));
    expect(distance(scaled.data, mask.data)).toBeLessThan(1e-14);
  });
});

it('masks show in no other patch before the first block, and everywhere after', () => {
  const c: VitConfig = { ...base, depth: 1 };
  const f = (p: VitParams, x: F32<'B Ch S W'>, m: Tensor<'B N', 'bool'>) => encode(c, p, [crop(c, x, 'N', m) as unknown as Crop])[0];
  const at = (mask: readonly number[]): readonly Numbers[] =>
    allNumbers(evaluate(f, [weights(vit(c)), image, numbers(mask, [2, 4], 'bool')]));
  const [none, one] = [at([0, 0, 0, 0, 0, 0, 0, 0]), at([0, 1, 0, 0, 0, 0, 0, 0])];
  const patches = (x: readonly Numbers[], from: number, to: number): number[] => Array.from((x[2] as Numbers).data).slice(from, to);
  expect(patches(one, 0, 8)).not.toEqual(patches(none, 0, 8));
  expect(patches(one, 32, 64)).toEqual(patches(none, 32, 64));
});
