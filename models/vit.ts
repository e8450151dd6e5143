/**
 * The vision transformer of DINOv2: patches, a class token, optional registers (arXiv 2309.16588), positions, blocks, a final
 * LayerNorm. Its parameter tree has the names and shapes of DINOv2's state dictionary, flat or with its blocks in chunks.
 *
 * `encode` takes a list of crops of different sizes and runs them as one packed sequence: the weights of a layer are touched once,
 * whatever the number of crops. Images never see each other, nor do crops of different sizes.
 *
 *   const [global, local] = encode(c, params, [crop(c, images, 'N', masked), crop(c, small, 'M')]);
 *   global.cls: F32<'2*B D'>    global.patches: F32<'2*B N D'>    local.patches: F32<'L*B M D'>
 */
import { apply, type F32, module, type Params, scope, size, slice, type Tensor } from '../dsl/index.ts';
import { pack, unpack } from './layers/packing.ts';
import { sizeAt } from './layers/sizes.ts';
import { layerNorm } from './layers.ts';
import { type BlockConfig, packedBlock } from './vit/block.ts';
import { blockPaths, chunked, inOrder } from './vit/chunks.ts';
import { type DropScale, type Keep, none } from './vit/drop-path.ts';
import { embedding, embeddingParts, embeddingSizes, maskedEmbedding } from './vit/embedding.ts';
import { cutPatches, patchCounts } from './vit/patches.ts';
import type { Interpolation } from './vit/positions.ts';

export type { Keep } from './vit/drop-path.ts';

export interface VitConfig extends BlockConfig {
  readonly depth: number;
  readonly patch: number;
  /** Channels of the images, 3 unless given. */
  readonly channels?: number;
  /** Side in pixels of the images whose grid the learned positions describe. */
  readonly imageSize: number;
  readonly registers: number;
  readonly interpolation: Interpolation;
  /**
   * Groups of blocks in the parameter tree and so in checkpoints (`blocks.<group>.<block>`): the units of sharding. 0, the default:
   * a flat list (`blocks.<block>`). Numbers do not depend on it.
   */
  readonly chunks?: number;
}

/** Images of one size, cut into patches, with what is known about them. */
export interface Crop<B extends string = string, N extends string = string> {
  readonly patches: F32<`${B} ${N} C`>;
  /** Rows and columns of patches. */
  readonly grid: readonly [number, number];
  /** Patches whose content is hidden behind the mask token. */
  readonly masked?: Tensor<`${B} ${N}`, 'bool'> | undefined;
}

export interface Features<B extends string, N extends string> {
  /** Class token, registers and patches after the final norm. */
  readonly cls: F32<`${B} D`>;
  readonly registers: F32<`${B} R D`>;
  readonly patches: F32<`${B} ${N} D`>;
  /** All tokens [class, registers, patches] before the final norm. */
  readonly prenorm: F32<`${B} ${N}+R+1 D`>;
}

/**
 * Cuts images into rows of pixels, patches in row-major order; `tokens` names their number in types. FV0408 where the patch does not
 * divide a side.
 */
export const crop = <B extends string, N extends string>(
  { patch }: Pick<VitConfig, 'patch'>,
  images: F32<`${B} ${string}`>,
  _tokens: N,
  masked?: Tensor<NoInfer<`${B} ${N}`>, 'bool'>,
): Crop<B, N> => {
  const x: F32<string> = images;
  const grid = patchCounts([patch, patch], sizeAt(x, 2), sizeAt(x, 3));
  return { patches: cutPatches(x, [patch, patch]) as F32<never>, grid, masked };
};

const vitParts = (c: VitConfig) => ({ ...embeddingParts(c), blocks: chunked(c), norm: layerNorm(size('D', c.width)) });
type Layer = (x: F32<string>) => F32<string>;

/** The final norm and the parts of the sequence. Its callers know the names of the axes and state them. */
const features = (c: VitConfig, prenorm: F32<string>, y: F32<string>): { readonly [K in keyof Features<'B', 'N'>]: F32<string> } => {
  const part = (range: string): F32<string> => slice(`b ${range} d` as string, y);
  return { cls: part('0'), registers: part(`1:${1 + c.registers}`), patches: part(`${1 + c.registers}:`), prenorm };
};

/** The backbone: images to features, in evaluation (no masks, no stochastic depth). */
export const vit = (c: VitConfig) =>
  module(
    embeddingSizes(c),
    () => vitParts(c),
    ['B Ch S W'],
    (p, images) => {
      const { grid, patches } = crop(c, images, 'N');
      let x: F32<string> = apply(embedding(c, grid), p as unknown as VitParams)(patches);
      for (const layer of inOrder<Layer>(p.blocks)) x = layer(x);
      return features(c, x, (p.norm as Layer)(x)) as Features<'B', 'N'>;
    },
  );
export type VitParams = Params<ReturnType<typeof vit>>;

/** Tokens [class, registers, patches] of a crop before the first block. */
export const tokensOf = (c: VitConfig, params: VitParams, { patches, grid, masked }: Crop): F32<string> =>
  masked ? apply(maskedEmbedding(c, grid), params)(patches, masked) : apply(embedding(c, grid), params)(patches);

type FeaturesOf<X> = { readonly [I in keyof X]: X[I] extends Crop<infer B, infer N> ? Features<B, N> : never };

export interface EncodeOptions {
  /** Stochastic depth, for every block; without it, evaluation. */
  readonly keep?: readonly Keep[] | undefined;
  readonly scale?: DropScale | undefined;
}

/** Features of several crops, as in training: one packed sequence, with masks and stochastic depth. */
export const encode = <const X extends readonly Crop[]>(
  c: VitConfig,
  params: VitParams,
  crops: X,
  { keep = [], scale = 'kept' }: EncodeOptions = {},
): FeaturesOf<X> => {
  const { rows, segments } = pack(crops.map((x) => tokensOf(c, params, x)));
  const paths = blockPaths(c);
  const last = inOrder<VitParams['blocks'][number]>(params.blocks).reduce<F32<string>>(
    (x, p, i) => scope(`blocks.${paths[i]}`, () => apply(packedBlock(c, segments, { ...(keep[i] ?? none), scale }), p)(x as F32<'T D'>)),
    rows,
  );
  const norm = scope('norm', () => unpack(apply(layerNorm(size('D', c.width)), params.norm)(last as F32<'T D'>), segments));
  return scope('norm', () => unpack(last, segments).map((x, i) => features(c, x, norm[i] as F32<string>))) as unknown as FeaturesOf<X>;
};
