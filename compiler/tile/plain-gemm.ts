/**
 * The contraction as written in a textbook: one element of the result after the other, a serial sum over k. It is slow and
 * obviously right.
 */
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import type { Target } from '../target.ts';
import { code } from './code.ts';
import type { GemmOperand, GemmSpec, Lowering } from './gemm-spec.ts';
import { rowBlocks } from './job.ts';

export const lowerPlainGemm = (s: GemmSpec, _target: Target): Lowering => {
  const batches = s.batch.reduce((a, b) => a * b, 1);
  const grid = rowBlocks(batches * s.m);
  const c = code();
  const run = (): void => {
    const row = c.name(e.rem(grid.id, s.m));
    let rest = e.div(grid.id, s.m);
    const batch = [...s.batch].reverse().map((n) => {
      const b = c.name(e.rem(rest, n));
      rest = e.div(rest, n);
      return b;
    });
    batch.reverse();
    c.loop(e.index(0), e.index(s.n), 1, (col) => {
      const sum = c.variable(e.constant(0, s.acc));
      c.loop(e.index(0), e.index(s.k), 1, (k) => {
        const read = (o: GemmOperand, at: Expr): Expr => {
          const offset = batch.reduce<Expr>((x, b, i) => e.add(x, e.mul(b, o.batch[i] as number)), e.index(o.base));
          return e.cast(e.load({ name: o.buffer, dtype: o.dtype }, e.add(e.add(offset, e.mul(at, o.outer)), e.mul(k, o.inner))), s.acc);
        };
        c.set(sum, e.add(sum, e.mul(read(s.a, row), read(s.b, col))));
      });
      for (const st of s.epilogue({ batch, row, col, lanes: 1, colMultiple: 1 }, c.name(sum))) c.push(st);
    });
  };
  if (grid.exact) run();
  else c.when(e.lt(grid.id, batches * s.m), run);
  return { grid: [1, grid.y, grid.z], threads: 1, body: c.done() };
};
