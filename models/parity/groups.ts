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
import { schedule } from './groups/schedule.ts';

export const groups: Readonly<Record<string, Runner>> = {
  pos_embed: posEmbed,
  dino_head: dinoHead,
  loss,
  schedule,
  masking,
  preprocess,
  knn,
  pca,
  linear_eval: linearEval,
};
