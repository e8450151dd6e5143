/**
 * The vision transformer of DINOv2: patches, a class token, optional registers (arXiv 2309.16588), positions, blocks, a final
 * LayerNorm. Its parameter tree has the names and shapes of DINOv2's state dictionary (the flat layout of released files).
 *
 * `encode` takes a list of crops of different sizes and walks through the blocks with all of them side by side: the weights of a
 * block are touched once, whatever the number of crops. Images never see each other, nor do crops of different sizes.
 *
 *   const [global, local] = encode(c, params, [crop(c, images, 'N', { masked }), crop(c, small, 'M')]);
 *   global.cls: F32<'2*B D'>    global.patches: F32<'2*B N D'>    local.patches: F32<'L*B M D'>
 */
import { apply, type F32, module, type Params, rearrange, repeat, scope, size, slice, type Tensor } from '../dsl/index.ts';
import { sizeAt } from './layers/sizes.ts';
import { layerNorm } from './layers.ts';
import { type BlockConfig, block, thinnedBlock } from './vit/block.ts';
import { embedding, embeddingParts, embeddingSizes, maskedEmbedding } from './vit/embedding.ts';
import type { Interpolation } from './vit/positions.ts';

export interface VitConfig extends BlockConfig {
  readonly depth: number;
  readonly patch: number;
  /** Side in pixels of the images whose grid the learned positions describe. */
  readonly imageSize: number;
  readonly registers: number;
  readonly interpolation: Interpolation;
  /** Channels of the images, 3 unless given. */
  readonly channels?: number;
  /** Groups of blocks in the names of parameters: blocks.<chunk>.<block>; none unless given. Values do not depend on it. */
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

/** Images that the two branches of a block run on, one index list for every crop of the list; empty: all images. */
export interface Keep {
  readonly attn: readonly Tensor<string, 'i32'>[];
  readonly ffn: readonly Tensor<string, 'i32'>[];
}

/** Cuts images into rows of pixels, patches in row-major order; `tokens` names their number in types. Sides are multiples of the patch. */
export const crop = <B extends string, N extends string>(
  { patch }: Pick<VitConfig, 'patch'>,
  images: F32<`${B} 3 ${string}`>,
  _tokens: N,
  masked?: Tensor<NoInfer<`${B} ${N}`>, 'bool'>,
): Crop<B, N> => {
  const [height, width] = [sizeAt(images, 2), sizeAt(images, 3)];
  const rows = rearrange('b c (h p) (w q) -> b (h w) (c p q)', images as F32<string>, { p: patch, q: patch });
  return { patches: rows as F32<never>, grid: [height / patch, width / patch], masked };
};

const vitParts = (c: VitConfig) => ({ ...embeddingParts(c), blocks: repeat(c.depth, () => block(c)), norm: layerNorm(size('D', c.width)) });
type Layer = (x: F32<string>) => F32<string>;

/** The final norm and the parts of the sequence. Its callers know the names of the axes and state them. */
const features = (c: VitConfig, norm: Layer, prenorm: F32<string>): { readonly [K in keyof Features<'B', 'N'>]: F32<string> } => {
  const y = norm(prenorm);
  const part = (range: string): F32<string> => slice(`b ${range} d` as string, y);
  return { cls: part('0'), registers: part(`1:${1 + c.registers}`), patches: part(`${1 + c.registers}:`), prenorm };
};

/** The backbone: images to features, in evaluation (no masks, no stochastic depth). */
export const vit = (c: VitConfig) =>
  module(
    embeddingSizes(c),
    () => vitParts(c),
    ['B 3 S W'],
    (p, images) => {
      const { grid, patches } = crop(c, images, 'N');
      let x = apply(embedding(c, grid), p)(patches);
      for (const layer of p.blocks) x = layer(x);
      return features(c, p.norm, x) as Features<'B', 'N'>;
    },
  );
export type VitParams = Params<ReturnType<typeof vit>>;

type FeaturesOf<X> = { readonly [I in keyof X]: X[I] extends Crop<infer B, infer N> ? Features<B, N> : never };

/** Features of several crops, as in training: block by block, each block on all of them, with masks and stochastic depth. */
export const encode = <const X extends readonly Crop[]>(
  c: VitConfig,
  params: VitParams,
  crops: X,
  keep: readonly Keep[] = [],
): FeaturesOf<X> => {
  let xs: readonly F32<string>[] = crops.map(({ patches, grid, masked }) =>
    masked ? apply(maskedEmbedding(c, grid), params)(patches, masked) : apply(embedding(c, grid), params)(patches),
  );
  params.blocks.forEach((p, i) => {
    const { attn, ffn } = keep[i] ?? { attn: [], ffn: [] };
    const layer = (x: F32<string>, j: number): F32<string> => {
      const [a, f] = [attn[j], ffn[j]];
      return a && f ? apply(thinnedBlock(c), p)(x, a, f) : apply(block(c), p)(x);
    };
    xs = scope(`blocks.${i}`, () => xs.map(layer));
  });
  const norm = apply(layerNorm(size('D', c.width)), params.norm);
  return scope('norm', () => xs.map((x) => features(c, norm, x))) as FeaturesOf<X>;
};
