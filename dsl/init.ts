/**
 * Initial values of parameters, on the host: counter-based, so that a leaf's numbers depend on the seed and on its path alone and adding
 * a parameter changes no other. Uses the same Threefry-2x32 as the device; normal numbers are sqrt(2) erfinv(u).
 *
 *   init(vit, 0).blocks[0].attn.qkv.weight.data     // the key is threefry(seed, hash of 'blocks.0.attn.qkv.weight')
 */
import { erf } from '../compiler/graph/erf.ts';
import { threefry2x32 } from '../compiler/graph/threefry.ts';

export type Init =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'normal'; readonly std: number }
  /** A normal cut off at -bound and bound. */
  | { readonly kind: 'truncNormal'; readonly std: number; readonly bound: number }
  /** Between -bound and bound. */
  | { readonly kind: 'uniform'; readonly bound: number }
  /** Any deterministic function of the shape, e.g. fixed sinusoids; row-major. */
  | { readonly kind: 'custom'; readonly values: (shape: readonly number[]) => Float32Array };

export const initializers = {
  zeros: { kind: 'constant', value: 0 },
  ones: { kind: 'constant', value: 1 },
  constant: (value: number): Init => ({ kind: 'constant', value }),
  normal: (std: number): Init => ({ kind: 'normal', std }),
  /** `bound` is a value, not a number of standard deviations: at DINOv2's std of 0.02 the default cuts nothing off, as in the original. */
  truncNormal: (std: number, bound = 2): Init => ({ kind: 'truncNormal', std, bound }),
  uniform: (bound: number): Init => ({ kind: 'uniform', bound }),
  custom: (values: (shape: readonly number[]) => Float32Array): Init => ({ kind: 'custom', values }),
} as const;

/** Two different 32-bit FNV-1a hashes of a path. */
const hash = (text: string): [number, number] => {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    b = Math.imul(b ^ text.charCodeAt(i), 0x85ebca6b);
  }
  return [a >>> 0, b >>> 0];
};
/** The two words of a seed: any whole number up to 2^53. */
export const seedWords = (seed: number): [number, number] => [Math.floor(seed / 2 ** 32) >>> 0, seed >>> 0];

/** Coefficients of Giles, Approximating the erfinv function (2010), single precision: relative error below 4e-7. Highest power first. */
export const erfinvNear = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
] as const;
export const erfinvFar = [
  -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
] as const;
const horner = (cs: readonly number[], w: number): number => cs.reduce((p, c) => c + p * w, 0);
export const erfinv = (x: number): number => {
  const w = -Math.log((1 - x) * (1 + x));
  return x * (w < 5 ? horner(erfinvNear, w - 2.5) : horner(erfinvFar, Math.sqrt(w) - 3));
};

/** Number i of a stream, strictly between -1 and 1 and symmetric: 23 bits and a half. */
const symmetric = (key: readonly [number, number], i: number): number => {
  const [a, b] = threefry2x32(key, [0, i]);
  return (((a ^ b) >>> 9) + 0.5) * 2 ** -22 - 1;
};

/** The numbers of one leaf. */
export const initialize = (init: Init, seed: number, path: string, shape: readonly number[]): Float32Array => {
  const n = shape.reduce((a, b) => a * b, 1);
  const key = threefry2x32(seedWords(seed), hash(path));
  const fill = (f: (u: number) => number): Float32Array => {
    const out = new Float32Array(n);
    for (let i = 0; i < n; i++) out[i] = f(symmetric(key, i));
    return out;
  };
  switch (init.kind) {
    case 'constant':
      return new Float32Array(n).fill(init.value);
    case 'normal':
      return fill((u) => init.std * Math.SQRT2 * erfinv(u));
    case 'truncNormal': {
      const mass = erf(init.bound / (init.std * Math.SQRT2));
      return fill((u) => init.std * Math.SQRT2 * erfinv(u * mass));
    }
    case 'uniform':
      return fill((u) => init.bound * u);
    case 'custom':
      return init.values(shape);
  }
};
