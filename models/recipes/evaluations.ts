/**
 * The eight evaluation configurations: the networks that the released backbones fit into, and how an image becomes their input.
 * They differ from the builder of the released models (`published`) in one number that loading weights replaces: the first value
 * of LayerScale, which a configuration leaves at its default.
 *
 *   evaluations.vits14_reg4.registers  ->  4        evaluationNames  ->  ['vits14', 'vitb14', ..., 'vitg14_reg4']
 */
import { published } from '../vit/presets.ts';
import type { VitConfig } from '../vit.ts';

/** Pixels: the shorter side after resizing, and the side of the centre that is cut out of it. */
export const evaluationView = { resize: 256, crop: 224 } as const;

const evaluation = (...args: Parameters<typeof published>): VitConfig => ({ ...published(...args), layerScale: 1e-5 });
const registers = { registers: 4 } as const;

export const evaluations = {
  vits14: evaluation('vit_small'),
  vitb14: evaluation('vit_base'),
  vitl14: evaluation('vit_large'),
  vitg14: evaluation('vit_giant2'),
  vits14_reg4: evaluation('vit_small', registers),
  vitb14_reg4: evaluation('vit_base', registers),
  vitl14_reg4: evaluation('vit_large', registers),
  vitg14_reg4: evaluation('vit_giant2', registers),
} as const;

export type EvaluationName = keyof typeof evaluations;
export const evaluationNames = Object.keys(evaluations) as readonly EvaluationName[];

/** Where the weights of a released backbone lie: the short name is the folder, the long one the file. */
export const releasedWeights = (name: EvaluationName): string =>
  `https://dl.fbaipublicfiles.com/dinov2/dinov2_${name.replace('_reg4', '')}/dinov2_${name}_pretrain.pth`;

/** Where the released linear classifier on the last 1 or 4 blocks lies. */
export const releasedClassifier = (name: EvaluationName, layers: 1 | 4): string =>
  releasedWeights(name).replace('_pretrain.pth', `_linear${layers === 4 ? '4' : ''}_head.pth`);
