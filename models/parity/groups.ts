/** The runner of each group of recorded cases. A group without a row here fails; none is passed over. */
import type { Runner } from './context.ts';
import { dinoHead } from './groups/dino-head.ts';
import { knn } from './groups/knn.ts';
import { linearEval } from './groups/linear-eval.ts';
import { loss } from './groups/loss.ts';
import { masking } from './groups/masking.ts';
import { pca } from './groups/pca.ts';
import { posEmbed } from './groups/pos-embed.ts';
import { preprocess } from './groups/preprocess.ts';
import { realSize } from './groups/real-size.ts';
import { schedule } from './groups/schedule.ts';
import { sslTrain } from './groups/ssl-train.ts';
import { vitForward } from './groups/vit-forward.ts';
import { vitGrad } from './groups/vit-grad.ts';
import { vitIntermediate } from './groups/vit-intermediate.ts';

export const groups: Readonly<Record<string, Runner>> = {
  vit_forward: vitForward,
  vit_intermediate: vitIntermediate,
  vit_grad: vitGrad,
  real_size: realSize,
  pos_embed: posEmbed,
  dino_head: dinoHead,
  loss,
  ssl_train: sslTrain,
  schedule,
  masking,
  preprocess,
  knn,
  pca,
  linear_eval: linearEval,
};
