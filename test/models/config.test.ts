/** Reading the original's configurations: its defaults, what becomes of each kind of value, and every refusal by name. */
import { describe, expect, it } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { dropPathOf, recipeFromConfig, vitConfigOf } from '../../models/recipes/config.ts';
import { recipes, vitLarge16 } from '../../models/recipes.ts';

const refusal = (f: () => unknown): string => {
  try {
    f();
  } catch (e) {
    if (e instanceof FoveaError && e.code === 'FV0415') return e.message;
    throw e;
  }
  throw new Error('it was not refused');
};

describe('reading configurations', () => {
  it('takes the original defaults where nothing is given', () => {
    const r = recipeFromConfig({});
    expect(r.model).toEqual({ ...vitLarge16.model, chunks: undefined });
    expect({ ...r, model: vitLarge16.model, name: 'vitl16' }).toEqual(vitLarge16);
    // the constructor's own: one chunk, no LayerScale, stochastic depth that rises from 0
    expect(vitConfigOf({})).toEqual({
      width: 768,
      depth: 12,
      heads: 12,
      ffn: 'mlp',
      layerScale: null,
      patch: 16,
      imageSize: 224,
      registers: 0,
      interpolation: { offset: 0.1, antialias: false },
      chunks: 1,
    });
    expect(dropPathOf({})).toEqual({ rate: 0, uniform: false });
  });

  it('names one layer in three ways, and an architecture in two', () => {
    const model = (student: object) => recipeFromConfig({ student }).model;
    expect(model({ ffn_layer: 'swiglu' })).toEqual(model({ ffn_layer: 'swiglufused' }));
    expect(model({ ffn_layer: 'identity' }).ffn).toBe('identity');
    expect(model({ arch: 'vit_base_memeff' })).toEqual(model({ arch: 'vit_base' }));
    // as in the original, an architecture does not choose the kind of feed-forward
    expect(model({ arch: 'vit_giant2' })).toMatchObject({ width: 1536, ffn: 'mlp' });
  });

  it('reads what is absent or zero as none', () => {
    for (const layerscale of [0, null]) expect(recipeFromConfig({ student: { layerscale } }).model.layerScale).toBeNull();
    for (const clip_grad of [0, null]) expect(recipeFromConfig({ optim: { clip_grad } }).optim.clip).toBeNull();
    expect(recipeFromConfig({ dino: { head_nlayers: 0 } }).dino.layers).toBe(1);
    expect(vitConfigOf({ init_values: 0, block_chunks: 0 })).not.toHaveProperty('chunks');
  });

  it('keeps what differs from the defaults, as plain data', () => {
    const c = vitConfigOf({ qkv_bias: false, in_chans: 1, mlp_ratio: 2.5, block_chunks: 3, img_size: [56, 56], patch_size: 14 });
    expect(c).toMatchObject({ bias: { qkv: false, proj: true, ffn: true }, channels: 1, mlpRatio: 2.5, chunks: 3, imageSize: 56 });
    const r = recipeFromConfig({ architecture: { embed_dim: 32, depth: 2, num_heads: 2, mlp_ratio: 3 } });
    expect(r.model).toMatchObject({ width: 32, depth: 2, heads: 2, mlpRatio: 3 });
    for (const x of [c, r, ...Object.values(recipes)]) expect(JSON.parse(JSON.stringify(x))).toEqual(x);
  });

  it.each([
    [{ student: { arch: 'vit_huge' } }, "student.arch is 'vit_huge'; known: 'vit_small', 'vit_base', 'vit_large', 'vit_giant2'"],
    [{ optim: { learning_rate: 1 }, extra: 2 }, 'unknown key extra'],
    [{ optim: { learning_rate: 1 } }, 'unknown key optim.learning_rate'],
    [{ optim: { scaling_rule: 'linear' } }, "optim.scaling_rule is 'linear'; known: 'sqrt_wrt_1024'"],
    [{ train: { centering: 'mean' } }, "train.centering is 'mean'; known: 'centering', 'sinkhorn_knopp'"],
    [{ student: { ffn_layer: 'conv' } }, "known: 'mlp', 'swiglu', 'swiglufused', 'identity'"],
    [{ optim: { epochs: 5 } }, 'optim.warmup_epochs 10 is more than optim.epochs 5'],
    [{ student: { interpolate_offset: 1 } }, 'student.interpolate_offset is 1: '],
    [{ student: { patch_size: 14 } }, 'crops.local_crops_size 96 is no multiple of student.patch_size 14'],
    [{ student: { block_chunks: 25 } }, 'block_chunks 25 is more than the 24 blocks'],
    [{ ibot: { mask_ratio_min_max: [0.5, 0.1] } }, 'ibot.mask_ratio_min_max is [0.5,0.1]'],
    [{ ibot: { mask_sample_probability: 2 } }, 'ibot.mask_sample_probability is 2'],
    [{ student: { pretrained_weights: 'x.pth' } }, "student.pretrained_weights is 'x.pth'; known: ''"],
    [{ architecture: { embed_dim: 30, depth: 1, num_heads: 4 } }, 'embed_dim 30 is no multiple of num_heads 4'],
    [{ architecture: { embed_dim: 30 } }, 'architecture'],
    [{ train: { batch_size_per_gpu: '64' } }, "train.batch_size_per_gpu is '64'"],
    [{ teacher: null }, 'teacher is null'],
    [[], 'the configuration is []'],
    ['student: {}', "the configuration is 'student: {}'"],
  ])('refuses %j', (config, text) => expect(refusal(() => recipeFromConfig(config))).toContain(text));

  it.each([
    [{ embed_dims: 3 }, 'unknown key embed_dims'],
    [{ img_size: [56, 70] }, 'the two sides differ'],
    [{ drop_path_rate: 1 }, 'drop_path_rate is 1'],
    [{ depth: Number.NaN }, 'depth'],
  ])('refuses constructor arguments %j', (config, text) => expect(refusal(() => vitConfigOf(config))).toContain(text));

  it('lists all differences at once', () =>
    expect(refusal(() => recipeFromConfig({ student: { arch: 'x' }, train: { centering: 'y' }, z: 1 }))).toMatch(
      /centering.*arch.*unknown key z/,
    ));
});
