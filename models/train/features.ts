/**
 * Features of many images with one compiled program. The program is compiled for images of one size and a fixed batch; the last
 * batch is padded with empty images whose features are dropped.
 *
 *   const extract = await featureExtractor({ model: published('vit_small'), size: [224, 224], batch: 8, backend });
 *   const { cls } = await extract(weights, pictures.map(centreCrop(256, 224)), imagenet);    // Float32Array [pictures.length, 384]
 */
import { apply, type F32, paramSpecs, spec } from '../../dsl/index.ts';
import { type Backend, compile, type Input, type Progress } from '../../index.ts';
import type { Normalise } from '../data/picture.ts';
import { type Placed, viewBatch } from '../data/view.ts';
import { type VitConfig, type VitParams, vit } from '../vit.ts';

export interface ImageFeatures {
  /** [images, width] */
  readonly cls: Float32Array;
  /** [images, registers, width] */
  readonly registers: Float32Array;
  /** [images, patches, width] */
  readonly patches: Float32Array;
}

export interface ExtractorOptions {
  readonly model: VitConfig;
  /** Height and width of every image in pixels, multiples of the patch. */
  readonly size: readonly [height: number, width: number];
  /** Images of one call of the program. */
  readonly batch: number;
  readonly backend: Backend;
  readonly progress?: Progress;
}

export interface Extract {
  (backbone: Input<VitParams>, images: readonly Placed[], normalise: Normalise): Promise<ImageFeatures>;
  /** Frees the program. */
  dispose(): void;
}

/** FV0408: the patch does not divide the size. */
export const featureExtractor = async ({ model, size: [S, W], batch, backend, progress }: ExtractorOptions): Promise<Extract> => {
  const network = vit(model);
  const program = await compile(
    (params: VitParams, images: F32<'B 3 S W'>) => {
      const { cls, registers, patches } = apply(network, params)(images);
      return model.registers > 0 ? { cls, patches, registers } : { cls, patches };
    },
    [paramSpecs(network), spec('B 3 S W')],
    { backend, dims: { B: batch, S, W }, ...(progress ? { progress } : {}) },
  );
  const tokens = (S / model.patch) * (W / model.patch);
  const array = (images: number, rows: number) => new Float32Array(images * rows * model.width);
  const extract = async (backbone: Input<VitParams>, images: readonly Placed[], normalise: Normalise): Promise<ImageFeatures> => {
    const count = images.length;
    const all = { cls: array(count, 1), registers: array(count, model.registers), patches: array(count, tokens) };
    for (let from = 0; from < count; from += batch) {
      const some = images.slice(from, from + batch);
      const out: { readonly [K in keyof ImageFeatures]?: { read(): Promise<{ readonly data: ArrayLike<number> }> } } = await program(
        backbone,
        viewBatch(some, normalise, batch),
      );
      for (const [name, into] of Object.entries(all) as [keyof ImageFeatures, Float32Array][]) {
        const each = into.length / count;
        const read = await out[name]?.read();
        for (let i = 0; read && i < some.length * each; i++) into[from * each + i] = read.data[i] as number;
      }
    }
    return all;
  };
  return Object.assign(extract, { dispose: () => program.dispose() });
};
