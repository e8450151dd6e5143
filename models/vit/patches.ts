/**
 * Patches of images and their linear embedding: a convolution whose kernel is as large as its stride, which is a matrix product of
 * the patches' pixels. Patches are in row-major order, the pixels of a patch by channel, row, column, as the weight [D I P Q] has them.
 *
 *   cutPatches(images, [14, 14])      [B 3 224 224] -> [B 256 588]
 *   apply(patchEmbed(c), p)(images)   [B 3 224 224] -> [B 256 D];  patchGrid: [B 16 16 D]
 */
import { FoveaError } from '../../compiler/error.ts';
import { einsum, type F32, initializers, module, param, rearrange, size } from '../../dsl/index.ts';
import { sizeAt } from '../layers/sizes.ts';
import { layerNorm } from '../layers.ts';

export interface PatchConfig {
  readonly width: number;
  /** Sides in pixels: one number, or height and width. */
  readonly patch: number | readonly [number, number];
  /** Channels of the images, 3 unless given. */
  readonly channels?: number;
  /** First values of the projection: those of a convolution, as in DINOv2, or of the other linear layers (N(0, 0.02), bias 0). */
  readonly patchInit?: 'convolution' | 'linear';
  /** A LayerNorm after the projection; DINOv2 has none. */
  readonly patchNorm?: boolean;
}

const patchSides = ({ patch }: Pick<PatchConfig, 'patch'>): readonly [number, number] =>
  typeof patch === 'number' ? [patch, patch] : patch;

/** Rows and columns of patches of an image. FV0408 where a side is no multiple of the patch: nothing is cut off in silence. */
export const patchCounts = (patch: readonly [number, number], height: number, width: number): readonly [number, number] => {
  const [p, q] = patch;
  if (height % p !== 0 || width % q !== 0 || height === 0 || width === 0) {
    const near = (side: number, of: number): number => Math.max(of, Math.floor(side / of) * of);
    throw new FoveaError('FV0408', `an image of ${height} x ${width} pixels does not divide into patches of ${p} x ${q}`, {
      hint: `Resize or crop it, for example to ${near(height, p)} x ${near(width, q)}.`,
    });
  }
  return [height / p, width / q];
};

/** Images [B I S W] as rows of pixels [B N I*P*Q]. FV0408. */
export const cutPatches = (images: F32<string>, patch: readonly [number, number]): F32<string> => {
  patchCounts(patch, sizeAt(images, 2), sizeAt(images, 3));
  return rearrange('b c (h p) (w q) -> b (h w) (c p q)', images, { p: patch[0], q: patch[1] });
};

const sizes = (c: PatchConfig) => {
  const [p, q] = patchSides(c);
  const channels = c.channels ?? 3;
  return { D: size('D', c.width), I: size('I', channels), P: size('P', p), Q: size('Q', q), C: size('C', channels * p * q) };
};

const parts = (c: PatchConfig) => {
  const [p, q] = patchSides(c);
  const bound = initializers.uniform(1 / Math.sqrt((c.channels ?? 3) * p * q));
  const [weight, bias] = c.patchInit === 'linear' ? [initializers.truncNormal(0.02), initializers.zeros] : [bound, bound];
  const norm = layerNorm(size('D', c.width));
  const optional: { readonly norm?: typeof norm } = c.patchNorm ? { norm } : {};
  return { proj: { weight: param('D I P Q', weight), bias: param('D', bias) }, ...optional };
};

/** What a body sees of them. */
interface Parts {
  readonly proj: { readonly weight: F32<'D I P Q'>; readonly bias: F32<'D'> };
  readonly norm?: (x: F32<'B N D'>) => F32<'B N D'>;
}
const project = (p: Parts, pixels: F32<'B N C'>): F32<'B N D'> => {
  const weight = rearrange('d i p q -> d (i p q)', p.proj.weight).as('D C');
  const y = einsum('b n c, d c -> b n d', pixels, weight).add(p.proj.bias);
  return p.norm ? p.norm(y) : y;
};

/** Rows of pixels to rows of features: the embedding of patches that are cut already. */
export const patchProjection = (c: PatchConfig) =>
  module(
    sizes(c),
    () => parts(c),
    ['B N C'],
    (p, pixels) => project(p, pixels),
  );

/** Images to a sequence of patches. */
export const patchEmbed = (c: PatchConfig) =>
  module(
    sizes(c),
    () => parts(c),
    ['B I S W'],
    (p, images) => project(p, cutPatches(images, patchSides(c)) as F32<'B N C'>),
  );

/** Images to a picture of patches [B Y X D]. */
export const patchGrid = (c: PatchConfig) =>
  module(
    sizes(c),
    () => parts(c),
    ['B I S W'],
    (p, images) => {
      const [rows] = patchCounts(patchSides(c), sizeAt(images, 2), sizeAt(images, 3));
      const y = project(p, cutPatches(images, patchSides(c)) as F32<'B N C'>);
      return rearrange('b (y x) d -> b y x d' as string, y, { y: rows }) as F32<'B Y X D'>;
    },
  );
