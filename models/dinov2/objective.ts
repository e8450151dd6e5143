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
import { type F32, mean, perShard, rearrange, type Scalar, scalar, scope, unbind } from '../../dsl/index.ts';
import { crossEntropy, dinoLoss, ibotLoss, koleoLoss } from '../losses.ts';
import { geometry } from '../recipes/geometry.ts';
import type { Recipe } from '../recipes.ts';
import { type Crop, crop, encode, type Features } from '../vit.ts';
import { answers, rowsAt } from './answers.ts';
import type { Targets } from './targets.ts';
import type { Batch, Losses, Network } from './types.ts';

/** Of the student: class tokens of the views that the losses compare, patches that are masked, scores for both. */
const look = (r: Recipe, student: Network, batch: Batch) => {
  const [doDino, doIbot] = [r.dino.weight > 0, r.ibot.weight > 0];
  const whole = doDino && r.dino.view === 'whole';
  const crops: Crop[] = [crop(r.model, batch.global, 'N', batch.masks)];
  if (r.crops.locals > 0) crops.push(crop(r.model, batch.local, 'M'));
  if (whole) crops.push(crop(r.model, batch.global, 'N'));
  const scales = r.dropPath.scale === 'rate' ? geometry(r).rates.map((p) => 1 / (1 - p)) : undefined;
  const { shards: count = 1 } = r;
  const shards = { count, images: r.batch / count };
  const views = scope('backbone', () => encode(r.model, student.backbone, crops, { keep: batch.keep, scales, shards }));
  const global = views[0] as Features<'2*B', 'N'>;
  const local = r.crops.locals > 0 ? (views[1] as Features<'L*B', 'M'>).cls : undefined;
  const compared = whole ? (views.at(-1) as Features<'2*B', 'N'>).cls : global.cls;
  const cls = doDino ? [...(local ? [local] : []), compared] : [];
  const scores = answers(r, student, cls, doIbot ? rowsAt(r, global.patches, batch.maskIndices) : undefined);
  return {
    cls: global.cls,
    global: scores.cls.at(-1) as F32<'2*B K'> | undefined,
    local: (local && scores.cls[0]) as F32<'L*B K'> | undefined,
    patches: scores.patches,
  };
};

/** KoLeo of the images of each shard, mean over shards. */
const koleoOf =
  ({ shards = 1 }: Recipe) =>
  (features: F32<'B D'>): Scalar =>
    shards === 1
      ? koleoLoss(features)
      : mean(
          'w ->',
          perShard((own: F32<'B D'>) => koleoLoss(own))(
            rearrange('(w b) d -> w b d' as string, features, { w: shards }) as never,
          ) as F32<'W'>,
        );

/** The number minimised, and its parts as DINOv2 logs them. Terms without weight are left out. */
export const objective = (r: Recipe, student: Network, batch: Batch, wanted: Targets): readonly [Scalar, Losses] => {
  const seen = scope('student', () => look(r, student, batch));
  return scope('loss', () => {
    // the original counts one local pair even without local crops
    const pairs = 2 + Math.max(2 * r.crops.locals, 1);
    const none = scalar(0);
    const koleo = koleoOf(r);
    const { cls, patches } = wanted;
    const local = (): Scalar => {
      if (!(cls && seen.local)) return none;
      const views = rearrange('(l b) k -> l b k', seen.local, { l: r.crops.locals });
      return dinoLoss(r.studentTemp)(views, rearrange('(t b) k -> t b k', cls, { t: 2 })).div(pairs);
    };
    const spreading = (): Scalar => {
      if (r.dino.weight === 0 || r.koleo.weight === 0) return none;
      const [first, second] = unbind(rearrange('(v b) d -> v b d', seen.cls, { v: 2 }));
      const spread = koleo(first);
      return (r.koleo.crops === 'first' ? spread : spread.add(koleo(second))).mul(r.koleo.weight);
    };
    const terms = {
      local: local(),
      global: cls && seen.global ? crossEntropy(r.studentTemp)(seen.global, cls).mul(2 / pairs) : none,
      koleo: spreading(),
      ibot: patches && seen.patches ? ibotLoss(r.studentTemp)(seen.patches, patches, batch.maskWeights).div(2 * r.batch) : none,
    };
    const loss = terms.local.add(terms.global).mul(r.dino.weight).add(terms.koleo).add(terms.ibot.mul(r.ibot.weight));
    const logged = {
      dino_local_crops_loss: terms.local,
      dino_global_crops_loss: terms.global,
      koleo_loss: terms.koleo.mul(0.5),
      ibot_loss: terms.ibot.mul(0.5),
    };
    return [loss, { loss, ...logged, total_loss: Object.values(logged).reduce((a, b) => a.add(b)) }];
  });
};
