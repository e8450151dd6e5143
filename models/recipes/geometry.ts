/**
 * The numbers that follow from a recipe: grids of patches, rows of the buffer of masked patches, images kept by stochastic depth.
 * All are fixed for a run, which is what lets a training step be compiled once, with static shapes.
 *
 * The number of masked patches varies from batch to batch, but its bound does not: crop i of the k masked crops hides at most
 * bound(i + 1) of its patches, the bounds being evenly spaced. Buffers have that many rows, the last of them padding.
 *
 *   geometry(demo)  ->  { globalTokens: 49, localTokens: 16, maskRows: 464, sizes: { B: 32, L: 4, N: 49, ... } }
 */
import type { Recipe } from '../recipes.ts';

/** n evenly spaced float32 numbers, counted up from lo in the first half and down from hi in the second. */
export const linspace32 = (lo: number, hi: number, n: number): number[] => {
  const [a, b] = [Math.fround(lo), Math.fround(hi)];
  const step = n > 1 ? Math.fround(Math.fround(b - a) / (n - 1)) : 0;
  return Array.from({ length: n }, (_, i) =>
    i < n / 2 ? Math.fround(a + Math.fround(step * i)) : Math.fround(b - Math.fround(step * (n - 1 - i))),
  );
};

/** Images that a branch runs on, of a batch of b: at least one. */
export const kept = (b: number, rate: number): number => Math.max(Math.trunc(b * (1 - rate)), 1);

export interface Geometry {
  /** Patches along a side, and in all. */
  readonly globalGrid: number;
  readonly localGrid: number;
  readonly globalTokens: number;
  readonly localTokens: number;
  /** Global crops with a mask. */
  readonly maskedCrops: number;
  /** Fractions of masked patches: masked crop i draws from [ratios[i], ratios[i + 1]]. */
  readonly maskRatios: readonly number[];
  /** Rows of `maskIndices` and `maskWeights`. */
  readonly maskRows: number;
  /** Images that each branch of each block runs on, by crop size; a block without stochastic depth has none listed. */
  readonly kept: readonly (readonly [global: number, local: number] | readonly [])[];
  /** Every named size of a training step. */
  readonly sizes: Readonly<Record<'B' | 'L' | 'S' | 'Z' | 'N' | 'M' | 'U' | 'D' | 'C' | 'K' | 'J', number>>;
}

export const geometry = (r: Recipe): Geometry => {
  const { patch, width, depth } = r.model;
  const [globalGrid, localGrid] = [r.crops.globalSize / patch, r.crops.localSize / patch];
  const [globalTokens, localTokens] = [globalGrid ** 2, localGrid ** 2];
  const maskedCrops = Math.trunc(2 * r.batch * r.masking.probability);
  const maskRatios = linspace32(r.masking.ratio[0], r.masking.ratio[1], maskedCrops + 1);
  const maskRows = maskRatios.slice(1).reduce((rows, ratio) => rows + Math.trunc(Math.fround(globalTokens * ratio)), 0);
  const { rate, uniform } = r.dropPath;
  const rates = uniform ? new Array<number>(depth).fill(rate) : linspace32(0, rate, depth);
  return {
    globalGrid,
    localGrid,
    globalTokens,
    localTokens,
    maskedCrops,
    maskRatios,
    maskRows,
    kept: rates.map((p) => (p > 0 ? ([kept(2 * r.batch, p), kept(r.crops.locals * r.batch, p)] as const) : ([] as const))),
    sizes: {
      B: r.batch,
      L: r.crops.locals,
      S: r.crops.globalSize,
      Z: r.crops.localSize,
      N: globalTokens,
      M: localTokens,
      U: maskRows,
      D: width,
      C: 3 * patch * patch,
      K: r.dino.prototypes,
      J: r.ibot.head === 'shared' ? r.dino.prototypes : r.ibot.head.prototypes,
    },
  };
};
