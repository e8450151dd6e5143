/**
 * One augmented crop of one picture, DINOv2's chain (facebookresearch/dinov2, data/augmentations.py): random resized crop, flip, colour
 * jitter in random order, grayscale, Gaussian blur, solarize, normalise. Geometry is exact 8-bit resizing (resize.ts); the photometric
 * steps run in float on 0..255 and are clamped to that range where the original clamps, without its rounding to 8 bits
 * between steps (at most half a level a step).
 *
 * Probabilities of blur are the effective ones of the released models (0 for the first global crop, 0.9 for the second, 0.5 for local
 * crops): the original declares 1 - p.
 */
import type { Normalise, Picture } from './picture.ts';
import { below, chance, type Random, shuffle, uniform } from './random.ts';
import { type Box, resize, roundEven } from './resize.ts';

/** How one kind of crop is made. Ranges are [low, high]; probabilities lie in [0, 1]. */
export interface CropRecipe {
  /** Pixels on a side of the crop. */
  readonly size: number;
  /** Share of the picture's area, and width over height (log-uniform). */
  readonly scale: readonly [number, number];
  readonly aspect: readonly [number, number];
  readonly flip: number;
  readonly jitter: {
    readonly p: number;
    readonly brightness: number;
    readonly contrast: number;
    readonly saturation: number;
    readonly hue: number;
  };
  readonly gray: number;
  readonly blur: { readonly p: number; readonly sigma: readonly [number, number]; readonly radius: number };
  readonly solarize: number;
}

const common = {
  aspect: [3 / 4, 4 / 3],
  flip: 0.5,
  jitter: { p: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1 },
  gray: 0.2,
} as const;
const blur = (p: number) => ({ p, sigma: [0.1, 2], radius: 4 }) as const;

/** DINOv2's three kinds of crop for global crops of `size` and local crops of `local` pixels. */
export const dinov2Crops = (
  size: number,
  local: number,
  scale: readonly [number, number] = [0.32, 1],
  localScale: readonly [number, number] = [0.05, 0.32],
): { readonly globals: readonly [CropRecipe, CropRecipe]; readonly local: CropRecipe } => ({
  globals: [
    { ...common, size, scale, blur: blur(0), solarize: 0 },
    { ...common, size, scale, blur: blur(0.9), solarize: 0.2 },
  ],
  local: { ...common, size: local, scale: localScale, blur: blur(0.5), solarize: 0 },
});

/**
 * Crops for small gray pictures, the demo's: DINOv2's geometry and jitter, but a weak blur for all (a deviation of 2 pixels would
 * erase a 28-pixel image) and no solarize. bench/peers/dinov2_torch.py draws the same family.
 */
export const smallCrops = (
  size: number,
  local: number,
  scale: readonly [number, number] = [0.5, 1],
  localScale: readonly [number, number] = [0.2, 0.5],
): ReturnType<typeof dinov2Crops> => {
  const kind = { ...common, blur: { p: 0.2, sigma: [0.1, 1], radius: 2 }, solarize: 0 } as const;
  return {
    globals: [
      { ...kind, size, scale },
      { ...kind, size, scale },
    ],
    local: { ...kind, size: local, scale: localScale },
  };
};

