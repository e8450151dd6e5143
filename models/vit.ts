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
import { FoveaError } from '../compiler/error.ts';
import { apply, type F32, module, type Params, rearrange, scope, size, slice, type Tensor } from '../dsl/index.ts';
import { pack, type Segment, unpack } from './layers/packing.ts';
import { sizeAt } from './layers/sizes.ts';
import { layerNorm } from './layers.ts';
import { type BlockConfig, packedBlock } from './vit/block.ts';
import { blockPaths, chunked, inOrder } from './vit/chunks.ts';
import { type DropScale, type DropShards, type Keep, none } from './vit/drop-path.ts';
import { embedding, embeddingParts, embeddingSizes, maskedEmbedding } from './vit/embedding.ts';
import { cutPatches, type PatchConfig, patchCounts } from './vit/patches.ts';
import type { Interpolation } from './vit/positions.ts';

export type { Keep } from './vit/drop-path.ts';

export interface VitConfig extends BlockConfig, Omit<PatchConfig, 'patchNorm'> {
  readonly depth: number;
  readonly patch: number;
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
  /** Factor on thinned branches, for every block; batch / kept unless given. */
  readonly scales?: readonly DropScale[] | undefined;
  /** Parts of the batch that have lists of kept images of their own; one unless given. */
  readonly shards?: DropShards | undefined;
}

/** The packed sequence after every block. */
const throughBlocks = (
  c: VitConfig,
  params: VitParams,
  rows: F32<string>,
  segments: readonly Segment[],
  { keep = [], scales = [], shards }: EncodeOptions = {},
): readonly F32<'T D'>[] => {
  const paths = blockPaths(c);
  let x = rows as F32<'T D'>;
  return inOrder<VitParams['blocks'][number]>(params.blocks).map((p, i) => {
    x = scope(`blocks.${paths[i]}`, () =>
      apply(packedBlock(c, segments, { ...none, ...keep[i], scale: scales[i] ?? 'kept', shards }), p)(x),
    );
    return x;
  });
};

const finalNorm = (c: VitConfig, params: VitParams) => apply(layerNorm(size('D', c.width)), params.norm);

/** Features of several crops, as in training: one packed sequence, with masks and stochastic depth. */
export const encode = <const X extends readonly Crop[]>(
  c: VitConfig,
  params: VitParams,
  crops: X,
  options?: EncodeOptions,
): FeaturesOf<X> => {
  const { rows, segments } = pack(crops.map((x) => tokensOf(c, params, x)));
  const last = throughBlocks(c, params, rows, segments, options).at(-1) ?? (rows as F32<'T D'>);
  return scope('norm', () => {
    const normed = unpack(finalNorm(c, params)(last), segments);
    return unpack(last, segments).map((x, i) => features(c, x, normed[i] as F32<string>));
  }) as unknown as FeaturesOf<X>;
};

/** What one block gives, split into class token and patches; registers are left out. */
export interface Layered<B extends string, N extends string> {
  /** The block's number, from 0. */
  readonly block: number;
  readonly cls: F32<`${B} D`>;
  readonly patches: F32<`${B} ${N} D`>;
}

/** Blocks to look at: the last n, or those of a list of numbers. */
const taken = (depth: number, blocks: number | readonly number[]): readonly number[] => {
  const refused = (what: string): FoveaError =>
    new FoveaError('FV0408', `intermediate: ${what} are not among the ${depth} of the model`, {
      hint: `Blocks are numbered from 0 to ${depth - 1}.`,
    });
  if (typeof blocks === 'number') {
    if (!(Number.isInteger(blocks) && blocks >= 0 && blocks <= depth)) throw refused(`the last ${blocks} blocks`);
    return Array.from({ length: blocks }, (_, i) => depth - blocks + i);
  }
  const missing = blocks.filter((i) => !(Number.isInteger(i) && i >= 0 && i < depth));
  if (missing.length > 0) throw refused(`blocks ${missing.join(', ')}`);
  return [...new Set(blocks)].sort((a, b) => a - b);
};

/**
 * Features after some of the blocks, in network order whatever the order of the list, each through the final norm unless `norm` is
 * false. `onGrid(patches, crop.grid)` gives them as pictures. FV0408 for a block that does not exist.
 */
export const intermediate = <B extends string, N extends string>(
  c: VitConfig,
  params: VitParams,
  image: Crop<B, N>,
  { blocks, norm = true }: { readonly blocks: number | readonly number[]; readonly norm?: boolean },
): readonly Layered<B, N>[] => {
  const list = taken(c.depth, blocks);
  const { rows, segments } = pack([tokensOf(c, params, image as unknown as Crop)]);
  const after = throughBlocks(c, params, rows, segments);
  return list.map((block) => {
    const x = after[block] as F32<'T D'>;
    const [y] = unpack(norm ? scope('norm', () => finalNorm(c, params)(x)) : x, segments) as readonly [F32<string>];
    const { cls, patches } = features(c, y, y);
    return { block, cls, patches } as unknown as Layered<B, N>;
  });
};

/** Features of patches as pictures: [B N D] -> [B D rows columns]. */
export const onGrid = (patches: F32<string>, [rows]: readonly [number, number]): F32<'B D Y X'> =>
  rearrange('b (y x) d -> b d y x' as string, patches, { y: rows }) as F32<'B D Y X'>;
