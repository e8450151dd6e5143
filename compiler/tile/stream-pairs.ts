/**
 * Words of two bf16 numbers for attention on targets that add their products at once. Pairs follow one another along what is summed: along d
 * where rows meet a panel, along rows where they are mixed. An odd number of them ends with a word whose second half is zero, on both sides.
 *
 *   zipRows    rows i, i + 1:  a0 a1 a2 .. and b0 b1 b2 ..    ->   a0 b0  a1 b1  a2 b2 ..       a row of pairs
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { nothing, pieces, storeZipped } from './gemm-pack-pairs.ts';
import type { Rows } from './stream-parts.ts';

/** The bits of one bf16 number in the upper half of a word. */
const upper = (r: Rows, at: Expr): Expr => e.bitcast(e.cast(e.load(r.place, at), 'f32'), 'u32');
const lower = (r: Rows, at: Expr): Expr => e.binary('shiftRight', upper(r, at), 16);
/** The word of the number at `at` and the one behind it in the row. */
export const pairAt = (r: Rows, at: Expr): Expr =>
  r.element === 1 ? e.load(r.place, at, 2) : e.bitcast(e.or(lower(r, at), upper(r, e.add(at, r.element))), 'bf16');
/** The word of the number at `at` and a zero. */
export const halfAt = (r: Rows, at: Expr): Expr => e.bitcast(lower(r, at), 'bf16');

/** How many words hold `count` numbers. */
export const wordsOf = (count: Expr): Expr => e.div(e.add(count, 1), 2);
/** Runs `then` where `count` is odd. */
export const whereOdd = (k: Body, count: Expr, then: () => void): void => {
  const odd = e.rem(count, 2);
  if (!e.isConst(odd)) k.if(e.compare('ne', odd, 0), then);
  else if (e.isConst(odd, 1)) then();
};
/** Runs `word` for every word of `count` numbers; the second number of the last one may be missing. */
export const eachPair = (k: Body, count: Expr, word: (p: Expr, second: boolean) => void): void => {
  const whole = k.let('whole', e.div(count, 2));
  k.for('p', 0, whole, 1, (p) => word(p, true));
  whereOdd(k, count, () => word(whole, false));
};

/** The words of two vectors of bf16, lane by lane, from word `goal` on; zeros for a second that is missing. */
export const storePairs = (k: Body, to: e.Place, goal: Expr, x: Expr, y: Expr | undefined): void =>
  storeZipped(k, to, goal, x, y ?? e.splat(nothing, x.lanes));

/** Rows `first` .. of r, two by two, into an array; what `mix` reads. */
export const zipRows = (
  k: Body,
  lanes: number,
  r: Rows,
  at: { readonly start: Expr; readonly first: Expr; readonly count: Expr },
  into: e.Place,
): void =>
  eachPair(k, at.count, (p, second) => {
    const line = k.let('line', e.add(at.start, e.mul(e.add(at.first, e.mul(p, 2)), r.row)));
    const goal = k.let('goal', e.mul(p, r.width));
    const move = (d: Expr, n: number): void => {
      const from = e.add(line, e.mul(d, r.element));
      const other = second ? e.load(r.place, e.add(from, r.row), n) : e.splat(nothing, n);
      storeZipped(k, into, e.add(goal, d), e.load(r.place, from, n), other);
    };
    if (r.element === 1) for (const [d, n] of pieces(r.width, 2 * lanes)) move(e.index(d), n);
    else k.for('d', 0, r.width, 1, (d) => move(d, 1));
  });
/** The rows that zipRows made of r. */
export const zipped = (r: Rows, place: e.Place): Rows => ({ ...r, place, row: 2 * r.width, element: 1, width: 2 * r.width });
