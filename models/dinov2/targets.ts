/**
 * The teacher's side of a step: what the student's class tokens and masked patches should answer. The teacher sees the global
 * crops whole, without masks and without stochastic depth; nothing here has a gradient.
 *
 *   const { cls, patches } = targets(recipe, state.teacher, batch, hyper.teacherTemp, state.centers)
 *   cls: F32<'2*B K'>, the two crops of every image exchanged     patches: F32<'U J'>, rows of padding have weight 0
 */
import { concat, type F32, iota, ones, rearrange, type Scalar, scope, unbind } from '../../dsl/index.ts';
import type { Recipe } from '../recipes.ts';
import { centering, sinkhorn } from '../sinkhorn.ts';
import { crop, encode } from '../vit.ts';
import { answers, rowsAt } from './answers.ts';
import type { Batch, Centers, Network } from './types.ts';

export interface Targets {
  /** Absent where the DINO loss has no weight. */
  readonly cls: F32<'2*B K'> | undefined;
  /** Absent where the iBOT loss has no weight. */
  readonly patches: F32<'U J'> | undefined;
  readonly centers?: Centers;
}

export const targets = (r: Recipe, teacher: Network, batch: Batch, temp: Scalar, centers?: Centers): Targets => {
  const { shards = 1 } = r;
  const [view] = scope('backbone', () => encode(r.model, teacher.backbone, [crop(r.model, batch.global, 'N')]));
  // Row i of the targets belongs to row i of the student's crops, which is the other crop of the same image.
  const [first, second] = unbind(rearrange('(v b) d -> v b d', view.cls, { v: 2 }));
  const swapped = concat('* d', second, first).as('2*B D');
  const masked = r.ibot.weight > 0 ? rowsAt(r, view.patches, batch.maskIndices) : undefined;
  const { cls, patches } = answers(r, teacher, r.dino.weight > 0 ? [swapped] : [], masked);
  const logits = { cls: cls[0] as F32<'2*B K'> | undefined, patches };
  const every = ones('2*B');
  // rows of padding are the last of a shard
  const valid = (shards === 1 ? iota('U', 'f32').lt(batch.maskCount) : batch.maskWeights.gt(0)).cast('f32');
  return scope('centering', () => {
    if (!centers) {
      const balance = sinkhorn(temp);
      return { cls: logits.cls && balance(logits.cls, every), patches: logits.patches && balance(logits.patches, valid) };
    }
    const step = centering(temp, r.center, shards);
    const dino = logits.cls && step(logits.cls, every, centers.dino.value, centers.dino.pending);
    const ibot = logits.patches && step(logits.patches, valid, centers.ibot.value, centers.ibot.pending);
    return {
      cls: dino?.targets,
      patches: ibot?.targets,
      centers: { dino: dino?.center ?? centers.dino, ibot: ibot?.center ?? centers.ibot },
    };
  });
};
