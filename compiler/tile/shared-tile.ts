/**
 * Tiles of results that the threads of a block make together, for targets of several threads a block: rows x columns sums in registers, a
 * few rows and vectors of columns a thread, of factors that lie in shared memory. Contractions and attention are made of these.
 *
 *   stage     panel[p][r] = operand(r, p)                       vectors of r; neighbouring threads read neighbouring elements; what does not exist is 0
 *   products  sums[r][v] = fma(a(p, r), b(p, v), sums[r][v])    for p in order
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr, KType } from '../kernel/types.ts';

/** A tile of `rows` x `columns`; a thread makes tm rows of tn / lanes vectors. */
export interface SharedTile {
  readonly rows: number;
  readonly columns: number;
  readonly tm: number;
  readonly tn: number;
  readonly lanes: number;
}

export const across = (t: SharedTile): number => t.columns / t.tn;
export const threadsOf = (t: SharedTile): number => across(t) * (t.rows / t.tm);
/** Widest vector of a thread that `tn` columns fill. */
export const lanesOf = (tn: number): number => (tn % 4 === 0 ? 4 : tn % 2 === 0 ? 2 : 1);

/** The first of this thread's rows, and of its columns; its further vectors follow `across` vectors on, so that neighbours read neighbours. */
export interface Own {
  readonly row: Expr;
  readonly column: Expr;
}
export const ownOf = (k: Body, t: SharedTile): Own => ({
  row: k.let('mine', e.mul(e.div(e.thread, across(t)), t.tm)),
  column: k.let('mine', e.mul(e.rem(e.thread, across(t)), t.lanes)),
});

/** A panel in shared memory, [depth][pitch], of which the first `width` of each line are used. */
export interface SharedPanel {
  readonly place: e.Place;
  readonly depth: number;
  readonly width: number;
  readonly pitch: number;
}
/** Four more a line spread a column over the banks of the memory, where the panel is written by columns. */
const spread = 4;
export const pitchOf = (width: number, turned: boolean): number => width + (turned ? spread : 0);
export const panel = (k: Body, name: string, dtype: KType, depth: number, width: number, turned: boolean): SharedPanel => {
  const pitch = pitchOf(width, turned);
  return { place: k.alloc(name, 'shared', dtype, depth * pitch), depth, width, pitch };
};

/** An operand in memory: element (r, p) lies at start + r outer + p inner. */
export interface Staged {
  readonly place: e.Place;
  readonly start: Expr;
  readonly outer: number;
  readonly inner: number;
}
/** Along r or p: where the panel starts, and how many elements the operand has. */
export interface Extent {
  readonly first: Expr;
  readonly size: number;
}

/** Whether the elements of a line of memory are the depth of a panel, not its width. */
export const turned = ({ outer, inner }: Pick<Staged, 'outer' | 'inner'>): boolean => inner === 1 && outer !== 1;

/**
 * Copies a panel of an operand, all threads together, vectors along its lines at a time: they are read at once where the operand's lines run that
 * way, too, and element by element where they do not. A barrier on either side is the caller's affair.
 */
export const stage = (k: Body, to: SharedPanel, from: Staged, r: Extent, p: Extent, threads: number): void => {
  const { depth, width, pitch, place } = to;
  const lanes = lanesOf(width);
  const across = width / lanes;
  const total = depth * across;
  const copy = (i: Expr): void => {
    const fast = turned(from) ? depth : across;
    const [low, high] = [k.let('low', e.rem(i, fast)), k.let('high', e.div(i, fast))];
    const [u, d] = turned(from) ? [e.mul(high, lanes), low] : [e.mul(low, lanes), high];
    const [row, deep] = [k.let('row', e.add(r.first, u)), k.let('deep', e.add(p.first, d))];
    const rows = k.let('rows', lanes === 1 ? row : e.ramp(row, lanes));
    const inside = [
      ...(r.size % width === 0 ? [] : [r.size % lanes === 0 ? e.splat(e.lt(row, r.size), lanes) : e.lt(rows, r.size)]),
      ...(p.size % depth === 0 ? [] : [e.splat(e.lt(deep, p.size), lanes)]),
    ];
    const mask = inside.length > 0 ? inside.reduce((x, y) => e.and(x, y)) : undefined;
    const start = e.add(from.start, e.mul(deep, from.inner));
    const at = from.outer === 1 ? e.add(start, row) : e.add(e.splat(start, lanes), e.mul(rows, from.outer));
    const x = e.load(from.place, at, lanes, mask);
    k.store(place, e.add(e.mul(d, pitch), u), from.place.dtype === place.dtype ? x : e.cast(x, place.dtype));
  };
  const each = Math.floor(total / threads);
  if (each > 0) k.for('copied', 0, each * threads, threads, (i) => copy(k.let('i', e.add(i, e.thread))), 'unroll');
  if (each * threads < total) k.if(e.lt(e.add(e.thread, each * threads), total), () => copy(k.let('i', e.add(e.thread, each * threads))));
};

export type Sums = readonly (readonly Expr[])[];

/** Variables for the sums of a thread, all zero. */
export const zeros = (k: Body, t: SharedTile, dtype: KType): Sums =>
  Array.from({ length: t.tm }, () => Array.from({ length: t.tn / t.lanes }, () => k.var('acc', e.constant(0, dtype, t.lanes))));

/** Factor (p, r) of this thread's row r: several rows at once where they follow one another. */
export type Left = (p: Expr) => readonly Expr[];

/** This thread's rows of a panel whose lines run along rows. */
export const lineOf =
  (k: Body, a: SharedPanel, own: Own, tm: number): Left =>
  (p) => {
    const lanes = lanesOf(tm);
    const at = k.let('at', e.add(e.mul(p, a.pitch), own.row));
    return Array.from({ length: tm / lanes }, (_, i) => k.let('x', e.load(a.place, e.add(at, i * lanes), lanes))).flatMap((x) =>
      lanes === 1 ? [x] : Array.from({ length: lanes }, (_, j) => e.lane(x, j)),
    );
  };

/** Adds the products of `depth` steps, in order, to a thread's sums. */
export const products = (k: Body, t: SharedTile, own: Own, left: Left, b: SharedPanel, depth: number, sums: Sums): void =>
  k.for('p', 0, depth, 1, (p) => {
    const xs = left(p);
    const at = k.let('at', e.add(e.mul(p, b.pitch), own.column));
    const ys = Array.from({ length: t.tn / t.lanes }, (_, v) => k.let('y', e.load(b.place, e.add(at, v * across(t) * t.lanes), t.lanes)));
    sums.forEach((row, r) => {
      const x = e.splat(xs[r] as Expr, t.lanes);
      row.forEach((sum, v) => {
        const y = ys[v] as Expr;
        k.set(sum, sum.dtype === 'f32' ? e.fma(x, y, sum) : e.add(e.mul(x, y), sum));
      });
    });
  });
