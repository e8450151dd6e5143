/** Group knn: labelled features around class centres, the nearest neighbours of queries among them, votes and accuracy for each k. */
import { z } from 'zod';
import { knn as classify, type KnnInput, neighbours, normaliseRows, ranking } from '../../eval/knn.ts';
import { type Case, configOf, sizeFrom } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { filled, numbers, type Runner } from '../context.ts';

const whole = sizeFrom(1);
const config = z.object({ dim: whole, classes: whole, nb_knn: z.array(whole).min(1), temperature: z.number().default(0.07) });

/** Centre of the label plus noise, each row scaled to length 1. */
const features = (c: Case, part: string, dim: number) => {
  const [centres, labels, noise] = ['centers', `${part}_labels`, `${part}_noise`].map((n) => filled(c, n).data) as [
    Float32Array,
    Int32Array,
    Float32Array,
  ];
  return {
    labels,
    x: normaliseRows(
      noise.map((v, i) => v + centres[labels[Math.floor(i / dim)]! * dim + (i % dim)]!),
      dim,
    ),
  };
};

export const knn: Runner = (c) => {
  const { dim, classes, nb_knn, temperature } = configOf(c, config);
  const [bank, query] = [features(c, 'train', dim), features(c, 'query', dim)];
  const input: KnnInput = { bank: bank.x, bankLabels: bank.labels, queries: query.x, dim, classes, k: nb_knn, temperature };
  const queries = query.labels.length;
  const most = Math.max(...nb_knn);
  const got = neighbours(input);
  const made = new Map<string, Numbers>([
    ['topk_sims', numbers(got.similarities, [queries, most])],
    ['topk_labels', numbers(got.labels, [queries, most])],
  ]);
  const accuracy = [1, 5].map((top) => classify({ ...input, queryLabels: query.labels, top }).accuracy);
  for (const k of nb_knn) {
    const votes = got.votes.get(k)!;
    const best = Array.from({ length: queries }, (_, q) => ranking(votes.subarray(q * classes, (q + 1) * classes), 1)[0]!);
    made.set(`probas_k${k}`, numbers(votes, [queries, classes]));
    made.set(`top1_k${k}`, numbers(best, [queries]));
    made.set(
      `acc_top1_top5_k${k}`,
      numbers(
        accuracy.map((a) => a.get(k)!),
        [2],
      ),
    );
  }
  return made;
};
