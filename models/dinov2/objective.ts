/**
 * The student's side of a step: its answers to masked global crops and to local crops, compared with the teacher's targets.
 *
 * With L local crops an image has 2 + 2 L pairs of a student view and another teacher view; every pair weighs the same:
 *
 *   loss = dino (local + global) + koleo + ibot
 *     local    2 L pairs: every local crop with both teacher crops
 *     global   2 pairs: every global crop with the other one
 *     koleo    weight * sum over the two global crops, on class tokens of the backbone
 *     ibot     masked patches: mean over the patches of a crop, mean over all 2 B crops (crops without a mask count as 0)
 */
import { rearrange, type Scalar, scope, unbind } from '../../dsl/index.ts';
import { crossEntropy, dinoLoss, ibotLoss, koleoLoss } from '../losses.ts';
import type { Recipe } from '../recipes.ts';
import { crop, encode } from '../vit.ts';
import { answers, rowsAt } from './answers.ts';
import type { Targets } from './targets.ts';
import type { Batch, Losses, Network } from './types.ts';

/** The number minimised, and its parts as DINOv2 logs them. */
export const objective = (r: Recipe, student: Network, batch: Batch, wanted: Targets): readonly [Scalar, Losses] => {
  const { global, scores } = scope('student', () => {
    const crops = [crop(r.model, batch.global, 'N', batch.masks), crop(r.model, batch.local, 'M')] as const;
    const [global, local] = scope('backbone', () => encode(r.model, student.backbone, crops, { keep: batch.keep }));
    return { global, scores: answers(r, student, [local.cls, global.cls], rowsAt(global.patches, batch.maskIndices)) };
  });
  return scope('loss', () => {
    const pairs = 2 + 2 * r.crops.locals;
    const views = rearrange('(l b) k -> l b k', scores.cls[0], { l: r.crops.locals });
    const localLoss = dinoLoss(r.studentTemp)(views, rearrange('(t b) k -> t b k', wanted.cls, { t: 2 })).div(pairs);
    const globalLoss = crossEntropy(r.studentTemp)(scores.cls[1], wanted.cls).mul(2 / pairs);
    const [first, second] = unbind(rearrange('(v b) d -> v b d', global.cls, { v: 2 }));
    const koleo = koleoLoss(first).add(koleoLoss(second)).mul(r.koleo.weight);
    const ibot = ibotLoss(r.studentTemp)(scores.patches, wanted.patches, batch.maskWeights).div(2 * r.batch);
    const loss = localLoss.add(globalLoss).mul(r.dino.weight).add(koleo).add(ibot.mul(r.ibot.weight));
    return [
      loss,
      { loss, dino_local_crops_loss: localLoss, dino_global_crops_loss: globalLoss, koleo_loss: koleo.mul(0.5), ibot_loss: ibot.mul(0.5) },
    ];
  });
};
