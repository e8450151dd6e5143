/**
 * What linear classifiers on frozen features read, in the language: class tokens of the last blocks side by side, with or without the mean
 * patch token of the last block; and zero padding of images to whole patches on both sides. As in DINOv2's evaluations.
 *
 *   probeInput(blocks, 4, true)      // the last 4 class tokens and the mean patch token: [B 5*D]
 *   centrePadding(14)(images)        // [1 2 37 45] -> [1 2 42 56]
 */
import { FoveaError } from '../../compiler/error.ts';
import { type F32, mean, pad, rearrange, stack } from '../../dsl/index.ts';

/** The normalised tokens of one block. */
export interface BlockTokens {
  readonly cls: F32<'B D'>;
  readonly patches: F32<'B N D'>;
}

/**
 * [B n*D], or [B (n+1)*D] with the mean patch token: class tokens of the last `n` of the blocks, in network order. FV0408: there are
 * fewer blocks.
 */
export const probeInput = (blocks: readonly BlockTokens[], n: number, average: boolean): F32<string> => {
  const last = blocks.at(-1);
  if (!(last && Number.isInteger(n) && n >= 1 && n <= blocks.length))
    throw new FoveaError('FV0408', `probe: the last ${n} of ${blocks.length} blocks`);
  const parts = blocks.slice(-n).map((b) => b.cls);
  if (average) parts.push(mean('b n d -> b d', last.patches));
  return rearrange('n b d -> b (n d)', stack(parts));
};

/** Zeros around images [B C H W] up to the next multiples of `multiple` pixels; of an odd number of lines the last one comes after. */
export const centrePadding =
  (multiple: number) =>
  (images: F32<string>, [height, width]: readonly [number, number]): F32<string> => {
    const axis = (size: number, name: string): string => {
      const extra = Math.ceil(size / multiple) * multiple - size;
      const before = Math.floor(extra / 2);
      return `${before}:${name}:${extra - before}`;
    };
    return pad(`b c ${axis(height, 'h')} ${axis(width, 'w')}` as string, images);
  };
