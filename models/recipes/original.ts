/**
 * The configuration files of the original DINOv2 as a schema: its sections and keys, their defaults (its default configuration),
 * the values that it knows. Parsing gives defaults with the given values laid over them; what the original would have read past
 * (an unknown key, an unknown architecture) is refused by name.
 *
 * Keys of sharding, precision, logging and folders are known and left alone: they say how a run is executed, not what is learned.
 *
 *   parseOriginal(trainingConfig, { student: { arch: 'vit_small' } }).optim.base_lr      ->  0.004
 */
import { z } from 'zod';
import { FoveaError } from '../../compiler/error.ts';
import { architectures } from '../vit/presets.ts';

/** A whole number; `most` bounds what would be made one by one before anything else could be wrong with it. */
const count = (least: number, most = 2 ** 31 - 1) => z.int().min(least).max(most);
const depth = count(1, 1000);
const fraction = z.number().min(0).max(1);
const positive = z.number().positive();
const range = z.tuple([fraction, fraction]).refine(([low, high]) => low <= high, { error: 'the first number is above the second' });
const names = Object.keys(architectures) as (keyof typeof architectures)[];

/** `_memeff` once chose a kernel for attention; the network is the same. */
const arch = z
  .string()
  .transform((name) => name.replace(/_memeff$/, ''))
  .pipe(z.enum(names));
const ffnLayer = z.enum(['mlp', 'swiglu', 'swiglufused', 'identity']);
const ratio = positive.default(4);
/** A backbone by its sizes instead of by a name. */
const sizes = z.strictObject({ embed_dim: count(1), depth, num_heads: count(1), mlp_ratio: ratio });
export type Sizes = z.infer<typeof sizes>;

/** Arguments that constructor and configuration have in common. */
const layers = {
  patch_size: count(1).default(16),
  drop_path_rate: z.number().min(0).lt(1),
  ffn_layer: ffnLayer.default('mlp'),
  qkv_bias: z.boolean().default(true),
  proj_bias: z.boolean().default(true),
  ffn_bias: z.boolean().default(true),
  num_register_tokens: count(0).default(0),
  interpolate_antialias: z.boolean().default(false),
  /** From 1 on the original's resampling gives another grid than asked for, and fails. */
  interpolate_offset: z.number().min(0).lt(1).default(0.1),
};
export type Layers = z.infer<z.ZodObject<typeof layers>>;

const square = <T extends z.ZodType<number>>(side: T) =>
  z
    .union([side, z.tuple([side, side])])
    .refine((s) => typeof s === 'number' || s[0] === s[1], { error: 'the two sides differ; the table of positions is square' })
    .transform((s) => (typeof s === 'number' ? s : s[0]));

/** Arguments of the constructor of DinoVisionTransformer; `architecture` names one whose sizes are the defaults. */
export const constructorArguments = z.strictObject({
  ...layers,
  architecture: arch.optional(),
  img_size: square(count(1)).default(224),
  patch_size: square(count(1)).default(16),
  in_chans: count(1).default(3),
  embed_dim: count(1).optional(),
  depth: depth.optional(),
  num_heads: count(1).optional(),
  mlp_ratio: ratio,
  drop_path_rate: layers.drop_path_rate.default(0),
  drop_path_uniform: z.boolean().default(false),
  init_values: z.number().nullable().default(null),
  block_chunks: count(0).default(1),
});
export type ConstructorArguments = z.infer<typeof constructorArguments>;

const head = {
  head_n_prototypes: count(1).default(65536),
  head_nlayers: count(0, 100).default(3),
  head_hidden_dim: count(1).default(2048),
};

/** Known to the original, without meaning for what a run learns. */
const ignored = z.unknown().optional();

