/**
 * The published configurations against tables that are written down here once more, in the original's key names: every value of
 * the three training recipes and the eight evaluation configurations, and what follows from them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { leaves } from '../../dsl/index.ts';
import { recipeFromConfig, vitConfigOf } from '../../models/recipes/config.ts';
import { evaluationNames, evaluations } from '../../models/recipes/evaluations.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { trainingConfig } from '../../models/recipes/original.ts';
import { type Recipe, vitGiant14, vitLarge14, vitLarge16 } from '../../models/recipes.ts';
import { scaledLr, schedules } from '../../models/schedules.ts';
import { published } from '../../models/vit/presets.ts';
import { type VitConfig, vit } from '../../models/vit.ts';

/** Where each key of the original lies in a recipe. */
const places: Readonly<Record<string, (r: Recipe) => unknown>> = {
  'dino.loss_weight': (r) => r.dino.weight,
  'dino.head_n_prototypes': (r) => r.dino.prototypes,
  'dino.head_bottleneck_dim': (r) => r.dino.bottleneck,
  'dino.head_nlayers': (r) => r.dino.layers,
  'dino.head_hidden_dim': (r) => r.dino.hidden,
  'dino.koleo_loss_weight': (r) => r.koleo.weight,
  'ibot.loss_weight': (r) => r.ibot.weight,
  'ibot.mask_sample_probability': (r) => r.masking.probability,
  'ibot.mask_ratio_min_max': (r) => r.masking.ratio,
  'ibot.separate_head': (r) => r.ibot.head !== 'shared',
  'ibot.head': ({ ibot: { head: h } }) => (h === 'shared' ? h : [h.prototypes, h.hidden, h.bottleneck, h.layers]),
  'train.batch_size_per_gpu': (r) => r.batch,
  'train.dataset_path': (r) => r.dataset,
  'train.OFFICIAL_EPOCH_LENGTH': (r) => r.optim.epochLength,
  'train.centering': (r) => ({ softmax: 'centering', sinkhorn: 'sinkhorn_knopp' })[r.centering],
  'student width, depth, heads': (r) => [r.model.width, r.model.depth, r.model.heads],
  'student.patch_size': (r) => r.model.patch,
  'student.drop_path_rate': (r) => r.dropPath.rate,
  'student.drop_path_uniform': (r) => r.dropPath.uniform,
  'student.layerscale': (r) => r.model.layerScale,
  'student.ffn_layer': (r) => (r.model.ffn === 'swiglu' ? 'swiglufused' : r.model.ffn),
  'student.block_chunks': (r) => r.model.chunks ?? 0,
  'student biases': (r) => r.model.bias ?? 'all',
  'student.mlp_ratio': (r) => r.model.mlpRatio ?? 4,
  'student.num_register_tokens': (r) => r.model.registers,
  'student.interpolate_antialias': (r) => r.model.interpolation.antialias,
  'student.interpolate_offset': (r) => r.model.interpolation.offset,
  'teacher.momentum_teacher': (r) => r.teacher.momentum,
  'teacher.final_momentum_teacher': (r) => r.teacher.finalMomentum,
  'teacher.warmup_teacher_temp': (r) => r.teacher.warmupTemp,
  'teacher.teacher_temp': (r) => r.teacher.temp,
  'teacher.warmup_teacher_temp_epochs': (r) => r.teacher.tempWarmupEpochs,
  'optim.epochs': (r) => r.optim.epochs,
  'optim.weight_decay': (r) => r.optim.weightDecay,
  'optim.weight_decay_end': (r) => r.optim.finalWeightDecay,
  'optim.base_lr': (r) => r.optim.baseLr,
  'optim.warmup_epochs': (r) => r.optim.warmupEpochs,
  'optim.min_lr': (r) => r.optim.minLr,
  'optim.clip_grad': (r) => r.optim.clip,
  'optim.freeze_last_layer_epochs': (r) => r.optim.freezeLastLayerEpochs,
  'optim.scaling_rule': (r) => r.optim.scalingRule,
  'optim.patch_embed_lr_mult': (r) => r.optim.patchEmbedLr,
  'optim.layerwise_decay': (r) => r.optim.layerDecay,
  'optim.adamw_beta1': (r) => r.optim.beta1,
  'optim.adamw_beta2': (r) => r.optim.beta2,
  'crops.global_crops_scale': (r) => r.crops.globalScale,
  'crops.global_crops_size': (r) => r.crops.globalSize,
  'crops.global_crops_size, of the positions': (r) => r.model.imageSize,
  'crops.local_crops_number': (r) => r.crops.locals,
  'crops.local_crops_scale': (r) => r.crops.localScale,
  'crops.local_crops_size': (r) => r.crops.localSize,
  'evaluation.eval_period_iterations': (r) => r.evaluationPeriod,
};

