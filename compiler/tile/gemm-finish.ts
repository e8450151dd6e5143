/**
 * What becomes of a finished register tile: the epilogue of every vector of it that exists, of the elements one by one at the edge.
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import type { GemmSpec } from './gemm-spec.ts';

export interface Finished {
  /** Sums [row][column], `rows` x `width` of them, from `at` on. */
  readonly place: e.Place;
  readonly at: Expr;
  readonly rows: number;
  readonly width: number;
  readonly lanes: number;
  /** First row of the result, and the column of the vector at column v of the tile. */
  readonly row: Expr;
  readonly column: (v: Expr) => Expr;
  /** No tile reaches past the last row; past the last column. */
  readonly whole: { readonly rows: boolean; readonly columns: boolean };
}

/** One vector of sums, at `from` of `place`: its epilogue, or that of each of its columns that exists. `whole`: all of them do. */
export const finishVector = (
  k: Body,
  { n, epilogue }: Pick<GemmSpec, 'n' | 'epilogue'>,
  batch: readonly Expr[],
  { row, column: col, lanes, whole }: { readonly row: Expr; readonly column: Expr; readonly lanes: number; readonly whole: boolean },
  place: e.Place,
  from: Expr,
): void => {
  const vector = (): void => {
    const sum = k.let('sum', e.load(place, from, lanes));
    k.push(...epilogue({ batch, row, col, lanes, colMultiple: lanes }, sum));
  };
  const single = (): void =>
    k.for('c', col, n, 1, (c) => {
      const sum = k.let('sum', e.load(place, e.add(from, e.sub(c, col))));
      k.push(...epilogue({ batch, row, col: c, lanes: 1, colMultiple: 1 }, sum));
    });
  if (whole) vector();
  else if (n % lanes === 0) k.if(e.lt(col, n), vector);
  else if (n < lanes) single();
  else k.if(e.compare('le', e.add(col, lanes), n), vector, single);
};

export const finish = (k: Body, spec: Pick<GemmSpec, 'm' | 'n' | 'epilogue'>, batch: readonly Expr[], t: Finished): void => {
  const { lanes } = t;
  // of as many rows as there are in any case: a loop that may end early would keep the tile from being registers
  k.for('r', 0, t.rows, 1, (r) => {
    const row = k.let('row', e.add(t.row, r));
    const line = (): void =>
      k.for('v', 0, t.width, lanes, (v) => {
        const col = k.let('col', t.column(v));
        const from = k.let('from', e.add(t.at, e.add(e.mul(r, t.width), v)));
        finishVector(k, spec, batch, { row, column: col, lanes, whole: t.whole.columns }, t.place, from);
      });
    if (t.whole.rows) line();
    else k.if(e.lt(row, spec.m), line);
  });
};