/** A whole configuration file of a training run or of an evaluation. */
export const trainingConfig = z.strictObject({
  MODEL: z.strictObject({ WEIGHTS: z.literal('').default('') }).prefault({}),
  compute_precision: ignored,
  architecture: z.union([arch, sizes]).optional(),
  dino: z
    .strictObject({
      ...head,
      head_bottleneck_dim: count(1).default(256),
      loss_weight: z.number().min(0).default(1),
      koleo_loss_weight: z.number().min(0).default(0.1),
    })
    .prefault({}),
  ibot: z
    .strictObject({
      ...head,
      head_bottleneck_dim: count(1).default(256),
      loss_weight: z.number().min(0).default(1),
      mask_sample_probability: fraction.default(0.5),
      mask_ratio_min_max: range.default([0.1, 0.5]),
      separate_head: z.boolean().default(false),
    })
    .prefault({}),
  train: z
    .strictObject({
      batch_size_per_gpu: count(1, 2 ** 20).default(64),
      dataset_path: z.string().default('ImageNet:split=TRAIN'),
      OFFICIAL_EPOCH_LENGTH: count(1).default(1250),
      centering: z.enum(['centering', 'sinkhorn_knopp']).default('centering'),
      output_dir: ignored,
      saveckp_freq: ignored,
      seed: ignored,
      num_workers: ignored,
      cache_dataset: ignored,
    })
    .prefault({}),
  student: z
    .strictObject({
      ...layers,
      arch: arch.default('vit_large'),
      drop_path_rate: layers.drop_path_rate.default(0.3),
      drop_path_uniform: z.boolean().default(true),
      layerscale: z.number().nullable().default(1e-5),
      pretrained_weights: z.literal('').default(''),
      block_chunks: count(0).default(0),
    })
    .prefault({}),
  teacher: z
    .strictObject({
      momentum_teacher: fraction.default(0.992),
      final_momentum_teacher: fraction.default(1),
      warmup_teacher_temp: positive.default(0.04),
      teacher_temp: positive.default(0.07),
      warmup_teacher_temp_epochs: z.number().min(0).default(30),
    })
    .prefault({}),
  optim: z
    .strictObject({
      epochs: positive.default(100),
      weight_decay: z.number().min(0).default(0.04),
      weight_decay_end: z.number().min(0).default(0.4),
      base_lr: z.number().min(0).default(4e-3),
      /** Filled in by the scaling rule. */
      lr: ignored,
      warmup_epochs: z.number().min(0).default(10),
      min_lr: z.number().min(0).default(1e-6),
      clip_grad: z.number().min(0).nullable().default(3),
      freeze_last_layer_epochs: z.number().min(0).default(1),
      scaling_rule: z.enum(['sqrt_wrt_1024']).default('sqrt_wrt_1024'),
      patch_embed_lr_mult: z.number().min(0).default(0.2),
      layerwise_decay: positive.default(0.9),
      adamw_beta1: z.number().min(0).lt(1).default(0.9),
      adamw_beta2: z.number().min(0).lt(1).default(0.999),
    })
    .prefault({}),
  crops: z
    .strictObject({
      global_crops_scale: range.default([0.32, 1]),
      local_crops_number: count(0, 1000).default(8),
      local_crops_scale: range.default([0.05, 0.32]),
      global_crops_size: count(1).default(224),
      local_crops_size: count(1).default(96),
    })
    .prefault({}),
  evaluation: z.strictObject({ eval_period_iterations: z.int().default(12500) }).prefault({}),
});
export type TrainingConfig = z.infer<typeof trainingConfig>;

const at = (input: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((x, key) => (typeof x === 'object' && x !== null ? (x as Record<PropertyKey, unknown>)[key] : undefined), input);

const shown = (x: unknown): string => (typeof x === 'string' ? `'${x}'` : (JSON.stringify(x)?.slice(0, 60) ?? 'nothing'));

/** One difference in words: the key, what it is, what is known. */
const sentence = (input: unknown, issue: z.core.$ZodIssue): string => {
  const key = issue.path.join('.');
  switch (issue.code) {
    case 'unrecognized_keys':
      return `unknown key ${issue.keys.map((k) => (key === '' ? k : `${key}.${k}`)).join(', ')}`;
    case 'invalid_value':
      return `${key} is ${shown(at(input, issue.path))}; known: ${issue.values.map(shown).join(', ')}`;
    default:
      return `${key || 'the configuration'} is ${shown(at(input, issue.path))}: ${issue.message}`;
  }
};

export const malformed = (differences: readonly string[]): FoveaError =>
  new FoveaError('FV0415', `configuration: ${differences.join('; ')}`, {
    hint: 'The keys, their defaults and what they are called here are listed in docs/recipes.md.',
  });

/** Parses `input` by one of the schemas above. FV0415 names every key that is unknown or has a value that cannot be. */
export const parseOriginal = <T extends z.ZodType>(schema: T, input: unknown): z.infer<T> => {
  const result = schema.safeParse(input);
  if (!result.success) throw malformed(result.error.issues.map((issue) => sentence(input, issue)));
  return result.data;
};
