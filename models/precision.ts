/**
 * Which contractions of a DINOv2 training step take bf16 or f16 operands: those of backbones and heads, forward and backward. As in the
 * original's mixed precision, the losses (KoLeo's products of class tokens among them) and the resampling of position embeddings, which
 * stands in the backbone itself and not in a module of it, stay float32; so does all that is no contraction. What bf16 contractions made waits as
 * bf16 for the backward phase (compiler/passes/keep.ts), but for the teacher's centering: its targets are the loss's. The student's logits over the
 * prototypes are of the type, as the original's heads give them; the teacher's, which a temperature of 0.04 magnifies, stay float32.
 *
 *   compile(trainStep(recipe), specs, { backend, precision: stepPrecision('bf16') })
 */
import type { FloatType } from '../compiler/graph/types.ts';
import type { Recipe } from './recipes.ts';

export const stepPrecision = (type: FloatType) =>
  ({
    default: type,
    kept: true,
    results: { 'student/*_head/last_layer': type },
    scopes: { 'loss/**': 'f32', 'teacher/centering/**': 'f32', 'student/backbone': 'f32', 'teacher/backbone': 'f32' },
  }) as const satisfies {
    readonly default: FloatType;
    readonly kept: boolean;
    readonly results: Readonly<Record<string, FloatType>>;
    readonly scopes: Readonly<Record<string, FloatType>>;
  };

/** The recipe as it is trained with contractions of a type: f16, whose range gradients leave, has a scale for the loss. */
export const recipeAt = (r: Recipe, type: FloatType): Recipe =>
  type === 'f16' ? { ...r, optim: { ...r.optim, lossScale: 'dynamic' } } : r;
