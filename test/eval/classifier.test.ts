/** The linear classifiers of released backbones: file names, shapes, and scores against the formula written out. */
import { expect, test } from 'vitest';
import { apply, type F32, leaves } from '../../dsl/index.ts';
import { type ClassifierHead, classifierHead, classify } from '../../models/eval/classifier.ts';
import { releasedClassifier, releasedWeights } from '../../models/recipes/evaluations.ts';
import { published } from '../../models/vit/presets.ts';
import { type VitConfig, type VitParams, vit } from '../../models/vit.ts';
import { evaluate, type Numbers, nest } from '../models/evaluate.ts';
import { distance, random } from '../models/random.ts';

test('files and shapes of released heads', () => {
  const root = 'https://dl.fbaipublicfiles.com/dinov2';
  expect(releasedWeights('vitg14_reg4')).toBe(`${root}/dinov2_vitg14/dinov2_vitg14_reg4_pretrain.pth`);
  expect(releasedClassifier('vits14', 1)).toBe(`${root}/dinov2_vits14/dinov2_vits14_linear_head.pth`);
  expect(releasedClassifier('vitb14_reg4', 4)).toBe(`${root}/dinov2_vitb14/dinov2_vitb14_reg4_linear4_head.pth`);
  expect(leaves(classifierHead(published('vit_small'), 4)).map((l) => [l.path, l.shape])).toEqual([
    ['weight', [1000, 1920]],
    ['bias', [1000]],
  ]);
});

const c: VitConfig = {
  width: 8,
  depth: 5,
  heads: 2,
  ffn: 'mlp',
  layerScale: 0.5,
  patch: 2,
  imageSize: 4,
  registers: 1,
  interpolation: { offset: 0, antialias: true },
};
const weights = (m: Parameters<typeof leaves>[0], scale: number): unknown =>
  nest(leaves(m).map(({ path, shape }) => [path, random(path, shape as number[], { scale })] as const));

test.each([1, 4] as const)('scores of a head on %i blocks', (layers) => {
  const [head, images] = [weights(classifierHead(c, layers, 3), 1) as Record<'weight' | 'bias', Numbers>, random('images', [2, 3, 4, 4])];
  const score = (w: VitConfig, params: unknown): Numbers =>
    evaluate(
      (backbone: VitParams, h: ClassifierHead, x: F32<'B Ch S W'>) => classify(w, { backbone, head: h }, x, layers),
      [params, head, images],
    ) as Numbers;
  const params = weights(vit(c), 0.5) as { blocks: unknown[] };
  // a network cut after its block is one whose last block it is
  const cut = (depth: number): Record<'cls' | 'patches', Numbers> =>
    evaluate(
      (p: VitParams, x: F32<'B Ch S W'>) => {
        const { cls, patches } = apply(vit({ ...c, depth }), p)(x);
        return { cls, patches };
      },
      [{ ...params, blocks: params.blocks.slice(0, depth) }, images],
    ) as Record<'cls' | 'patches', Numbers>;
  const blocks = Array.from({ length: layers }, (_, i) => cut(c.depth - layers + 1 + i));
  const want = [0, 1].flatMap((b) => {
    const { patches } = blocks.at(-1)!;
    const mean = Array.from({ length: 8 }, (_, d) => [0, 1, 2, 3].reduce((s, n) => s + patches.data[(b * 4 + n) * 8 + d]!, 0) / 4);
    const row = [...blocks.flatMap((x) => Array.from(x.cls.data).slice(8 * b, 8 * b + 8)), ...mean];
    return Array.from(head.bias.data, (v, k) => row.reduce((s, x, i) => s + x * head.weight.data[k * row.length + i]!, v));
  });
  const got = score(c, params);
  expect(got.shape).toEqual([2, 3]);
  // sums of at most 40 products of numbers below 3, in two orders
  expect(distance(got.data, want)).toBeLessThan(1e-13);
});
