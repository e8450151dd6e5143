/**
 * Host-side random numbers for data: counter-based streams, so that the crops and masks of a step are a function of (seed, step,
 * image, crop) and of nothing else. No generator is carried from step to step: a resumed run draws the same pictures, and
 * workers may prepare batches in any order.
 *
 *   const r = stream(seed, 7, 3, 0);   // the stream of step 7, image 3, crop 0
 *   r(); uniform(r, 0.2, 0.5); below(r, 10); chance(r, 0.5);
 */
import { threefry2x32 } from '../../compiler/graph/threefry.ts';

/** Next number of a stream, uniform in [0, 1). */
export type Random = () => number;

/** The stream at `path` under `seed`. Streams of different paths of one length are independent. */
export const stream = (seed: number, ...path: readonly number[]): Random => {
  let key: readonly [number, number] = threefry2x32([seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0], [path.length, 0]);
  for (const p of path) key = threefry2x32(key, [p >>> 0, Math.floor(p / 2 ** 32) >>> 0]);
  let spare: number | undefined;
  let counter = 0;
  return () => {
    if (spare !== undefined) {
      const word = spare;
      spare = undefined;
      return word / 2 ** 32;
    }
    const [a, b] = threefry2x32(key, [counter++, 0]);
    spare = b;
    return a / 2 ** 32;
  };
};

export const uniform = (r: Random, low: number, high: number): number => low + (high - low) * r();
/** A whole number in [0, n). */
export const below = (r: Random, n: number): number => Math.floor(r() * n);
export const chance = (r: Random, p: number): boolean => r() < p;

/** Fisher-Yates in place, from the end. One draw a swap. */
export const shuffle = <A extends { length: number; [i: number]: unknown }>(r: Random, a: A): A => {
  for (let i = a.length - 1; i > 0; i--) {
    const j = below(r, i + 1);
    const t = a[i];
    a[i] = a[j];
    a[j] = t;
  }
  return a;
};
