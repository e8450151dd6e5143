/**
 * What a vision transformer tells apart: images, and below each its patch features, their three principal components as red, green and
 * blue. The components are those of all shown patches together, so equal colours mean similar features across images.
 */
import type { Picture } from '../data/index.ts';
import { pictureGrid } from '../plot/index.ts';
import { pca, toColours } from './pca.ts';

export interface PatchRows {
  readonly picture: Picture;
  /** Rows and columns of patches. */
  readonly grid: readonly [number, number];
  /** [rows * columns, width], row-major. */
  readonly patches: Float32Array;
}

export interface PatchPictureOptions {
  /** Pixels on a side of a cell; 84 unless given. */
  readonly cell?: number;
  /** Images side by side; all unless given. */
  readonly columns?: number;
}

/** PNG; images above, their patches below. `width` is the length of a feature. FV0408: fewer than three numbers a feature. */
export const patchPicture = (images: readonly PatchRows[], width: number, options: PatchPictureOptions = {}): Promise<Uint8Array> => {
  const all = new Float32Array(images.reduce((n, { patches }) => n + patches.length, 0));
  let at = 0;
  const starts = images.map(({ patches }) => {
    all.set(patches, at);
    at += patches.length;
    return at - patches.length;
  });
  const colour = toColours(pca(all, width, 3).projections);
  const maps = images.map(({ grid: [height, columns] }, i): Picture => {
    const from = (3 * starts[i]!) / width;
    return { width: columns, height, channels: 3, data: colour.subarray(from, from + 3 * height * columns) };
  });
  const columns = Math.max(1, options.columns ?? images.length);
  const rows = Array.from({ length: Math.ceil(images.length / columns) }, (_, r) => [
    images.slice(r * columns, (r + 1) * columns).map((x) => x.picture),
    maps.slice(r * columns, (r + 1) * columns),
  ]).flat();
  return pictureGrid(rows, { cell: options.cell ?? 84 });
};
