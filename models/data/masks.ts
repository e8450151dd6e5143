/**
 * Block-wise masks for the masked-patch loss and their collation, as in DINOv2 (facebookresearch/dinov2, data/masking.py and
 * collate.py). Sizes are static: lists of masked patches are padded to an upper bound U that depends only on the settings, with index
 * 0 and weight 0, so one compiled step serves every batch.
 *
 *   collateMasks({ crops: 6, grid: [16, 16], probability: 0.5, ratio: [0.1, 0.5], maxPatches: 128 }, r)
 *   masks [6, 256], indices [214], weights [214], count 212
 */
import { FoveaError } from '../../compiler/error.ts';
import { type Random, shuffle, uniform } from './random.ts';
import { roundEven } from './resize.ts';

export interface MaskShape {
  /** Rows and columns of patches. */
  readonly grid: readonly [number, number];
  /** Largest area that one rectangle may add. */
  readonly maxPatches: number;
  /** Smallest area that is drawn for a rectangle; 4 unless given. */
  readonly minPatches?: number;
  /** Rectangles' aspect ratios are log-uniform in [minAspect, 1 / minAspect]; 0.3 unless given. */
  readonly minAspect?: number;
}

/** DINOv2's bound on a rectangle for crops of `size` pixels in patches of `patch`: floor divisions from left to right. */
export const maxPatches = (size: number, patch: number): number => Math.floor((Math.floor((0.5 * size) / patch) * size) / patch);

/** A mask of at most `target` patches, 1 where masked. Falls short when ten rectangles in a row do not fit. */
export const blockMask = (shape: MaskShape, target: number, r: Random): Uint8Array => {
  const [rows, cols] = shape.grid;
  const min = shape.minPatches ?? 4;
  const logAspect = Math.log(shape.minAspect ?? 0.3);
  const mask = new Uint8Array(rows * cols);

  /** Covers one more rectangle; how many patches it added (0: gave up). */
  const grow = (room: number): number => {
    for (let i = 0; i < 10; i++) {
      // room may be below min: the interval then runs downwards, as in the original
      const area = uniform(r, min, room);
      const aspect = Math.exp(uniform(r, logAspect, -logAspect));
      const h = roundEven(Math.sqrt(area * aspect));
      const w = roundEven(Math.sqrt(area / aspect));
      if (w >= cols || h >= rows) continue;
      const top = Math.floor(r() * (rows - h + 1));
      const left = Math.floor(r() * (cols - w + 1));
      let added = h * w;
      for (let y = top; y < top + h; y++) for (let x = left; x < left + w; x++) added -= mask[y * cols + x]!;
      if (added < 1 || added > room) continue;
      for (let y = top; y < top + h; y++) mask.fill(1, y * cols + left, y * cols + left + w);
      return added;
    }
    return 0;
  };

  for (let count = 0; count < target; ) {
    const added = grow(Math.min(target - count, shape.maxPatches));
    if (added === 0) break;
    count += added;
  }
  return mask;
};

export interface MaskRecipe extends MaskShape {
  /** Global crops in a batch (2B). */
  readonly crops: number;
  /** Share of the crops that get a mask. */
  readonly probability: number;
  /** Least and greatest share of masked patches in a masked crop. */
  readonly ratio: readonly [number, number];
}

export interface Masks {
  /** [crops, patches], 1 where masked. */
  readonly masks: Uint8Array;
  /** [U] positions in the flattened masks, ascending, then zeros. */
  readonly indices: Int32Array;
  /** [U] 1 / (masked patches of the crop), then zeros. */
  readonly weights: Float32Array;
  /** How many entries of indices and weights count. */
  readonly count: number;
}

const f = Math.fround;

/** n evenly spaced float32 numbers as torch.linspace has them: the first half (the smaller one) counts up from lo, the rest down from hi. */
export const linspace32 = (lo: number, hi: number, n: number): number[] => {
  const [a, b] = [f(lo), f(hi)];
  if (n === 1) return [a];
  const step = f(f(b - a) / (n - 1));
  // multiply-add with one rounding, as the original's machines have it
  return Array.from({ length: n }, (_, i) => f(i < Math.floor(n / 2) ? a + step * i : b - step * (n - 1 - i)));
};

type Bounded = Pick<MaskRecipe, 'crops' | 'grid' | 'probability' | 'ratio'>;
/** Masked crop i draws its ratio between edge i and edge i + 1. */
const edges = ({ crops, probability, ratio: [lo, hi] }: Bounded): number[] => linspace32(lo, hi, Math.floor(crops * probability) + 1);

const patches = (recipe: Pick<MaskShape, 'grid'>): number => recipe.grid[0] * recipe.grid[1];

/** U: the most patches that can be masked in a batch. */
export const upperBound = (recipe: Bounded): number =>
  edges(recipe)
    .slice(1)
    .reduce((sum, e) => sum + Math.floor(f(patches(recipe) * e)), 0);

/**
 * The masked patches of crops of `n` patches each, ascending, with weight 1 / (masked patches of the crop), in lists of `bound` entries
 * that zeros fill up.
 */
export const maskedPatches = (masks: Uint8Array, n: number, bound: number): Omit<Masks, 'masks'> => {
  const indices = new Int32Array(bound);
  const weights = new Float32Array(bound);
  let count = 0;
  for (let from = 0; from < masks.length; from += n) {
    const mask = masks.subarray(from, from + n);
    const weight = 1 / mask.reduce((a, b) => a + b, 0);
    mask.forEach((m, i) => {
      if (m === 0) return;
      indices[count] = from + i;
      weights[count++] = weight;
    });
  }
  return { indices, weights, count };
};

/** The masks of one batch: each masked crop draws its ratio from its own slice of the range, then the crops are shuffled. */
export const collateMasks = (recipe: MaskRecipe, r: Random): Masks => {
  const [lo, hi] = recipe.ratio;
  if (!(recipe.probability >= 0 && recipe.probability <= 1 && lo >= 0 && lo <= hi && hi <= 1))
    throw new FoveaError('FV0408', `masks: probability ${recipe.probability} and ratio [${lo}, ${hi}] must lie in [0, 1]`);
  const n = patches(recipe);
  const bounds = edges(recipe);
  const k = bounds.length - 1;
  const list = Array.from({ length: recipe.crops }, (_, i) => {
    if (i >= k) return new Uint8Array(n);
    const ratio = f(bounds[i]! + f(f(bounds[i + 1]! - bounds[i]!) * f(r())));
    return blockMask(recipe, Math.floor(f(n * ratio)), r);
  });
  shuffle(r, list);
  const masks = new Uint8Array(recipe.crops * n);
  list.forEach((mask, crop) => masks.set(mask, crop * n));
  return { masks, ...maskedPatches(masks, n, upperBound(recipe)) };
};
