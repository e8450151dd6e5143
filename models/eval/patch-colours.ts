/**
 * Patch features as pictures: their three principal components as red, green and blue. The components are those of the patches of all
 * images together, so equal colours mean similar features across images.
 */
import type { Picture } from '../data/picture.ts';
import { pca, toColours } from './pca.ts';

export interface PatchRows {
  readonly picture: Picture;
  /** Rows and columns of patches. */
  readonly grid: readonly [number, number];
  /** [rows * columns, width], row-major. */
  readonly patches: Float32Array;
}

/** A picture for each image, a pixel a patch. `width` is the length of a feature. FV0408: fewer than three numbers a feature. */
export const patchColours = (images: readonly Omit<PatchRows, 'picture'>[], width: number): readonly Picture[] => {
  const all = new Float32Array(images.reduce((n, { patches }) => n + patches.length, 0));
  let at = 0;
  const starts = images.map(({ patches }) => {
    all.set(patches, at);
    at += patches.length;
    return at - patches.length;
  });
  const colour = toColours(pca(all, width, 3).projections);
  return images.map(({ grid: [height, columns] }, i): Picture => {
    const from = (3 * starts[i]!) / width;
    return { width: columns, height, channels: 3, data: colour.subarray(from, from + 3 * height * columns) };
  });
};
