/**
 * From a recipe to the arrays of a step that are not parameters: what the data room needs to make batches, and the images that
 * stochastic depth keeps, drawn by step number so that a resumed run draws the same.
 *
 *   const batchAt = batches(images, batchRecipe(r), seed), keepAt = keepLists(r, seed);
 *   const batch = r.dropPath.rate > 0 ? { ...batchAt(t), keep: keepAt(t) } : batchAt(t);
 */
import { dinov2Crops, smallCrops } from '../data/augment.ts';
import type { BatchRecipe } from '../data/batch.ts';
import { shuffle, stream } from '../data/random.ts';
import type { Recipe } from '../recipes.ts';
import { geometry } from './geometry.ts';

export const batchRecipe = (r: Recipe): BatchRecipe => ({
  batch: r.batch,
  patch: r.model.patch,
  ...(r.crops.augment === 'small' ? smallCrops : dinov2Crops)(
    r.crops.globalSize,
    r.crops.localSize,
    r.crops.globalScale,
    r.crops.localScale,
  ),
  locals: r.crops.locals,
  maskProbability: r.masking.probability,
  maskRatio: r.masking.ratio,
});

/** Index lists on the host, in the form of the step's argument. */
export interface HostKeep {
  readonly attn: readonly HostIndices[];
  readonly ffn: readonly HostIndices[];
}
export interface HostIndices {
  readonly shape: readonly number[];
  readonly dtype: 'i32';
  readonly data: Int32Array;
}

/** For every block, branch and crop size an independent random subset of the images. */
export const keepLists = (r: Recipe, seed: number): ((step: number) => readonly HostKeep[]) => {
  const images = [2 * r.batch, r.crops.locals * r.batch] as const;
  const { kept } = geometry(r);
  return (step) => {
    const lists = (block: number, branch: number): readonly HostIndices[] =>
      (kept[block] ?? []).map((count, entry) => {
        const order = shuffle(
          stream(seed, 4, step, block, branch, entry),
          Int32Array.from({ length: images[entry] ?? 0 }, (_, i) => i),
        );
        return { shape: [count], dtype: 'i32', data: order.slice(0, count) };
      });
    return kept.map((_, block) => ({ attn: lists(block, 0), ffn: lists(block, 1) }));
  };
};
