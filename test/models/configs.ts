/** The configurations of the recorded cases, in the words of our recipes. */
import type { Recipe } from '../../models/recipes.ts';
import { demo } from '../../models/recipes.ts';
import type { VitConfig } from '../../models/vit.ts';

type Plain = Readonly<Record<string, number | string | boolean | null>>;

export const vitConfig = (c: unknown): VitConfig => {
  const p = c as Plain;
  return {
    width: p.embed_dim as number,
    depth: p.depth as number,
    heads: p.num_heads as number,
    mlpRatio: p.mlp_ratio as number,
    ffn: String(p.ffn_layer).startsWith('swiglu') ? 'swiglu' : 'mlp',
    layerScale: p.init_values as number | null,
    bias: { qkv: p.qkv_bias as boolean, proj: p.proj_bias as boolean, ffn: p.ffn_bias as boolean },
    patch: p.patch_size as number,
    imageSize: p.img_size as number,
    registers: p.num_register_tokens as number,
    interpolation: { offset: p.interpolate_offset as number, antialias: p.interpolate_antialias as boolean },
  };
};

type Sections = Readonly<Record<'optim' | 'teacher', Plain>>;

/** The part of a recipe that schedules read. */
export const timing = (config: unknown, batch: number, epochLength: number): Recipe => {
  const { optim: o, teacher: t } = config as Sections;
  return {
    ...demo,
    batch,
    teacher: {
      momentum: t.momentum_teacher as number,
      finalMomentum: t.final_momentum_teacher as number,
      warmupTemp: t.warmup_teacher_temp as number,
      temp: t.teacher_temp as number,
      tempWarmupEpochs: t.warmup_teacher_temp_epochs as number,
    },
    optim: {
      epochs: o.epochs as number,
      epochLength,
      baseLr: o.base_lr as number,
      minLr: o.min_lr as number,
      warmupEpochs: o.warmup_epochs as number,
      weightDecay: o.weight_decay as number,
      finalWeightDecay: o.weight_decay_end as number,
      clip: o.clip_grad as number,
      freezeLastLayerEpochs: o.freeze_last_layer_epochs as number,
      patchEmbedLr: o.patch_embed_lr_mult as number,
      layerDecay: o.layerwise_decay as number,
      beta1: o.adamw_beta1 as number,
      beta2: o.adamw_beta2 as number,
      eps: 1e-8,
    },
  };
};

/** A whole recorded training run. */
export const recipeOf = (config: unknown): Recipe => {
  const c = config as Readonly<Record<string, Plain>>;
  const {
    architecture: a,
    student: s,
    dino,
    ibot,
    train,
    crops,
  } = c as Record<'architecture' | 'student' | 'dino' | 'ibot' | 'train' | 'crops', Plain>;
  const head = (h: Plain) => ({
    prototypes: h.head_n_prototypes as number,
    hidden: h.head_hidden_dim as number,
    bottleneck: h.head_bottleneck_dim as number,
    layers: h.head_nlayers as number,
  });
  return {
    ...timing(config, train.batch_size_per_gpu as number, train.OFFICIAL_EPOCH_LENGTH as number),
    name: 'recorded',
    model: vitConfig({ ...a, ...s, init_values: s.layerscale, img_size: crops.global_crops_size }),
    crops: {
      globalSize: crops.global_crops_size as number,
      localSize: crops.local_crops_size as number,
      locals: crops.local_crops_number as number,
      globalScale: [0.32, 1],
      localScale: [0.05, 0.32],
      augment: 'dinov2',
    },
    start: { linear: 0.02, positions: 0.02 },
    masking: { probability: ibot.mask_sample_probability as number, ratio: ibot.mask_ratio_min_max as unknown as [number, number] },
    dropPath: { rate: s.drop_path_rate as number, uniform: s.drop_path_uniform as boolean },
    dino: { weight: dino.loss_weight as number, ...head(dino) },
    ibot: { weight: ibot.loss_weight as number, head: ibot.separate_head ? head(ibot) : 'shared' },
    koleo: { weight: dino.koleo_loss_weight as number },
    centering: train.centering === 'sinkhorn_knopp' ? 'sinkhorn' : 'softmax',
  };
};
