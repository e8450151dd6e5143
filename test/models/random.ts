/** Numbers for tests of models: any name gives the same ones everywhere. */
import { units } from '../../models/parity/formula.ts';
import { type Numbers, numbers } from './evaluate.ts';

/** u in [0, 1) for every element. */
export const stream = units;

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** offset + scale * v, v even in [-1, 1). */
export const random = (name: string, shape: readonly number[], { offset = 0, scale = 1 } = {}): Numbers =>
  numbers(
    units(name, count(shape)).map((u) => offset + scale * (2 * u - 1)),
    shape,
  );

/** Largest difference; infinity for lists of other lengths or with a NaN. */
export const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  const worst = Array.from(a).reduce((w, x, i) => Math.max(w, Math.abs(x - (b[i] as number))), 0);
  return Number.isNaN(worst) ? Number.POSITIVE_INFINITY : worst;
};
