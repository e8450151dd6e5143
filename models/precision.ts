/**
 * Which contractions of a DINOv2 training step take bf16 or f16 operands: those of backbones and heads, forward and backward. As in the
 * original's mixed precision, the losses (KoLeo's products of class tokens among them) and the resampling of position embeddings, which
 * stands in the backbone itself and not in a module of it, stay float32; so does all that is no contraction.
 *
 *   compile(trainStep(recipe), specs, { backend, precision: stepPrecision('bf16') })
 */
import type { FloatType } from '../compiler/graph/types.ts';

export const stepPrecision = (type: FloatType) =>
  ({ default: type, scopes: { 'loss/**': 'f32', 'student/backbone': 'f32', 'teacher/backbone': 'f32' } }) as const satisfies {
    readonly default: FloatType;
    readonly scopes: Readonly<Record<string, FloatType>>;
  };
