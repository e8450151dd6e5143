/** What a vision transformer tells apart: images, and below each its patch features as colours (patch-colours.ts). */
import { pictureGrid } from '../plot/index.ts';
import { type PatchRows, patchColours } from './patch-colours.ts';

export interface PatchPictureOptions {
  /** Pixels on a side of a cell; 84 unless given. */
  readonly cell?: number;
  /** Images side by side; all unless given. */
  readonly columns?: number;
}

/** PNG; images above, their patches below. `width` is the length of a feature. FV0408: fewer than three numbers a feature. */
export const patchPicture = (images: readonly PatchRows[], width: number, options: PatchPictureOptions = {}): Promise<Uint8Array> => {
  const maps = patchColours(images, width);
  const columns = Math.max(1, options.columns ?? images.length);
  const rows = Array.from({ length: Math.ceil(images.length / columns) }, (_, r) => [
    images.slice(r * columns, (r + 1) * columns).map((x) => x.picture),
    maps.slice(r * columns, (r + 1) * columns),
  ]).flat();
  return pictureGrid(rows, { cell: options.cell ?? 84 });
};
