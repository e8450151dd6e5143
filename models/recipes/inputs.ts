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

/** Stochastic depth on the host, in the form of the step's argument. */
export interface HostKeep {
  readonly attn: readonly HostDrop[];
  readonly ffn: readonly HostDrop[];
}
export type HostDrop =
  | { readonly shape: readonly number[]; readonly dtype: 'i32'; readonly data: Int32Array }
  | { readonly shape: readonly number[]; readonly dtype: 'f32'; readonly data: Float32Array };

/** For every block, branch and entry of the list of crops an independent random subset of the images, or factors for all of them. */
export const keepLists = (r: Recipe, seed: number): ((step: number) => readonly HostKeep[]) => {
  const { kept, entries, rates } = geometry(r);
  return (step) => {
    const drops = (block: number, branch: number): readonly HostDrop[] =>
      (kept[block] ?? []).map((count, entry): HostDrop => {
        const random = stream(seed, 4, step, block, branch, entry);
        if (r.dropPath.form === 'mask') {
          const keep = 1 - (rates[block] as number);
          return { shape: [count], dtype: 'f32', data: Float32Array.from({ length: count }, () => (random() < keep ? 1 / keep : 0)) };
        }
        const order = shuffle(
          random,
          Int32Array.from({ length: entries[entry] ?? 0 }, (_, i) => i),
        );
        return { shape: [count], dtype: 'i32', data: order.slice(0, count) };
      });
    return kept.map((_, block) => ({ attn: drops(block, 0), ffn: drops(block, 1) }));
  };
};
