/**
 * DINOv2's training step as a program that the commands can look at: `args` says what it takes, `dims` how large, `donate` what it may write over.
 *
 *   npx fovea explain examples/dinov2.ts#step --measure --html step.html
 */
import { batchSpec, hyperSpec, stateSpec, trainStep } from '../models/dinov2.ts';
import { geometry } from '../models/recipes/geometry.ts';
import { demo, type Recipe } from '../models/recipes.ts';

const recipe: Recipe = { ...demo, batch: 16 };

export const step = Object.assign(trainStep(recipe), {
  args: [stateSpec(recipe), batchSpec(recipe), hyperSpec()],
  dims: geometry(recipe).sizes,
  donate: [0],
});
