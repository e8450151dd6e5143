/**
 * One output of a case against its recorded tensor. The index says how near is near enough: exactly, within tol_abs, or within tol_abs
 * in a small fraction of the elements and exactly in the others. A range may be left out whose values are rounding noise. Nothing
 * passes by default: a missing output, another shape and a NaN fail.
 *
 *   compare(output, recorded, got)   // { name: 'loss', pass: true, error: 1.1e-6, ratio: 0.05 }
 */
import type { Output, Recorded } from './catalogue.ts';

/** Numbers that a runner produced, row-major. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

export interface Verdict {
  readonly name: string;
  readonly pass: boolean;
  /** Largest difference. */
  readonly error: number;
  /** Error over what is allowed: at most 1 passes. */
  readonly ratio: number;
  /** Why it does not pass. */
  readonly why?: string;
}

const over = (x: number, allowed: number): number => (x === 0 ? 0 : x / allowed);

/** A number without a shape is recorded as a list of one. */
const shapeOf = (n: Numbers): readonly number[] => (n.shape.length === 0 ? [1] : n.shape);

export const compare = (output: Output, want: Recorded, got: Numbers | undefined): Verdict => {
  const { name, tol_count_fraction: fraction } = output;
  const failed = (why: string, error = Number.NaN): Verdict => ({ name, pass: false, error, ratio: Number.POSITIVE_INFINITY, why });
  if (!got) return failed('no runner produces it');
  const shape = shapeOf(got).join(' ');
  if (shape !== want.shape.join(' ') || got.data.length !== want.data.length)
    return failed(`its shape is [${shape}] (${got.data.length} numbers), recorded is [${want.shape.join(' ')}]`);
  const tolerance = output.exact === true ? 0 : (output.tol_abs as number); // the catalogue has one of the two
  const [from, to] = output.ignore_range ?? [0, 0];
  let [error, at, differing] = [0, 0, 0];
  for (let i = 0; i < want.data.length; i++) {
    if (i >= from && i < to) continue;
    const d = Math.abs(got.data[i]! - want.data[i]!);
    if (d === 0) continue;
    if (Number.isNaN(d)) return failed(`element ${i} is ${got.data[i]}, recorded is ${want.data[i]}`);
    differing++;
    if (d > error) [error, at] = [d, i];
  }
  const [far, many] = [over(error, tolerance), fraction === undefined ? 0 : over(differing, fraction * want.data.length)];
  // where only a fraction may differ at all, the fraction says more than the size of a difference that is allowed
  const ratio = fraction === undefined || far > 1 ? far : many;
  if (far > 1)
    return { name, pass: false, error, ratio, why: `element ${at} is ${got.data[at]}, recorded is ${want.data[at]} within ${tolerance}` };
  if (many > 1) return { name, pass: false, error, ratio, why: `${differing} of ${want.data.length} elements differ` };
  return { name, pass: true, error, ratio };
};
