/** What a network in training is looked at for: how well neighbours name its images, and what its patches tell apart. */
import type { ImageSet } from '../data/picture.ts';
import { knn } from '../eval/knn.ts';
import type { PatchRows } from '../eval/patch-colours.ts';
import type { ImageFeatures } from './features.ts';

/** Features of whole sets of square images. */
export type Look = (set: ImageSet) => Promise<ImageFeatures>;

/** k-NN accuracy of class tokens in per cent, if the images have labels. */
export const accuracy = async (look: Look, bank: ImageSet, queries: ImageSet): Promise<number | undefined> => {
  if (!bank.labels || !queries.labels) return undefined;
  const [known, asked] = [await look(bank), await look(queries)];
  const k = Math.min(20, bank.pictures.length);
  const dim = known.cls.length / bank.pictures.length;
  const result = knn({
    bank: known.cls,
    bankLabels: bank.labels,
    queries: asked.cls,
    queryLabels: queries.labels,
    dim,
    classes: bank.classes.length,
    k: [k],
  });
  return 100 * (result.accuracy.get(k) as number);
};

/** The patches of each image of a set, of which the network saw `side` x `side` pixels. */
export const patchRows = ({ pictures }: ImageSet, { patches }: ImageFeatures, side: number, patch: number): readonly PatchRows[] => {
  const each = patches.length / pictures.length;
  return pictures.map((picture, i) => ({
    picture,
    grid: [side / patch, side / patch],
    patches: patches.subarray(i * each, (i + 1) * each),
  }));
};