/** Key: ViT-L/16 short, ViT-L/14, ViT-g/14; a single value holds for all three. */
const one = (x: unknown): readonly unknown[] => [x, x, x];
/** Prototypes, hidden width, bottleneck, layers. */
const separate = [131072, 2048, 256, 3];
const table: Readonly<Record<keyof typeof places, readonly unknown[]>> = {
  'dino.loss_weight': one(1),
  'dino.head_n_prototypes': [65536, 131072, 131072],
  'dino.head_bottleneck_dim': [256, 384, 384],
  'dino.head_nlayers': one(3),
  'dino.head_hidden_dim': one(2048),
  'dino.koleo_loss_weight': one(0.1),
  'ibot.loss_weight': one(1),
  'ibot.mask_sample_probability': one(0.5),
  'ibot.mask_ratio_min_max': one([0.1, 0.5]),
  'ibot.separate_head': [false, true, true],
  'ibot.head': ['shared', separate, separate],
  'train.batch_size_per_gpu': [64, 32, 12],
  'train.dataset_path': ['ImageNet:split=TRAIN', 'ImageNet22k', 'ImageNet22k'],
  'train.OFFICIAL_EPOCH_LENGTH': one(1250),
  'train.centering': ['centering', 'sinkhorn_knopp', 'sinkhorn_knopp'],
  'student width, depth, heads': [
    [1024, 24, 16],
    [1024, 24, 16],
    [1536, 40, 24],
  ],
  'student.patch_size': [16, 14, 14],
  'student.drop_path_rate': [0.3, 0.4, 0.4],
  'student.drop_path_uniform': one(true),
  'student.layerscale': one(1e-5),
  'student.ffn_layer': ['mlp', 'swiglufused', 'swiglufused'],
  'student.block_chunks': one(4),
  'student biases': one('all'),
  'student.mlp_ratio': one(4),
  'student.num_register_tokens': one(0),
  'student.interpolate_antialias': one(false),
  'student.interpolate_offset': one(0.1),
  'teacher.momentum_teacher': [0.992, 0.994, 0.994],
  'teacher.final_momentum_teacher': one(1),
  'teacher.warmup_teacher_temp': one(0.04),
  'teacher.teacher_temp': one(0.07),
  'teacher.warmup_teacher_temp_epochs': one(30),
  'optim.epochs': [100, 500, 500],
  'optim.weight_decay': one(0.04),
  'optim.weight_decay_end': [0.4, 0.2, 0.2],
  'optim.base_lr': [0.004, 2e-4, 2e-4],
  'optim.warmup_epochs': [10, 80, 80],
  'optim.min_lr': one(1e-6),
  'optim.clip_grad': one(3),
  'optim.freeze_last_layer_epochs': one(1),
  'optim.scaling_rule': one('sqrt_wrt_1024'),
  'optim.patch_embed_lr_mult': one(0.2),
  'optim.layerwise_decay': [0.9, 1, 1],
  'optim.adamw_beta1': one(0.9),
  'optim.adamw_beta2': one(0.999),
  'crops.global_crops_scale': one([0.32, 1]),
  'crops.global_crops_size': one(224),
  'crops.global_crops_size, of the positions': one(224),
  'crops.local_crops_number': one(8),
  'crops.local_crops_scale': one([0.05, 0.32]),
  'crops.local_crops_size': [96, 98, 98],
  'evaluation.eval_period_iterations': one(12500),
};
/** The same record; notes the paths of the values that are read. */
const watched = <T extends object>(x: T, path: string, seen: Set<string>): T =>
  new Proxy(x, {
    get: (target, key) => {
      const [value, at] = [Reflect.get(target, key), `${path}${String(key)}`];
      if (typeof value !== 'object' || value === null || Array.isArray(value)) seen.add(at);
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? watched(value, `${at}.`, seen) : value;
    },
  });
const leafPaths = (x: unknown, path = ''): string[] =>
  typeof x === 'object' && x !== null && !Array.isArray(x)
    ? Object.entries(x).flatMap(([key, v]) => leafPaths(v, path === '' ? key : `${path}.${key}`))
    : [path];
const three = [vitLarge16, vitLarge14, vitGiant14] as const;

