/**
 * The numbers that follow from a recipe: grids of patches, rows of the buffer of masked patches, images kept by stochastic depth.
 * All are fixed for a run, which is what lets a training step be compiled once, with static shapes.
 *
 * The number of masked patches varies from batch to batch, but its bound does not: crop i of the k masked crops hides at most
 * bound(i + 1) of its patches, the bounds being evenly spaced. Buffers have that many rows, the last of them padding.
 *
 *   geometry(demo)  ->  { globalTokens: 49, localTokens: 16, maskRows: 464, sizes: { B: 32, L: 2, N: 49, ... } }
 */
import { linspace32, upperBound } from '../data/masks.ts';
import { ibotHead } from '../dinov2/types.ts';
import type { Recipe } from '../recipes.ts';
import { kept } from '../vit/drop-path.ts';

export interface Geometry {
  /** Patches along a side, and in all. */
  readonly globalGrid: number;
  readonly localGrid: number;
  readonly globalTokens: number;
  readonly localTokens: number;
  /** Rows of `maskIndices` and `maskWeights`. */
  readonly maskRows: number;
  /** Images of each entry of the student's list of crops: global, local if there are any, global once more for `view: 'whole'`. */
  readonly entries: readonly number[];
  /** Rates of stochastic depth, by block. */
  readonly rates: readonly number[];
  /** Images that each branch of each block runs on, by entry; a block without stochastic depth has none listed. */
  readonly kept: readonly (readonly number[])[];
  /** Every named size of a training step. */
  readonly sizes: Readonly<Record<'B' | 'L' | 'S' | 'Z' | 'N' | 'M' | 'U' | 'D' | 'C' | 'K' | 'J', number>>;
}

/** Rates of stochastic depth by block: one for all, or rising evenly from 0, in float32 as the original computes them. */
export const blockRates = (depth: number, { rate, uniform }: Pick<Recipe['dropPath'], 'rate' | 'uniform'>): readonly number[] =>
  uniform ? new Array<number>(depth).fill(rate) : linspace32(0, rate, depth);

export const geometry = (r: Recipe): Geometry => {
  const { patch, width, depth } = r.model;
  const [globalGrid, localGrid] = [r.crops.globalSize / patch, r.crops.localSize / patch];
  const [globalTokens, localTokens] = [globalGrid ** 2, localGrid ** 2];
  const { shards = 1 } = r;
  const maskRows = shards * upperBound({ ...r.masking, crops: (2 * r.batch) / shards, grid: [globalGrid, globalGrid] });
  const { form = 'subset' } = r.dropPath;
  const entries = [
    2 * r.batch,
    ...(r.crops.locals > 0 ? [r.crops.locals * r.batch] : []),
    ...(r.dino.weight > 0 && r.dino.view === 'whole' ? [2 * r.batch] : []),
  ];
  const rates = blockRates(depth, r.dropPath);
  return {
    globalGrid,
    localGrid,
    globalTokens,
    localTokens,
    maskRows,
    entries,
    rates,
    kept: rates.map((p) => (p > 0 ? entries.map((b) => (form === 'mask' ? b : shards * kept(b / shards, p))) : [])),
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
      J: (ibotHead(r) ?? r.dino).prototypes,
    },
  };
};
