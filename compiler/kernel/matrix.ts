/**
 * What a warp, 32 threads in a row, does together with matrices of 16 x 16: which thread holds what, and what comes out. A fragment is 16 x 16
 * numbers of bf16 or f16, four words of two numbers in each thread; sums are 16 x 16 of float32, eight in each thread.
 *
 *   fragment   words 0 to 3 of a thread come from four squares of 8 x 8. The lines of square j are those that threads 8 j to 8 j + 7 name.
 *              Thread t gets numbers 2 (t mod 4) and the next of line t / 4; turned, number t / 4 of lines 2 (t mod 4) and the next.
 *   mma        sums[i][j] += x[i][0] y[j][0] + .. + x[i][15] y[j][15], where the squares of x are (rows 0-7, products 0-7), (8-15, 0-7),
 *              (0-7, 8-15), (8-15, 8-15), and those of y (columns 0-7, products 0-7), (0-7, 8-15), (8-15, 0-7), (8-15, 8-15).
 *
 * These are the layouts of ldmatrix and of two mma.sync.m16n8k16. Products are exact. Here a sum of 16 of them and of what was there is made in
 * float64, in order, and rounded to float32 once; a machine may add in another order and cut off what lies below the last bit of the largest.
 */
import { foldCast, numberOf } from './scalar.ts';
import type { KMatrix } from './types.ts';

export const warp = 32;
/** Rows, columns and products of one step. */
export const side = 16;
export const fragmentType = { dtype: 'u32', lanes: 4 } as const;
export const sumsType = { dtype: 'f32', lanes: 8 } as const;

/** Where the sums of a thread lie: row and column of its sum i. */
export const placeOfSum = (thread: number, i: number): readonly [row: number, column: number] => [
  (thread >> 2) + 8 * ((i >> 1) & 1),
  2 * (thread & 3) + (i & 1) + 8 * (i >> 2),
];

/** The words of each thread, made of the bits of the lines that threads name; lines[t][n] is number n of the line of thread t. */
export const fragments = (lines: readonly (readonly number[])[], turned: boolean): readonly (readonly number[])[] =>
  lines.map((_, t) =>
    Array.from({ length: 4 }, (_, j) => {
      const [line, number] = [t >> 2, 2 * (t & 3)];
      const bits = (h: number): number =>
        turned ? (lines[8 * j + number + h]?.[line] as number) : (lines[8 * j + line]?.[number + h] as number);
      return (bits(0) | (bits(1) << 16)) >>> 0;
    }),
  );

/** Rows of a fragment whose squares run down before they run across (`x`), or across before they run down (`y`), as numbers. */
export const fragmentRows = (words: readonly (readonly number[])[], of: KMatrix, down: boolean): readonly Float64Array[] => {
  const rows = Array.from({ length: side }, () => new Float64Array(side));
  words.forEach((own, t) =>
    own.forEach((word, j) => {
      const [r, p] = down ? [j & 1, j >> 1] : [j >> 1, j & 1];
      const row = rows[(t >> 2) + 8 * r] as Float64Array;
      for (const h of [0, 1]) row[2 * (t & 3) + h + 8 * p] = numberOf((word >>> (16 * h)) & 0xffff, of);
    }),
  );
  return rows;
};

/** The sums of each thread after a step. */
export const multiplied = (
  of: KMatrix,
  x: readonly (readonly number[])[],
  y: readonly (readonly number[])[],
  sums: readonly (readonly number[])[],
): readonly (readonly number[])[] => {
  const [rows, columns] = [fragmentRows(x, of, true), fragmentRows(y, of, false)];
  return sums.map((own, t) =>
    own.map((sum, i) => {
      const [row, column] = placeOfSum(t, i);
      const [a, b] = [rows[row] as Float64Array, columns[column] as Float64Array];
      let all = sum;
      for (let p = 0; p < side; p++) all += (a[p] as number) * (b[p] as number);
      return foldCast(all, 'f64', 'f32');
    }),
  );
};