describe('the three training recipes', () => {
  it('agree with the table of keys in every value', () => {
    expect(Object.keys(table).sort()).toEqual(Object.keys(places).sort());
    for (const [key, values] of Object.entries(table)) expect([key, ...three.map(places[key]!)]).toEqual([key, ...values]);
  });

  it('hold nothing that the table does not have, apart from what the original fixes in its code', () => {
    for (const r of three) {
      const seen = new Set<string>();
      for (const place of Object.values(places)) place(watched(r, '', seen));
      const rest = leafPaths(r).filter((path) => ![...seen].some((s) => path === s || path.startsWith(`${s}.`)));
      expect(rest.sort()).toEqual(['crops.augment', 'name', 'optim.eps', 'start.linear', 'start.positions', 'studentTemp']);
      expect([r.crops.augment, r.optim.eps, r.start, r.studentTemp]).toEqual(['dinov2', 1e-8, { linear: 0.02, positions: 0.02 }, 0.1]);
    }
  });

  it('are what their configuration files say, over the defaults', () => {
    const student = { patch_size: 14, drop_path_rate: 0.4, ffn_layer: 'swiglufused', block_chunks: 4 };
    const large = {
      dino: { head_n_prototypes: 131072, head_bottleneck_dim: 384 },
      ibot: { separate_head: true, head_n_prototypes: 131072 },
      train: { batch_size_per_gpu: 32, dataset_path: 'ImageNet22k', centering: 'sinkhorn_knopp' },
      student,
      teacher: { momentum_teacher: 0.994 },
      optim: { epochs: 500, weight_decay_end: 0.2, base_lr: 2e-4, warmup_epochs: 80, layerwise_decay: 1 },
      crops: { local_crops_size: 98 },
    };
    expect(recipeFromConfig({ student: { block_chunks: 4 } }, 'vitl16')).toEqual(vitLarge16);
    expect(recipeFromConfig(large, 'vitl14')).toEqual(vitLarge14);
    const giant = { ...large, train: { ...large.train, batch_size_per_gpu: 12 }, student: { ...student, arch: 'vit_giant2' } };
    expect(recipeFromConfig(giant, 'vitg14')).toEqual(vitGiant14);
  });

  it('are documented key by key', () => {
    const text = readFileSync(new URL('../../docs/recipes.md', import.meta.url), 'utf8');
    const keys = Object.entries(trainingConfig.shape).flatMap(([section, schema]) => {
      const inner = schema instanceof z.ZodPrefault ? schema.unwrap() : schema;
      return inner instanceof z.ZodObject ? Object.keys(inner.shape).map((key) => [section, key] as const) : [];
    });
    expect(keys.length).toBeGreaterThan(60);
    for (const [section, key] of keys) {
      const rows = text.split('\n').filter((line) => line.includes(`\`${section}.`) || line.includes(`of \`${section}\``));
      expect(rows.some((line) => line.includes(key)) || text.includes(`\`${section}.${key}\``), `${section}.${key}`).toBe(true);
    }
  });

  it('scale their learning rate to the devices they are meant for', () => {
    // 0.004 sqrt(2), 2e-4 sqrt(3): rounded to the digits of the published statement
    expect(scaledLr(vitLarge16, 32).toPrecision(3)).toBe('0.00566');
    expect(scaledLr(vitLarge14, 96).toPrecision(7)).toBe('0.0003464102');
    expect(scaledLr(vitGiant14, 256)).toBe(scaledLr(vitLarge14, 96));
    expect(schedules(vitLarge14, 96).total).toBe(625_000);
    expect(schedules(vitLarge16, 32).total).toBe(125_000);
  });

  it('give the published values of the schedules: ViT-L/14 on 96 devices', () => {
    const s = schedules(vitLarge14, 96);
    const near = (x: number, digits: string): void => expect(x.toPrecision(digits.replace(/^[0.]*|e.*$|\./g, '').length)).toBe(digits);
    expect(s.lr(0)).toBe(0);
    near(s.lr(1), '3.46414e-9');
    near(s.lr(50_000), '0.0001732068');
    near(s.lr(99_999), '0.0003464102');
    expect(s.lr(100_000)).toBe(s.lr(99_999));
    near(s.lr(362_500), '0.0001737051');
    expect(s.lr(625_000)).toBe(1e-6);
    // half-way between the ends: one rounding of cos(pi/2) = 6e-17
    expect(s.weightDecay(312_500)).toBeCloseTo(0.12, 15);
    expect(s.momentum(312_500)).toBeCloseTo(0.997, 15);
    expect([s.teacherTemp(0), s.teacherTemp(37_499), s.teacherTemp(600_000)]).toEqual([0.04, 0.07, 0.07]);
    near(s.teacherTemp(18_750), '0.0550004');
    // the first epoch's 1250 iterations leave the last layer where it is
    expect([s.lastLayerLr(1249), s.lastLayerLr(1250)]).toEqual([0, s.lr(1250)]);
    // a freeze that is longer than the run ends with it
    const frozen = schedules({ ...vitLarge14, optim: { ...vitLarge14.optim, freezeLastLayerEpochs: 501 } });
    expect([frozen.lastLayerLr(624_999), frozen.lastLayerLr(625_000)]).toEqual([0, 1e-6]);
  });

  it('have the published sizes of buffers and kept images', () => {
    expect(geometry({ ...vitLarge14, batch: 12 }).maskRows).toBe(967);
    expect(geometry(vitLarge14).maskRows).toBe(2496);
    expect(geometry({ ...vitLarge14, batch: 64 }).maskRows).toBe(4941);
    const { kept, globalTokens, localTokens } = geometry(vitLarge14);
    expect(kept).toEqual(new Array(24).fill([38, 153]));
    // rows of the packed sequence with and without stochastic depth
    expect(38 * (1 + globalTokens) + 153 * (1 + localTokens)).toBe(17_416);
    expect(64 * (1 + globalTokens) + 256 * (1 + localTokens)).toBe(29_248);
  });
});

