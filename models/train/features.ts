/**
 * Features of many images with one compiled program: class tokens for k-NN, patch tokens for pictures. The program is compiled
 * for a fixed batch; the last batch is padded with empty images whose features are dropped.
 *
 *   const extract = await featureExtractor(recipe, backend);
 *   const { cls } = await extract(teacher.backbone, test);    // Float32Array [test.pictures.length, width]
 */
import { apply, type F32, paramSpecs, spec } from '../../dsl/index.ts';
import { type Backend, compile, type Input } from '../../index.ts';
import { evaluationBatch, type ImageSet } from '../data/index.ts';
import type { Recipe } from '../recipes.ts';
import { type VitParams, vit } from '../vit.ts';

export interface ImageFeatures {
  /** [images, width] */
  readonly cls: Float32Array;
  /** [images, patches, width] */
  readonly patches: Float32Array;
}

export type Extract = (backbone: Input<VitParams>, set: ImageSet) => Promise<ImageFeatures>;

/** Images of one call. */
const batch = 100;

export const featureExtractor = async (recipe: Recipe, backend: Backend): Promise<Extract> => {
  const { width, patch } = recipe.model;
  const side = recipe.crops.globalSize;
  const model = vit(recipe.model);
  const program = await compile(
    (params: VitParams, images: F32<'B 3 S S'>) => {
      const { cls, patches } = apply(model, params)(images);
      return { cls, patches };
    },
    [paramSpecs(model), spec('B 3 S S')],
    { backend, dims: { B: batch, S: side } },
  );
  const perImage = (side / patch) ** 2 * width;
  return async (backbone, set) => {
    const count = set.pictures.length;
    const cls = new Float32Array(count * width);
    const patches = new Float32Array(count * perImage);
    for (let from = 0; from < count; from += batch) {
      const some = Math.min(batch, count - from);
      const out = await program(backbone, evaluationBatch(set, from, batch, side));
      cls.set((await out.cls.read()).data.subarray(0, some * width), from * width);
      patches.set((await out.patches.read()).data.subarray(0, some * perImage), from * perImage);
    }
    return { cls, patches };
  };
};
