/**
 * Pictures in rows, scaled up without smoothing, as PNG: the images above, the PCA of their patch features below.
 *
 *   await pictureGrid([images, pcaOfPatches], { cell: 112 })   // two rows of pictures, 112 pixels each
 */
import sharp from 'sharp';
import type { Picture } from '../data/picture.ts';

export interface GridOptions {
  /** Pixels on a side of one cell; every picture is scaled to fit into it, its shape kept. */
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
      const long = Math.max(p.width, p.height);
      const [w, h] = [p.width, p.height].map((side) => Math.max(1, Math.round((cell * side) / long))) as [number, number];
      const [left, top] = [c * (cell + gap) + gap + ((cell - w) >> 1), r * (cell + gap) + gap + ((cell - h) >> 1)];
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++) {
          const from = (Math.floor((y * p.height) / h) * p.width + Math.floor((x * p.width) / w)) * p.channels;
          const to = ((top + y) * width + left + x) * 3;
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