const parameters = (c: VitConfig): number =>
  leaves(vit(c)).reduce((sum, { shape }) => sum + shape.reduce<number>((n, d) => n * Number(d), 1), 0);

describe('the eight evaluation configurations', () => {
  const sizes = { vits14: [384, 12, 6], vitb14: [768, 12, 12], vitl14: [1024, 24, 16], vitg14: [1536, 40, 24] } as const;
  const archs = { vits14: 'vit_small', vitb14: 'vit_base', vitl14: 'vit_large', vitg14: 'vit_giant2' } as const;
  const rows = Object.entries(sizes).flatMap(([name, [width, depth, heads]]) =>
    [0, 4].map((registers) => ({
      name: registers > 0 ? `${name}_reg4` : name,
      arch: archs[name as keyof typeof archs],
      width,
      depth,
      heads,
      registers,
    })),
  );

  it('are eight', () => expect([...evaluationNames].sort()).toEqual(rows.map((r) => r.name).sort()));

  it.each(rows)('$name has the values of the table', ({ name, arch, width, depth, heads, registers }) => {
    const ours: VitConfig = evaluations[name as keyof typeof evaluations];
    expect(ours).toEqual({
      width,
      depth,
      heads,
      ffn: arch === 'vit_giant2' ? 'swiglu' : 'mlp',
      patch: 14,
      imageSize: 518,
      layerScale: 1e-5,
      registers,
      interpolation: registers > 0 ? { offset: 0, antialias: true } : { offset: 0.1, antialias: false },
    });
    const config = {
      student: {
        arch,
        patch_size: 14,
        ...(arch === 'vit_giant2' ? { ffn_layer: 'swiglufused' } : {}),
        ...(registers > 0 ? { num_register_tokens: 4, interpolate_antialias: true, interpolate_offset: 0 } : {}),
      },
      crops: { global_crops_size: 518, local_crops_size: 98 },
    };
    expect(recipeFromConfig(config).model).toEqual(ours);
  });

  const counts = {
    vit_small: [22_056_576, 22_058_112, 175],
    vit_base: [86_580_480, 86_583_552, 175],
    vit_large: [304_368_640, 304_372_736, 343],
    vit_giant2: [1_136_480_768, 1_136_486_912, 567],
  } as const;
  it.each(Object.entries(counts))(
    '%s has the published number of parameters, with and without registers',
    (arch, [plain, reg, entries]) => {
      const name = arch as keyof typeof counts;
      expect([parameters(published(name)), parameters(published(name, { registers: 4 }))]).toEqual([plain, reg]);
      expect([leaves(vit(published(name))).length, leaves(vit(published(name, { registers: 4 }))).length]).toEqual([entries, entries + 1]);
    },
  );

  it('training-time backbones have the published number of parameters', () => {
    expect(parameters(vitLarge14.model)).toBe(303_655_168);
    expect(parameters(vitLarge16.model)).toBe(303_351_808);
  });

  it('the released builders are read from their recorded arguments', () => {
    const states = JSON.parse(readFileSync(join(import.meta.dirname, '../goldens/state_dicts.json'), 'utf8')) as Record<
      string,
      { config: Record<string, unknown> }
    >;
    expect(Object.keys(states)).toHaveLength(8);
    for (const { config } of Object.values(states)) {
      const registers = (config.num_register_tokens ?? 0) as number;
      expect(vitConfigOf(config)).toEqual(published(config.architecture as keyof typeof counts, { registers }));
    }
  });
});
