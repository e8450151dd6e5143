/** Elements of a batch: their number as one index an axis, and where their part of an operand starts. */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';

/** Splits a flat batch number into one index an axis. */
export const unflatten = (flat: Expr, sizes: readonly number[]): readonly Expr[] => {
  let rest = flat;
  const out: Expr[] = [];
  for (let i = sizes.length - 1; i >= 0; i--) {
    out.unshift(i === 0 ? rest : e.rem(rest, sizes[i] as number));
    rest = e.div(rest, sizes[i] as number);
  }
  return out;
};

/** Strides along the axes of the batch, and where the first element lies. */
interface Batched {
  readonly base: number;
  readonly batch: readonly number[];
}

/** Where the part of one batch element starts. */
export const startOf = (k: Body, o: Batched, at: readonly Expr[]): Expr =>
  k.let(
    'start',
    at.reduce((start, i, j) => e.add(start, e.mul(i, o.batch[j] as number)), e.index(o.base)),
  );
