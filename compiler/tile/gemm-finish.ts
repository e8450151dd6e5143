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

export const finish = (k: Body, { m, n, epilogue }: Pick<GemmSpec, 'm' | 'n' | 'epilogue'>, batch: readonly Expr[], t: Finished): void => {
  const { lanes } = t;
  const last = t.whole.rows ? e.index(t.rows) : k.let('last', e.min(e.sub(e.index(m), t.row), t.rows));
  k.for('r', 0, last, 1, (r) => {
    const row = k.let('row', e.add(t.row, r));
    k.for('v', 0, t.width, lanes, (v) => {
      const col = k.let('col', t.column(v));
      const from = k.let('from', e.add(t.at, e.add(e.mul(r, t.width), v)));
      const whole = (): void => {
        const sum = k.let('sum', e.load(t.place, from, lanes));
        k.push(...epilogue({ batch, row, col, lanes, colMultiple: lanes }, sum));
      };
      const single = (): void =>
        k.for('c', col, n, 1, (c) => {
          const sum = k.let('sum', e.load(t.place, e.add(from, e.sub(c, col))));
          k.push(...epilogue({ batch, row, col: c, lanes: 1, colMultiple: 1 }, sum));
        });
      if (t.whole.columns) whole();
      else if (n < lanes) single();
      else k.if(e.compare('le', e.add(col, lanes), n), whole, single);
    });
  });
};
