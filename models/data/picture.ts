/**
 * What the loaders return: pictures of 8-bit samples in memory, with labels where they are known, and how to normalise them. Gray
 * pictures stay one channel until they become crops, which saves two thirds of the work on Fashion-MNIST.
 */
import { shuffle, stream } from './random.ts';

/** Pixels of an image at most: above this the original refuses an image too. */
export const maxPixels = 178_956_970;

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Row-major, channels interleaved: sample (y, x, c) is at (y * width + x) * channels + c. */
  readonly channels: 1 | 3;
  readonly data: Uint8Array;
}

/** Per channel, on samples divided by 255. */
export interface Normalise {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/** Statistics of ImageNet's training images, which DINOv2 uses for every data set. */
export const imagenet: Normalise = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

export interface ImageSet {
  readonly name: string;
  readonly pictures: readonly Picture[];
  /** One class number for each picture, or undefined for unlabelled images. */
  readonly labels: Int32Array | undefined;
  readonly classes: readonly string[];
  readonly normalise: Normalise;
}

/** The pictures at `indices`, in that order. */
export const subset = (set: ImageSet, indices: readonly number[]): ImageSet => ({
  ...set,
  pictures: indices.map((i) => set.pictures[i]!),
  labels: set.labels && Int32Array.from(indices, (i) => set.labels![i]!),
});

/** The first `n` pictures (all of them if there are fewer). */
export const take = (set: ImageSet, n: number): ImageSet =>
  subset(
    set,
    Array.from({ length: Math.min(n, set.pictures.length) }, (_, i) => i),
  );

/** Cuts a set in two: a random `fraction` of the pictures (rounded, at least one) is held out. Same seed, same cut. */
export const holdOut = (set: ImageSet, fraction: number, seed: number): { readonly train: ImageSet; readonly test: ImageSet } => {
  const order = shuffle(
    stream(seed, 0x5711),
    set.pictures.map((_, i) => i),
  );
  const cut = Math.max(1, Math.round(order.length * fraction));
  const sorted = (a: number[]): number[] => a.sort((x, y) => x - y);
  return { train: subset(set, sorted(order.slice(cut))), test: subset(set, sorted(order.slice(0, cut))) };
};
