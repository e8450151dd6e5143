/**
 * What a warp group, 128 threads in a row, does together with matrices in shared memory, while its threads may go on: 64 x n sums of float32 get the
 * products of 64 x 16 and n x 16 halves. Halves lie in lines of 64, 128 bytes, as boxes of a tensor are fetched, and chunks of 16 bytes of a line change places by
 * the number of the line; eight lines are an atom of 1024 bytes, at a multiple of as many. A matrix begins at an element i of the array:
 *
 *   number p of row r     swizzled(i + 64 r + p)                                       lines are rows
 *                         swizzled(i + (r div 64) apart + 64 p + r mod 64)             turned: lines are products
 *
 * Turned lines are taken whole: 64, 128 or 256 columns. The first factor may also be sixteen rows a warp in registers, as fragments for mma are. These are the layouts "K-major" and "MN-major" of wgmma with a swizzle of 128 bytes. Sums lie as those of mma do (matrix.ts), sixteen rows a warp:
 * variable j of a thread holds its eight sums of columns 16 j to 16 j + 15. Here a sum is made as that of mma.
 */
import { placeOfSum, side, warp } from './matrix.ts';
import { foldCast } from './scalar.ts';

export const warpGroup = 4 * warp;
/** Rows of the sums of a warp group. */
export const groupRows = 64;
/** Halves of a line; lines of an atom. */
export const lineLength = 64;
export const atomSize = 8 * lineLength;
const chunk = 8;

/** Where element i of lines lies. */
export const swizzled = (i: number): number => i ^ ((Math.floor(i / lineLength) % chunk) * chunk);

/** Element of number p of row r. */
export const elementOf = (x: { readonly index: number; readonly turned: boolean; readonly apart: number }, r: number, p: number): number =>
  swizzled(x.index + (x.turned ? Math.floor(r / lineLength) * x.apart + p * lineLength + (r % lineLength) : r * lineLength + p));

/** The sums of each thread, by variables, after the products of rows x and columns y. */
export const addedProducts = (
  x: readonly Float64Array[],
  y: readonly Float64Array[],
  sums: readonly (readonly (readonly number[])[])[],
): readonly (readonly (readonly number[])[])[] =>
  sums.map((own, t) =>
    own.map((eight, j) =>
      eight.map((sum, i) => {
        const [row, column] = placeOfSum(t % warp, i);
        const [a, b] = [x[side * Math.floor(t / warp) + row] as Float64Array, y[side * j + column] as Float64Array];
        let all = sum;
        for (let p = 0; p < side; p++) all += (a[p] as number) * (b[p] as number);
        return foldCast(all, 'f64', 'f32');
      }),
    ),
  );