/** The box of a random resized crop: ten tries, then the largest centred box within the aspect limits. */
export const cropBox = (width: number, height: number, recipe: CropRecipe, r: Random): Box => {
  const [lo, hi] = recipe.aspect;
  for (let i = 0; i < 10; i++) {
    const area = width * height * uniform(r, recipe.scale[0], recipe.scale[1]);
    const aspect = Math.exp(uniform(r, Math.log(lo), Math.log(hi)));
    const w = roundEven(Math.sqrt(area * aspect));
    const h = roundEven(Math.sqrt(area / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height)
      return { left: below(r, width - w + 1), top: below(r, height - h + 1), width: w, height: h };
  }
  const ratio = width / height;
  const w = ratio > hi ? roundEven(height * hi) : width;
  const h = ratio < lo ? roundEven(width / lo) : height;
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
};

const clamp = (v: number): number => Math.min(255, Math.max(0, v));

/** Planes of one crop on 0..255: one plane (gray) or three, each of `n` samples, one after the other. */
interface Planes {
  readonly data: Float32Array;
  readonly n: number;
  readonly channels: 1 | 3;
}

const luma = ({ data, n, channels }: Planes, i: number): number =>
  channels === 1 ? data[i]! : 0.299 * data[i]! + 0.587 * data[n + i]! + 0.114 * data[2 * n + i]!;

const brightness = (p: Planes, f: number): void => {
  for (let i = 0; i < p.data.length; i++) p.data[i] = clamp(p.data[i]! * f);
};

const contrast = (p: Planes, f: number): void => {
  let sum = 0;
  for (let i = 0; i < p.n; i++) sum += luma(p, i);
  const grey = Math.round(sum / p.n);
  for (let i = 0; i < p.data.length; i++) p.data[i] = clamp(grey + f * (p.data[i]! - grey));
};

/** f = 0 is the gray picture, 1 the picture itself. */
const saturation = (p: Planes, f: number): void => {
  if (p.channels === 1) return;
  for (let i = 0; i < p.n; i++) {
    const y = luma(p, i);
    for (let at = i; at < p.data.length; at += p.n) p.data[at] = clamp(y + f * (p.data[at]! - y));
  }
};

/** Turns the hue by `turn` of the colour circle, at constant value and saturation (hue, saturation, value model). */
const hue = (p: Planes, turn: number): void => {
  if (p.channels === 1) return;
  const { data, n } = p;
  for (let i = 0; i < n; i++) {
    const r = data[i]!;
    const g = data[n + i]!;
    const b = data[2 * n + i]!;
    const top = Math.max(r, g, b);
    const range = top - Math.min(r, g, b);
    if (range === 0) continue;
    const sector = top === r ? (g - b) / range : top === g ? 2 + (b - r) / range : 4 + (r - g) / range;
    const h = sector + 6 * turn;
    // channel k of a colour of hue h (in sixths): f(5), f(3), f(1) with f(k) = v - range * clamp01(min(x, 4 - x)), x = (k + h) mod 6
    for (let c = 0; c < 3; c++) {
      const x = (((5 - 2 * c + h) % 6) + 6) % 6;
      data[c * n + i] = top - range * Math.max(0, Math.min(x, 4 - x, 1));
    }
  }
};

/** Separable Gaussian with `2 * radius + 1` taps and mirrored borders (the border sample itself is not repeated). */
const gaussian = (p: Planes, size: number, sigma: number, radius: number): void => {
  const taps = Float64Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-0.5 * ((i - radius) / sigma) ** 2));
  const sum = taps.reduce((a, b) => a + b, 0);
  const mirror = Int32Array.from({ length: size + 2 * radius }, (_, i) => {
    const period = 2 * (size - 1);
    const at = size === 1 ? 0 : Math.abs((((i - radius) % period) + period) % period);
    return at < size ? at : period - at;
  });
  const line = new Float32Array(size);
  const pass = (start: number, stride: number): void => {
    for (let o = 0; o < size; o++) {
      let v = 0;
      for (let j = 0; j < taps.length; j++) v += taps[j]! * p.data[start + mirror[o + j]! * stride]!;
      line[o] = v / sum;
    }
    for (let o = 0; o < size; o++) p.data[start + o * stride] = line[o]!;
  };
  for (let c = 0; c < p.channels; c++) {
    for (let y = 0; y < size; y++) pass(c * p.n + y * size, 1);
    for (let x = 0; x < size; x++) pass(c * p.n + x, size);
  }
};

const photometric = (p: Planes, recipe: CropRecipe, r: Random): void => {
  const j = recipe.jitter;
  if (chance(r, j.p)) {
    const factor = (s: number): number => uniform(r, Math.max(0, 1 - s), 1 + s);
    for (const step of shuffle(r, [0, 1, 2, 3])) {
      if (step === 0) brightness(p, factor(j.brightness));
      else if (step === 1) contrast(p, factor(j.contrast));
      else if (step === 2) saturation(p, factor(j.saturation));
      else hue(p, uniform(r, -j.hue, j.hue));
    }
  }
  if (chance(r, recipe.gray)) saturation(p, 0);
  if (chance(r, recipe.blur.p)) gaussian(p, recipe.size, uniform(r, ...recipe.blur.sigma), recipe.blur.radius);
  if (chance(r, recipe.solarize)) for (let i = 0; i < p.data.length; i++) if (p.data[i]! >= 128) p.data[i] = 255 - p.data[i]!;
};

/** Writes `p` as three normalised planes [3, size, size] at `offset` of `out`; a gray plane is written three times. */
const store = (p: Planes, normalise: Normalise, out: Float32Array, offset: number): void => {
  for (let c = 0; c < 3; c++) {
    const from = p.channels === 1 ? 0 : c * p.n;
    const scale = 1 / (255 * normalise.std[c]!);
    const shift = normalise.mean[c]! / normalise.std[c]!;
    for (let i = 0; i < p.n; i++) out[offset + c * p.n + i] = p.data[from + i]! * scale - shift;
  }
};

const planes = (p: Picture, flip: boolean): Planes => {
  const { width, channels, data } = p;
  const n = width * p.height;
  const out = new Float32Array(n * channels);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < n; i++) {
      const x = i % width;
      out[c * n + i] = data[(flip ? i - x + width - 1 - x : i) * channels + c]!;
    }
  return { data: out, n, channels };
};

/** One random crop of `p`, [3, size, size], written at `offset` of `out`. */
export const augment = (p: Picture, recipe: CropRecipe, normalise: Normalise, r: Random, out: Float32Array, offset: number): void => {
  const small = resize(p, cropBox(p.width, p.height, recipe, r), recipe.size, recipe.size);
  const x = planes(small, chance(r, recipe.flip));
  photometric(x, recipe, r);
  store(x, normalise, out, offset);
};

/** A picture as it is, [3, height, width]: what evaluation reads. */
export const plain = (p: Picture, normalise: Normalise, out: Float32Array, offset: number): void =>
  store(planes(p, false), normalise, out, offset);
