/**
 * DINOv2's training step as a program that the commands can look at: it says itself what it takes, how large that is and what it may write over;
 * `place` says where it lies on several ranks.
 *
 *   npx fovea explain examples/dinov2.ts#step --measure --html step.html
 *   npx fovea explain 'examples/dinov2.ts#stepOn(4)' --ranks 4 --timeline step.svg
 */
import { batchPlacement } from '../models/dinov2/ranks.ts';
import { trainStep } from '../models/dinov2.ts';
import { demo, type Recipe } from '../models/recipes.ts';

const program = (recipe: Recipe) =>
  Object.assign(trainStep(recipe), {
    // argument 1 is the batch
    place: (path: string) => (path.startsWith('1.') ? batchPlacement(recipe, path.slice(2)) : undefined),
  });

export const step = program({ ...demo, batch: 16 });

/** For so many ranks, each with 16 images. */
export const stepOn = (ranks: number) => program({ ...demo, batch: 16 * ranks, shards: ranks });
