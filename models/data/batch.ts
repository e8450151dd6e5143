/**
 * The batch of a step, as the training step's arguments name it: crop-major stacks of normalised crops, masks and the padded list of
 * masked patches. A batch is a pure function of (pictures, recipe, seed, step), so a run that resumes at a step sees what it
 * would have seen.
 *
 *   const batchAt = batches(train, recipe, seed);
 *   batchAt(0)   // { global: [64 3 28 28], local: [64 3 16 16], masks: [64 49], maskIndices: [U], maskWeights: [U], maskCount: [] }
 */
import { FoveaError } from '../../compiler/error.ts';
import { augment, type CropRecipe } from './augment.ts';
import { collateMasks, type MaskRecipe, maxPatches, upperBound } from './masks.ts';
import type { ImageSet } from './picture.ts';
import { shuffle, stream } from './random.ts';

/** A tensor on the host, as the language's `HostTensor` (dtype and data agree for each field below). */
interface Host<T extends 'f32' | 'i32' | 'bool', D> {
  readonly shape: readonly number[];
  readonly dtype: T;
  readonly data: D;
}
type Floats = Host<'f32', Float32Array>;

export interface Batch {
  /** [2B 3 S S]: first crops of all images, then second crops. */
  readonly global: Floats;
  /** [nB 3 s s], crop-major. */
  readonly local: Floats;
  /** [2B N] */
  readonly masks: Host<'bool', Uint8Array>;
  /** [U] positions in the flattened masks, padded with 0. */
  readonly maskIndices: Host<'i32', Int32Array>;
  /** [U] 1 / (masked patches of the crop), padded with 0. */
  readonly maskWeights: Floats;
  /** Scalar: how many of the U entries count. */
  readonly maskCount: Floats;
}

export interface BatchRecipe {
  /** Images in a batch (B). */
  readonly batch: number;
  /** Pixels on a side of a patch. */
  readonly patch: number;
  readonly globals: readonly [CropRecipe, CropRecipe];
  readonly local: CropRecipe;
  /** Local crops of an image (n). */
  readonly locals: number;
  /** Share of the global crops that are masked, and the least and greatest share of their patches. */
  readonly maskProbability: number;
  readonly maskRatio: readonly [number, number];
}

/** The settings of the masks that follow from a recipe. */
export const maskRecipe = (r: BatchRecipe): MaskRecipe => {
  const size = r.globals[0].size;
  const side = size / r.patch;
  return {
    crops: 2 * r.batch,
    grid: [side, side],
    probability: r.maskProbability,
    ratio: r.maskRatio,
    maxPatches: maxPatches(size, r.patch),
  };
};

/** U, the static length of maskIndices and maskWeights. */
export const maskBound = (r: BatchRecipe): number => upperBound(maskRecipe(r));

const validate = (r: BatchRecipe, images: number): void => {
  const sizes = [r.globals[0].size, r.globals[1].size, r.local.size];
  const fail = (text: string): never => {
    throw new FoveaError('FV0408', text);
  };
  if (!Number.isInteger(r.batch) || r.batch < 2) fail(`batch: ${r.batch} images; KoLeo needs at least 2`);
  if (!Number.isInteger(r.locals) || r.locals < 0) fail(`batch: ${r.locals} local crops`);
  if (sizes[0] !== sizes[1]) fail(`batch: global crops of ${sizes[0]} and ${sizes[1]} pixels; they are stacked and must agree`);
  for (const s of sizes) if (s % r.patch !== 0) fail(`batch: crops of ${s} pixels do not divide into patches of ${r.patch}`);
  if (images < r.batch) fail(`batch: ${images} images are fewer than a batch of ${r.batch}`);
};

/** The rows of a stack of crops, crop-major: the first crops of all images, then the second crops of all images, and so on. */
export const cropMajor = (crops: number, images: number): readonly { readonly crop: number; readonly image: number }[] =>
  Array.from({ length: crops * images }, (_, row) => ({ crop: Math.floor(row / images), image: row % images }));

/** Which picture stands at place `i` of an endless reading of `n` pictures, each pass in an order of its own. */
export const sampler = (n: number, seed: number): ((i: number) => number) => {
  let pass = -1;
  let order = new Int32Array(0);
  return (i) => {
    if (Math.floor(i / n) !== pass) {
      pass = Math.floor(i / n);
      order = shuffle(
        stream(seed, 1, pass),
        Int32Array.from({ length: n }, (_, k) => k),
      );
    }
    return order[i % n]!;
  };
};

export const batches = (set: ImageSet, recipe: BatchRecipe, seed: number): ((step: number) => Batch) => {
  validate(recipe, set.pictures.length);
  const { batch, locals, globals, local } = recipe;
  const masking = maskRecipe(recipe);
  const pick = sampler(set.pictures.length, seed);
  const crops = (step: number, kinds: readonly CropRecipe[], size: number, from: number): Floats => {
    const one = 3 * size * size;
    const data = new Float32Array(kinds.length * batch * one);
    cropMajor(kinds.length, batch).forEach(({ crop, image }, row) =>
      augment(
        set.pictures[pick(step * batch + image)]!,
        kinds[crop]!,
        set.normalise,
        stream(seed, 2, step, image, from + crop),
        data,
        row * one,
      ),
    );
    return { shape: [kinds.length * batch, 3, size, size], dtype: 'f32', data };
  };
  return (step) => {
    const m = collateMasks(masking, stream(seed, 3, step));
    return {
      global: crops(step, globals, globals[0].size, 0),
      local: crops(step, new Array<CropRecipe>(locals).fill(local), local.size, 2),
      masks: { shape: [2 * batch, masking.grid[0] * masking.grid[1]], dtype: 'bool', data: m.masks },
      maskIndices: { shape: [m.indices.length], dtype: 'i32', data: m.indices },
      maskWeights: { shape: [m.weights.length], dtype: 'f32', data: m.weights },
      maskCount: { shape: [], dtype: 'f32', data: Float32Array.of(m.count) },
    };
  };
};
