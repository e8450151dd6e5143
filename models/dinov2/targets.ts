/**
 * The teacher's side of a step: what the student's class tokens and masked patches should answer. The teacher sees the global
 * crops whole, without masks and without stochastic depth; nothing here has a gradient.
 *
 *   const { cls, patches } = targets(recipe, state.teacher, batch, hyper.teacherTemp, state.centers)
 *   cls: F32<'2*B K'>, the two crops of every image exchanged     patches: F32<'U J'>, rows of padding have weight 0
 */
import { concat, type F32, iota, ones, rearrange, type Scalar, scope, unbind } from '../../dsl/index.ts';
import type { Recipe } from '../recipes.ts';
import { batchMean, centeredSoftmax, settle, sinkhorn } from '../sinkhorn.ts';
import { crop, encode } from '../vit.ts';
import { answers, rowsAt } from './answers.ts';
import type { Batch, Centers, Network } from './types.ts';

export interface Targets {
  readonly cls: F32<'2*B K'>;
  readonly patches: F32<'U J'>;
  readonly centers?: Centers;
}

export const targets = (r: Recipe, teacher: Network, batch: Batch, temp: Scalar, centers?: Centers): Targets => {
  const [view] = scope('backbone', () => encode(r.model, teacher.backbone, [crop(r.model, batch.global, 'N')]));
  // Row i of the targets belongs to row i of the student's crops, which is the other crop of the same image.
  const [first, second] = unbind(rearrange('(v b) d -> v b d', view.cls, { v: 2 }));
  const swapped = concat('* d', second, first).as('2*B D');
  const logits = answers(r, teacher, [swapped], rowsAt(view.patches, batch.maskIndices));
  const every = ones('2*B');
  const valid = iota('U', 'f32').lt(batch.maskCount).cast('f32');
  return scope('centering', () => {
    if (!centers) return { cls: sinkhorn(temp)(logits.cls[0], every), patches: sinkhorn(temp)(logits.patches, valid) };
    const { dino, ibot } = centers;
    const now = { dino: settle()(dino.value, dino.pending), ibot: settle()(ibot.value, ibot.pending) };
    return {
      cls: centeredSoftmax(temp)(logits.cls[0], now.dino),
      patches: centeredSoftmax(temp)(logits.patches, now.ibot),
      centers: {
        dino: { value: now.dino, pending: batchMean(logits.cls[0], every) },
        ibot: { value: now.ibot, pending: batchMean(logits.patches, valid) },
      },
    };
  });
};
