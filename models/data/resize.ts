/**
 * Bicubic resizing with antialiasing, the arithmetic of the Python Imaging Library: cubic coefficient a = -0.5, the kernel is stretched
 * when shrinking, horizontal pass first, each pass rounded to 8 bits. Weights are whole multiples of 2^-22 and sums are exact, so
 * the result equals that library's bit for bit; the recorded preprocessing tensors of DINOv2 hold us to it.
 *
 *   resize(picture, { left: 3, top: 0, width: 20, height: 28 }, 28, 28)
 */
import type { Picture } from './picture.ts';

/** For each output position: the first source position and the weights, `width` of them in a row of `weights`; rows sum to 1. */
export interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  readonly width: number;
  readonly weights: Float64Array;
}

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Keys' cubic kernel with a = -0.5. */
const cubic = (x: number): number => {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
};

const unit = 2 ** 22;

export const taps = (source: number, target: number): Taps => {
  const step = source / target;
  const stretch = Math.max(step, 1);
  const support = 2 * stretch;
  const width = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(target);
  const count = new Int32Array(target);
  const weights = new Float64Array(target * width);
  for (let o = 0; o < target; o++) {
    const centre = (o + 0.5) * step;
    const from = Math.max(Math.trunc(centre - support + 0.5), 0);
    const n = Math.min(Math.trunc(centre + support + 0.5), source) - from;
    let sum = 0;
    for (let j = 0; j < n; j++) {
      const w = cubic((j + from - centre + 0.5) / stretch);
      weights[o * width + j] = w;
      sum += w;
    }
    for (let j = 0; j < n; j++) weights[o * width + j] = weights[o * width + j]! / sum;
    first[o] = from;
    count[o] = n;
  }
  return { first, count, width, weights };
};

/** The weights as whole multiples of 2^-22, halves away from zero. */
const fixed = (t: Taps): Taps => ({
  ...t,
  weights: t.weights.map((w) => (w < 0 ? Math.trunc(w * unit - 0.5) : Math.trunc(w * unit + 0.5))),
});

const clamp8 = (sum: number): number => {
  const v = Math.floor((sum + unit / 2) / unit);
  return Math.min(255, Math.max(0, v));
};

/** The part of `p` inside `box`, resized to width x height. An axis whose size does not change is copied. */
export const resize = (p: Picture, box: Box, width: number, height: number): Picture => {
  const c = p.channels;
  const rows = box.height;
  let wide = new Uint8Array(rows * width * c);
  if (width === box.width) {
    for (let y = 0; y < rows; y++) {
      const from = ((box.top + y) * p.width + box.left) * c;
      wide.set(p.data.subarray(from, from + width * c), y * width * c);
    }
  } else {
    const t = fixed(taps(box.width, width));
    for (let y = 0; y < rows; y++) {
      const row = ((box.top + y) * p.width + box.left) * c;
      for (let x = 0; x < width; x++) {
        const n = t.count[x]!;
        for (let k = 0; k < c; k++) {
          let sum = 0;
          let at = row + t.first[x]! * c + k;
          for (let j = 0; j < n; j++, at += c) sum += t.weights[x * t.width + j]! * p.data[at]!;
          wide[(y * width + x) * c + k] = clamp8(sum);
        }
      }
    }
  }
  if (height !== rows) {
    const t = fixed(taps(rows, height));
    const line = width * c;
    const out = new Uint8Array(height * line);
    for (let y = 0; y < height; y++) {
      const n = t.count[y]!;
      for (let x = 0; x < line; x++) {
        let sum = 0;
        let at = t.first[y]! * line + x;
        for (let j = 0; j < n; j++, at += line) sum += t.weights[y * t.width + j]! * wide[at]!;
        out[y * line + x] = clamp8(sum);
      }
    }
    wide = out;
  }
  return { width, height, channels: c, data: wide };
};

/** Rounds halves to the even neighbour, as Python does. */
export const roundEven = (x: number): number => {
  const f = Math.floor(x);
  return x - f === 0.5 ? f + (f & 1) : Math.round(x);
};

interface Size {
  readonly width: number;
  readonly height: number;
}

/** The size at which the shorter side is `short`; the longer one is rounded down. */
export const shortSide = ({ width, height }: Size, short: number): Size =>
  width >= height
    ? { width: Math.floor((short * width) / height), height: short }
    : { width: short, height: Math.floor((short * height) / width) };

/** The centre `crop` x `crop` pixels; half a pixel goes to the even side. */
export const centreBox = ({ width, height }: Size, crop: number): Box => ({
  left: roundEven((width - crop) / 2),
  top: roundEven((height - crop) / 2),
  width: crop,
  height: crop,
});

/** All of a picture, with `short` pixels on its shorter side. */
export const resizeShort = (p: Picture, short: number): Picture => {
  const { width, height } = shortSide(p, short);
  return resize(p, { left: 0, top: 0, width: p.width, height: p.height }, width, height);
};

/** Evaluation view: the shorter side becomes `short`, then the centre `crop` x `crop` pixels. */
export const centreView = (p: Picture, short: number, crop: number): Picture => {
  const whole = resizeShort(p, short);
  return resize(whole, centreBox(whole, crop), crop, crop);
};
