/** A training step small enough for the float64 interpreter, with numbers that make every term count. */
import { batchSpec, hyperAt, initState, trainStep } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { demo, type Recipe } from '../../models/recipes.ts';
import { compileFor, mapNumbers, type Numbers, numbers } from './evaluate.ts';
import { random } from './random.ts';

export const tiny: Recipe = {
  ...demo,
  batch: 3,
  model: { ...demo.model, width: 8, depth: 2, heads: 2, imageSize: 12 },
  crops: { ...demo.crops, globalSize: 12, localSize: 8, locals: 2 },
  dino: { weight: 1, prototypes: 10, hidden: 12, bottleneck: 6, layers: 3 },
};

export interface Images {
  readonly global: Numbers;
  readonly local: Numbers;
}
export interface Out {
  readonly state: {
    readonly student: unknown;
    readonly teacher: unknown;
    readonly moments: { readonly first: unknown };
    readonly step: Numbers;
    readonly centers?: unknown;
  };
  readonly metrics: Readonly<Record<string, Numbers>> & { readonly grad_norm: Readonly<Record<string, Numbers>> };
}

/** Three images; crops 0, 2 and 3 of the six are masked. */
export const masked: readonly (readonly number[])[] = [[1, 4], [], [0], [2, 3], [], []];
export const unmasked: readonly (readonly number[])[] = [[], [], [], [], [], []];

export const tinyStep = (r: Recipe) => {
  const g = geometry(r);
  const n = g.globalTokens;
  const { locals, globalSize, localSize } = r.crops;
  const images: Images = {
    global: random('global', [2 * r.batch, 3, globalSize, globalSize]),
    local: random('local', [locals * r.batch, 3, localSize, localSize]),
  };
  /** Initial parameters are close to the identity of the network; larger ones make every term count. */
  const state = mapNumbers((x, path) => (/student|teacher/.test(path) ? random(path, x.shape) : x), initState(r, 1)) as Readonly<
    Record<string, unknown>
  >;
  /** Masked patches per crop; rows are listed in ascending order, as collation does. */
  const batch = (masks: readonly (readonly number[])[] = masked, views: Images = images, filler = 0): Record<string, unknown> => {
    const bits = new Float64Array(2 * r.batch * n);
    const rows: number[] = [];
    const weights: number[] = [];
    masks.forEach((list, crop) =>
      list.forEach((i) => {
        bits[crop * n + i] = 1;
        rows.push(crop * n + i);
        weights.push(1 / list.length);
      }),
    );
    const pad = (xs: readonly number[], fill: number): number[] => Array.from({ length: g.maskRows }, (_, i) => xs[i] ?? fill);
    return {
      ...views,
      masks: numbers(bits, [2 * r.batch, n], 'bool'),
      maskIndices: numbers(pad(rows, filler), [g.maskRows], 'i32'),
      maskWeights: numbers(pad(weights, 0), [g.maskRows]),
      maskCount: numbers([rows.length], []),
    };
  };
  const hyper = (change: Readonly<Record<string, number>> = {}): unknown => {
    const base = { ...hyperAt(r)(r.optim.epochLength * 2) } as Record<string, Numbers>;
    return Object.fromEntries(Object.entries(base).map(([k, v]) => [k, k in change ? numbers([change[k] as number], []) : v]));
  };
  const keep = 'keep' in batchSpec(r);
  let compiled: ReturnType<typeof compileFor> | undefined;
  const step = (b: Record<string, unknown> = batch(), h: unknown = hyper(), from: unknown = state): Out => {
    if (keep && !('keep' in b)) throw new Error('this recipe needs index lists');
    compiled ??= compileFor(trainStep(r) as (...xs: never[]) => unknown, [from, b, h], g.sizes);
    return compiled.run(from, b, h) as Out;
  };
  return { state, images, batch, hyper, step };
};
