/**
 * From the original's configurations to ours: a training or evaluation file (as an object, whatever it was parsed from) becomes a
 * recipe, constructor arguments of DinoVisionTransformer become a VitConfig. The result is in its shortest form: what equals our
 * defaults (all biases, ratio 4, three channels, no chunks) is left out, so equal networks are equal records.
 *
 *   recipeFromConfig({ student: { arch: 'vit_small', patch_size: 14 }, crops: { local_crops_size: 98 } }).model.width   ->  384
 *   vitConfigOf({ embed_dim: 48, depth: 2, num_heads: 4, img_size: 56, patch_size: 14 }).chunks                         ->  1
 */
import type { HeadConfig } from '../heads.ts';
import type { Recipe } from '../recipes.ts';
import { architectures } from '../vit/presets.ts';
import type { VitConfig } from '../vit.ts';
import {
  type ConstructorArguments,
  constructorArguments,
  type Layers,
  malformed,
  parseOriginal,
  type Sizes,
  type TrainingConfig,
  trainingConfig,
} from './original.ts';

/** Sizes of an architecture by name. The kind of feed-forward is not among them: in the original it is an argument of its own. */
const sizesOf = (name: keyof typeof architectures): Sizes => {
  const { width, depth, heads } = architectures[name];
  return { embed_dim: width, depth, num_heads: heads, mlp_ratio: 4 };
};

interface Backbone extends Sizes, Omit<Layers, 'drop_path_rate'> {
  readonly img_size: number;
  readonly in_chans: number;
  readonly init_values: number | null;
  readonly block_chunks: number;
}

const modelOf = (c: Backbone): VitConfig => {
  const wrong = [
    ...(c.embed_dim % c.num_heads === 0 ? [] : [`embed_dim ${c.embed_dim} is no multiple of num_heads ${c.num_heads}`]),
    ...(c.img_size >= c.patch_size ? [] : [`img_size ${c.img_size} is less than patch_size ${c.patch_size}`]),
    ...(c.block_chunks <= c.depth ? [] : [`block_chunks ${c.block_chunks} is more than the ${c.depth} blocks`]),
  ];
  if (wrong.length > 0) throw malformed(wrong);
  const bias = { qkv: c.qkv_bias, proj: c.proj_bias, ffn: c.ffn_bias };
  return {
    width: c.embed_dim,
    depth: c.depth,
    heads: c.num_heads,
    ffn: c.ffn_layer === 'swiglufused' ? 'swiglu' : c.ffn_layer,
    ...(c.mlp_ratio === 4 ? {} : { mlpRatio: c.mlp_ratio }),
    layerScale: c.init_values || null,
    ...(Object.values(bias).every(Boolean) ? {} : { bias }),
    patch: c.patch_size,
    imageSize: c.img_size,
    ...(c.in_chans === 3 ? {} : { channels: c.in_chans }),
    registers: c.num_register_tokens,
    interpolation: { offset: c.interpolate_offset, antialias: c.interpolate_antialias },
    ...(c.block_chunks > 0 ? { chunks: c.block_chunks } : {}),
  };
};

/** The network that the original's constructor builds from these arguments (its defaults where they are absent). FV0415. */
export const vitConfigOf = (input: unknown): VitConfig => {
  const c: ConstructorArguments = parseOriginal(constructorArguments, input);
  const base = sizesOf(c.architecture ?? 'vit_base');
  return modelOf({
    ...c,
    embed_dim: c.embed_dim ?? base.embed_dim,
    depth: c.depth ?? base.depth,
    num_heads: c.num_heads ?? base.num_heads,
  });
};

/** The stochastic depth of the same arguments. FV0415. */
export const dropPathOf = (input: unknown): Recipe['dropPath'] => {
  const c: ConstructorArguments = parseOriginal(constructorArguments, input);
  return { rate: c.drop_path_rate, uniform: c.drop_path_uniform };
};

const headOf = (h: TrainingConfig['dino'] | TrainingConfig['ibot']): HeadConfig => ({
  prototypes: h.head_n_prototypes,
  hidden: h.head_hidden_dim,
  bottleneck: h.head_bottleneck_dim,
  layers: Math.max(h.head_nlayers, 1),
});

/** The recipe of a configuration file: the original's defaults with `input` laid over them. FV0415. */
export const recipeFromConfig = (input: unknown, name = 'configured'): Recipe => {
  const { architecture, student, dino, ibot, train, teacher, optim, crops, evaluation } = parseOriginal(trainingConfig, input);
  for (const side of ['global_crops_size', 'local_crops_size'] as const)
    if (crops[side] % student.patch_size !== 0)
      throw malformed([`crops.${side} ${crops[side]} is no multiple of student.patch_size ${student.patch_size}`]);
  if (optim.warmup_epochs > optim.epochs)
    throw malformed([`optim.warmup_epochs ${optim.warmup_epochs} is more than optim.epochs ${optim.epochs}`]);
  const sizes = typeof architecture === 'object' ? architecture : sizesOf(architecture ?? student.arch);
  return {
    name,
    dataset: train.dataset_path,
    batch: train.batch_size_per_gpu,
    model: modelOf({ ...student, ...sizes, img_size: crops.global_crops_size, in_chans: 3, init_values: student.layerscale }),
    crops: {
      globalSize: crops.global_crops_size,
      localSize: crops.local_crops_size,
      locals: crops.local_crops_number,
      globalScale: crops.global_crops_scale,
      localScale: crops.local_crops_scale,
      augment: 'dinov2',
    },
    start: { linear: 0.02, positions: 0.02 },
    masking: { probability: ibot.mask_sample_probability, ratio: ibot.mask_ratio_min_max },
    dropPath: { rate: student.drop_path_rate, uniform: student.drop_path_uniform },
    dino: { weight: dino.loss_weight, ...headOf(dino) },
    ibot: { weight: ibot.loss_weight, head: ibot.separate_head ? headOf(ibot) : 'shared' },
    koleo: { weight: dino.koleo_loss_weight },
    centering: train.centering === 'sinkhorn_knopp' ? 'sinkhorn' : 'softmax',
    studentTemp: 0.1,
    teacher: {
      momentum: teacher.momentum_teacher,
      finalMomentum: teacher.final_momentum_teacher,
      warmupTemp: teacher.warmup_teacher_temp,
      temp: teacher.teacher_temp,
      tempWarmupEpochs: teacher.warmup_teacher_temp_epochs,
    },
    optim: {
      epochs: optim.epochs,
      epochLength: train.OFFICIAL_EPOCH_LENGTH,
      baseLr: optim.base_lr,
      scalingRule: optim.scaling_rule,
      minLr: optim.min_lr,
      warmupEpochs: optim.warmup_epochs,
      weightDecay: optim.weight_decay,
      finalWeightDecay: optim.weight_decay_end,
      clip: optim.clip_grad || null,
      freezeLastLayerEpochs: optim.freeze_last_layer_epochs,
      patchEmbedLr: optim.patch_embed_lr_mult,
      layerDecay: optim.layerwise_decay,
      beta1: optim.adamw_beta1,
      beta2: optim.adamw_beta2,
      eps: 1e-8,
    },
    evaluationPeriod: evaluation.eval_period_iterations,
  };
};
