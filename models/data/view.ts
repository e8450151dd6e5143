/**
 * How evaluation looks at a picture: which pixels of it, on a canvas of which size. `centreCrop` is what the original evaluates
 * with; the others keep the whole picture, for features of patches. Every canvas divides into patches, or there is an error that says
 * what would fit.
 *
 *   const { picture, width, height } = centreCrop(256, 224)(photo);      // 224 x 224 pixels
 *   viewBatch([placed], imagenet, 1)                                  // [1 3 224 224]
 */
import { FoveaError } from '../../compiler/error.ts';
import { plain } from './augment.ts';
import type { Normalise, Picture } from './picture.ts';
import { maxPixels } from './picture.ts';
import { centreView, resize } from './resize.ts';

/** A picture in the middle of a canvas; around it is 0 after normalisation. */
export interface Placed {
  readonly picture: Picture;
  /** Of the canvas, in pixels; at least those of the picture. */
  readonly width: number;
  readonly height: number;
}
export type View = (p: Picture) => Placed;

const filled = (picture: Picture): Placed => ({ picture, width: picture.width, height: picture.height });

const misfit = (what: string, hint: string): FoveaError => new FoveaError('FV0408', what, { hint });

/** Refuses what would not fit into memory: a picture of one by a thousand pixels grows without bound when its shorter side does. */
const room = (p: Picture, width: number, height: number): void => {
  if (width * height > maxPixels)
    throw misfit(
      `an image of ${p.width} x ${p.height} pixels would become ${width} x ${height}; at most ${maxPixels} pixels are made`,
      'Crop it to a shape that is less narrow.',
    );
};

/** The shorter side becomes `short` pixels (bicubic, as the Python Imaging Library does it), then the centre `crop` x `crop`. FV0408. */
export const centreCrop = (short: number, crop: number): View => {
  if (crop > short) throw misfit(`a crop of ${crop} pixels out of a shorter side of ${short}`, 'Crop at most what is left after resizing.');
  return (p) => {
    const long = Math.floor((short * Math.max(p.width, p.height)) / Math.min(p.width, p.height));
    room(p, p.width >= p.height ? long : short, p.width >= p.height ? short : long);
    return filled(centreView(p, short, crop));
  };
};

/** The whole picture, its shorter side about `short` pixels, both sides rounded to multiples of the patch. FV0408. */
export const wholePicture = (short: number, patch: number): View => {
  const scaled = (side: number, least: number): number => Math.max(1, Math.round((side * short) / least / patch)) * patch;
  return (p) => {
    const least = Math.min(p.width, p.height);
    const [width, height] = [scaled(p.width, least), scaled(p.height, least)];
    room(p, width, height);
    return filled(resize(p, { left: 0, top: 0, width: p.width, height: p.height }, width, height));
  };
};

/** What becomes of a side that the patch does not divide. */
export type Fit = 'refuse' | 'crop' | 'pad';

/**
 * The picture's own pixels. Where the patch does not divide a side: an error, the centre that it divides, or the picture in the middle of
 * a canvas that it divides (the odd pixel goes to the right and below). FV0408.
 */
export const ownPixels = (patch: number, fit: Fit = 'refuse'): View => {
  const [down, up] = [(side: number) => Math.floor(side / patch) * patch, (side: number) => Math.ceil(side / patch) * patch];
  return (p) => {
    const { width: w, height: h } = p;
    if (fit === 'pad') return { picture: p, width: up(w), height: up(h) };
    if (w % patch === 0 && h % patch === 0) return filled(p);
    const [width, height] = [down(w), down(h)];
    if (fit === 'refuse' || width === 0 || height === 0)
      throw misfit(
        `an image of ${w} x ${h} pixels does not divide into patches of ${patch}`,
        `${width > 0 && height > 0 ? `Fit crop cuts it to ${width} x ${height}, fit pad` : 'Fit pad'} makes it ${up(w)} x ${up(h)}.`,
      );
    const box = { left: Math.floor((w - width) / 2), top: Math.floor((h - height) / 2), width, height };
    return filled(resize(p, box, width, height));
  };
};

/** Normalised canvases of one size as a batch [count 3 height width]; empty images fill it up. FV0408 where sizes differ. */
export const viewBatch = (
  views: readonly Placed[],
  normalise: Normalise,
  count: number,
): { readonly shape: readonly number[]; readonly dtype: 'f32'; readonly data: Float32Array } => {
  const { width, height } = views[0] ?? { width: 0, height: 0 };
  const data = new Float32Array(count * 3 * width * height);
  views.forEach((v, i) => {
    if (v.width !== width || v.height !== height)
      throw misfit(`a batch of images of ${width} x ${height} and ${v.width} x ${v.height} pixels`, 'Images of one batch have one size.');
    const { picture: p } = v;
    const at = i * 3 * width * height;
    if (p.width === width && p.height === height) return plain(p, normalise, data, at);
    const own = new Float32Array(3 * p.width * p.height);
    plain(p, normalise, own, 0);
    const [left, top] = [Math.floor((width - p.width) / 2), Math.floor((height - p.height) / 2)];
    for (let row = 0; row < 3 * p.height; row++) {
      const [channel, y] = [Math.floor(row / p.height), row % p.height];
      data.set(own.subarray(row * p.width, (row + 1) * p.width), at + (channel * height + top + y) * width + left);
    }
  });
  return { shape: [count, 3, height, width], dtype: 'f32', data };
};
