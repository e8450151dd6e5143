/**
 * A stream of random numbers that a seed fixes, and tensors drawn from it.
 *
 *   const next = numbers(7);
 *   drawLike({ dtype: 'f32', shape: [2] }, next)      two numbers from -1 to 1
 */
import { type Tensor64, tensor64 } from '../compiler/graph/interpret.ts';
import { countOf } from '../compiler/graph/tensor64.ts';
import { isFloat, type TensorType } from '../compiler/graph/types.ts';

/** Numbers in [0, 1): mulberry32. */
export const numbers = (seed: number): (() => number) => {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** Floats in [from, to), whole numbers in [from, to), bools by the toss of a coin. */
export const drawIn = (t: TensorType, from: number, to: number, next: () => number): Tensor64 => {
  const one = (): number => from + (to - from) * next();
  return tensor64(
    t,
    Array.from({ length: countOf(t) }, () => (isFloat(t.dtype) ? one() : t.dtype === 'bool' ? Math.round(next()) : Math.floor(one()))),
  );
};
export const drawLike = (t: TensorType, next: () => number): Tensor64 => drawIn(t, -1, 1, next);
