/**
 * Evaluation views of pictures that are tensors already, channel by channel, as torchvision resizes tensors: the same antialiased
 * kernel as resize.ts, but floats all the way. Nothing is rounded or clamped between the two passes, so the overshoot at a sharp
 * edge stays; the bytes of a picture file go through resize.ts instead, which rounds after each pass.
 *
 *   const view = centrePlanes(planesOf(picture), 256, 224);   // samples in [0, 1], and a little beyond after resizing
 *   normalised(view, imagenet)                                // Float32Array [3 224 224]
 */
import type { Normalise, Picture } from './picture.ts';
import { centreBox, shortSide, taps } from './resize.ts';

/** Samples [channels, height, width], row-major. */
export interface Planes {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly data: Float64Array;
}

/** A picture's samples divided by 255. */
export const planesOf = ({ width, height, channels, data }: Picture): Planes => {
  const n = width * height;
  const out = new Float64Array(n * channels);
  for (let c = 0; c < channels; c++) for (let i = 0; i < n; i++) out[c * n + i] = data[i * channels + c]! / 255;
  return { width, height, channels, data: out };
};

/** Every line of `source` samples, `stride` apart, resampled to `target` samples. */
const along = (data: Float64Array, lines: number, source: number, target: number, stride: number): Float64Array => {
  if (source === target) return data;
  const t = taps(source, target);
  const out = new Float64Array((data.length / source) * target);
  for (let line = 0; line < lines; line++)
    for (let o = 0; o < target; o++)
      for (let s = 0; s < stride; s++) {
        let sum = 0;
        for (let j = 0; j < t.count[o]!; j++) sum += t.weights[o * t.width + j]! * data[(line * source + t.first[o]! + j) * stride + s]!;
        out[(line * target + o) * stride + s] = sum;
      }
  return out;
};

/** Resized to width x height: columns first, then rows. An axis whose size does not change is copied. */
export const resizePlanes = (p: Planes, width: number, height: number): Planes => {
  const wide = along(p.data, p.channels * p.height, p.width, width, 1);
  return { width, height, channels: p.channels, data: along(wide, p.channels, p.height, height, width) };
};

/** All of a picture, with `short` samples on its shorter side. */
export const resizeShortPlanes = (p: Planes, short: number): Planes => {
  const { width, height } = shortSide(p, short);
  return resizePlanes(p, width, height);
};

/** Evaluation view: the shorter side becomes `short`, then the centre `crop` x `crop` samples. */
export const centrePlanes = (p: Planes, short: number, crop: number): Planes => {
  const whole = resizeShortPlanes(p, short);
  const { left, top } = centreBox(whole, crop);
  const data = new Float64Array(p.channels * crop * crop);
  for (let row = 0; row < p.channels * crop; row++) {
    const from = (Math.floor(row / crop) * whole.height + top + (row % crop)) * whole.width + left;
    data.set(whole.data.subarray(from, from + crop), row * crop);
  }
  return { width: crop, height: crop, channels: p.channels, data };
};

/** Samples in [0, 1] as bytes, [channels, height, width]: rounded, halves to even, and clamped, once. */
export const planeBytes = (p: Planes): Uint8ClampedArray => Uint8ClampedArray.from(p.data, (v) => v * 255);

/** Less the mean and divided by the standard deviation of each channel, [3, height, width]; a gray plane is written three times. */
export const normalised = (p: Planes, { mean, std }: Normalise): Float32Array => {
  const n = p.width * p.height;
  return Float32Array.from({ length: 3 * n }, (_, i) => {
    const c = Math.floor(i / n);
    return (p.data[p.channels === 1 ? i % n : i]! - mean[c]!) / std[c]!;
  });
};
