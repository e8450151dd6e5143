/**
 * Where the results of attention go: each is stored as it stands, and as the transposes and halves of it that joined the group, from the same
 * registers.
 *
 *   o[8 6 257 64], and transpose(o) as [8 257 6 64] for the projection     ->  store b3[(b 257 + n) 384 + h 64 + d]
 */
import type { Prim, Value } from '../graph/types.ts';
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type Affine, add, type Indices, indices, linear, scale } from './affine.ts';
import { code } from './code.ts';
import { rounded } from './emit.ts';
import { emitterOf, homes, type Job, storeAll } from './job.ts';

/** Stores `value` at (batch, row, columns col ..), of `lanes` columns that are a multiple of `known`. */
export type Writer = (k: Body, batch: readonly Expr[], row: Expr, col: Expr, value: Expr, known?: number) => void;

const moves: ReadonlySet<Prim> = new Set<Prim>(['reshape', 'transpose', 'cast']);

/** The writer of one result, `width` elements a row; undefined where nobody reads it. */
export const writerOf = (job: Job, result: Value, batch: readonly number[], rows: number, width: number): Writer | undefined => {
  const source = (v: Value): Value => {
    const from = job.maker(v);
    return v !== result && from && moves.has(from.op.prim) ? source(from.inputs[0] as Value) : v;
  };
  const mine = job.outputs.filter((o) => source(o.value) === result);
  if (mine.length === 0) return undefined;
  let calls = 0;
  return (k, at, row, col, value, known = 1) => {
    const { lanes } = value;
    const c = code(`${k.fresh('e')}_${calls++}_`);
    const ix: Indices = indices(lanes);
    const b = linear(
      at.map((x, i) => ix.atom(x, 0, (batch[i] as number) - 1)),
      batch,
    );
    const step = known % lanes === 0 ? known : 1;
    const column: Affine = add(ix.atom(col, 0, Math.floor((width - lanes) / step) * step, step), ix.lane);
    const p = add(scale(b, rows * width), add(scale(ix.atom(row, 0, rows - 1), width), column));
    const em = emitterOf(job, ix, (v) => (v === result ? rounded(value, v.type.dtype) : undefined));
    const home = homes(job, ix, result, p);
    storeAll(
      c,
      ix,
      em,
      mine.map((o) => ({ ...o, ix: home(o.value) })),
    );
    k.push(...c.done());
  };
};

/** Stores rows 0 .. valid of a local array as rows `first` .. of the result, each times a number of its own. */
export const storeRows = (
  k: Body,
  write: Writer,
  at: { readonly batch: readonly Expr[]; readonly first: Expr; readonly valid: Expr },
  from: { readonly place: e.Place; readonly start: Expr; readonly width: number; readonly lanes: number },
  factor?: (r: Expr) => Expr,
): void =>
  k.for('r', 0, at.valid, 1, (r) => {
    const times = factor && k.let('times', factor(r));
    const row = k.let('row', e.add(at.first, r));
    const line = k.let('line', e.add(from.start, e.mul(r, from.width)));
    const some = (lanes: number, d: Expr): void => {
      const x = e.load(from.place, e.add(line, d), lanes);
      write(k, at.batch, row, d, k.let('value', times ? e.mul(x, e.splat(times, lanes)) : x), lanes);
    };
    const whole = from.width - (from.width % from.lanes);
    if (whole > 0) k.for('d', 0, whole, from.lanes, (d) => some(from.lanes, d));
    if (whole < from.width) k.for('d', whole, from.width, 1, (d) => some(1, d));
  });
