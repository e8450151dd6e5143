/** The parts of a recorded training configuration that schedules read, in the words of our recipes. */
import { z } from 'zod';
import type { Timing } from '../schedules.ts';

const number = z.number();

/** As the index writes it: sections `optim` and `teacher`. */
export const timingConfig = z.object({
  optim: z.object({
    epochs: number,
    weight_decay: number,
    weight_decay_end: number,
    base_lr: number,
    warmup_epochs: number,
    min_lr: number,
    clip_grad: number,
    freeze_last_layer_epochs: number,
    scaling_rule: z.literal('sqrt_wrt_1024').default('sqrt_wrt_1024'),
    patch_embed_lr_mult: number,
    layerwise_decay: number,
    adamw_beta1: number,
    adamw_beta2: number,
  }),
  teacher: z.object({
    momentum_teacher: number,
    final_momentum_teacher: number,
    warmup_teacher_temp: number,
    teacher_temp: number,
    warmup_teacher_temp_epochs: number,
  }),
});

/** `batch`: images of a step on all devices. `epochLength`: steps of an epoch. */
export const timing = ({ optim: o, teacher: t }: z.infer<typeof timingConfig>, batch: number, epochLength: number): Timing => ({
  batch,
  teacher: {
    momentum: t.momentum_teacher,
    finalMomentum: t.final_momentum_teacher,
    warmupTemp: t.warmup_teacher_temp,
    temp: t.teacher_temp,
    tempWarmupEpochs: t.warmup_teacher_temp_epochs,
  },
  optim: {
    epochs: o.epochs,
    epochLength,
    baseLr: o.base_lr,
    minLr: o.min_lr,
    warmupEpochs: o.warmup_epochs,
    weightDecay: o.weight_decay,
    finalWeightDecay: o.weight_decay_end,
    clip: o.clip_grad,
    freezeLastLayerEpochs: o.freeze_last_layer_epochs,
    patchEmbedLr: o.patch_embed_lr_mult,
    layerDecay: o.layerwise_decay,
    beta1: o.adamw_beta1,
    beta2: o.adamw_beta2,
    eps: 1e-8,
  },
});
