/**
 * Pictures in rows, scaled up without smoothing, as PNG: the images above, the PCA of their patch features below.
 *
 *   await pictureGrid([images, pcaOfPatches], { cell: 112 })   // two rows of pictures, 112 pixels each
 */
import sharp from 'sharp';
import type { Picture } from '../data/picture.ts';

export interface GridOptions {
  /** Pixels on a side of one cell; every picture is stretched to it. */
  readonly cell: number;
  /** Pixels between cells; 4 unless given. */
  readonly gap?: number;
}

/** Interleaved RGB of the grid on white, with its width and height. */
export const drawGrid = (rows: readonly (readonly Picture[])[], options: GridOptions): Picture => {
  const { cell } = options;
  const gap = options.gap ?? 4;
  const columns = Math.max(1, ...rows.map((r) => r.length));
  const width = columns * (cell + gap) + gap;
  const height = Math.max(1, rows.length) * (cell + gap) + gap;
  const data = new Uint8Array(width * height * 3).fill(255);
  rows.forEach((row, r) => {
    row.forEach((p, c) => {
      for (let y = 0; y < cell; y++)
        for (let x = 0; x < cell; x++) {
          const from = (Math.floor((y * p.height) / cell) * p.width + Math.floor((x * p.width) / cell)) * p.channels;
          const to = ((gap + r * (cell + gap) + y) * width + gap + c * (cell + gap) + x) * 3;
          for (let k = 0; k < 3; k++) data[to + k] = p.data[from + (p.channels === 3 ? k : 0)]!;
        }
    });
  });
  return { width, height, channels: 3, data };
};

export const pictureGrid = async (rows: readonly (readonly Picture[])[], options: GridOptions): Promise<Uint8Array> => {
  const { width, height, data } = drawGrid(rows, options);
  return new Uint8Array(
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  );
};
