/**
 * The number behind an axis, for decisions that are taken while tracing: the grid of an image, the scale of stochastic depth.
 * Model code may need it where a size is no formula of named sizes; it throws where the size has only a name.
 */

import { FoveaError } from '../../compiler/error.ts';
import type { Tensor } from '../../dsl/index.ts';

export const sizeAt = (x: Tensor<string, 'f32' | 'i32' | 'bool'>, axis: number): number => {
  const d = x.shape[axis];
  if (typeof d === 'number') return d;
  throw new FoveaError('FV0005', `axis ${axis} of [${x.shape.join(' ')}] has no number yet`, {
    hint: 'Give the sizes by name when tracing: { dims: geometry(recipe).sizes }.',
  });
};
