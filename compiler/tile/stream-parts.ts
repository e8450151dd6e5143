/**
 * The two loops that attention is made of, forward and backward, for targets of one thread a block. Rows lie in memory, one after another at
 * some stride; a panel holds `width` other rows turned, so that vectors run along them; weights are what the two make of each other.
 *
 *   weigh    weights[i][lane] = sum over d of rows[i][d] panel[d][lane]                 one broadcast and `tn` fma an element of a row
 *   mix      out[r][d..] += sum over i of weights[i, r] rows[i][d..]                    vectors of rows, broadcasts of weights
 *
 * Both keep a tile of sums in registers; all sizes are numbers, so the rows that do not fill a tile get a tile of their own. Where the target
 * adds products of bf16 pairs at once, d and i count words of two: panels, weights and the rows that are mixed then hold pairs, the last of
 * an odd number with a zero (stream-pairs.ts). Rows of halves are widened to f32 otherwise.
 */
import type { Node, Value } from '../graph/types.ts';
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { indices } from './affine.ts';
import { code } from './code.ts';
import { shapeOf } from './emit.ts';
import { pieces } from './gemm-pack-pairs.ts';
import { emitterOf, type Job } from './job.ts';
import { halfAt, pairAt } from './stream-pairs.ts';
import type { StreamSchedule } from './stream-schedule.ts';
import { operandStrides } from './strides.ts';

/** Rows in memory: element (batch b, row i, d) lies at base + sum(batch[j] b[j]) + i row + d element. */
export interface Rows {
  readonly place: e.Place;
  readonly base: number;
  readonly batch: readonly number[];
  readonly row: number;
  readonly element: number;
  readonly count: number;
  readonly width: number;
}

export const rowsOf = (job: Job, node: Node, i: number): Rows => {
  const v = node.inputs[i] as Value;
  const shape = shapeOf(v);
  const rank = shape.length;
  const s = operandStrides(
    v,
    Array.from({ length: rank - 2 }, (_, axis) => axis),
    [rank - 1],
    job.maker,
  );
  const place = s && job.place(s.root);
  if (!s || !place) throw new Error(`internal: operand ${i} of attention has no rows in memory`);
  return {
    place,
    base: s.base,
    batch: s.batch,
    row: s.outer,
    element: s.inner,
    count: shape[rank - 2] as number,
    width: shape[rank - 1] as number,
  };
};

/** The number that a value [batch.. rows] has for one row, which may be computed where it is read. */
export const rowNumber = (k: Body, job: Job, v: Value, batch: readonly Expr[], row: Expr): Expr => {
  const c = code(`${k.fresh('q')}_e`);
  const ix = indices(1);
  const [x] = c.bind([
    emitterOf(job, ix).at(
      v,
      [...batch, row].map((i, axis) => ix.atom(i, 0, (shapeOf(v)[axis] as number) - 1)),
    ),
  ]);
  k.push(...c.done());
  return x as Expr;
};

/** Zeros in an f32 array of `size` elements. */
export const zero = (k: Body, s: StreamSchedule, place: e.Place, size: number): void => {
  const whole = size - (size % s.lanes);
  k.for('z', 0, whole, s.lanes, (z) => k.store(place, z, e.f32(0, s.lanes)));
  if (whole < size) k.for('z', whole, size, 1, (z) => k.store(place, z, e.f32(0)));
};

/** `lanes` elements at `at` as f32. */
const read = (r: Rows, at: Expr, lanes = 1): Expr => e.cast(e.load(r.place, at, lanes), 'f32');
/** Word `at` of an array that holds `atOnce` numbers a word. */
const words = (s: StreamSchedule, from: e.Place, at: Expr, lanes: number): Expr => e.load(from, e.mul(at, s.atOnce), lanes * s.atOnce);
/** z plus the products of y with one word x for all lanes. */
const added = (s: StreamSchedule, x: Expr, y: Expr, z: Expr): Expr => (s.atOnce === 2 ? e.dot2(x, y, z) : e.fma(e.splat(x, y.lanes), y, z));

/**
 * Copies `width` rows from row `first` on into a panel, turned: [d][row], as words, squares of them at a time where they follow one another in
 * memory. Rows past the last repeat it. A factor is of f32 panels.
 */
export const turn = (k: Body, s: StreamSchedule, r: Rows, start: Expr, first: Expr, panel: e.Place, width: number, factor?: Expr): void =>
  k.for('i', 0, width, s.lanes, (i) => {
    const { atOnce, lanes } = s;
    const lines = Array.from({ length: lanes }, (_, c) =>
      k.let('line', e.add(start, e.mul(e.min(e.add(e.add(first, i), c), r.count - 1), r.row))),
    );
    const goal = (d: Expr): Expr => e.mul(e.add(e.mul(d, width), i), atOnce);
    const times = (x: Expr): Expr => (factor ? e.mul(x, e.splat(factor, x.lanes)) : x);
    const all = Math.floor(r.width / atOnce);
    const squares = r.element === 1 ? all - (all % lanes) : 0;
    const square = (d: Expr): void => {
      const rows = lines.map((line) =>
        k.let('s', atOnce === 2 ? e.bitcast(e.load(r.place, e.add(line, e.mul(d, 2)), 2 * lanes), 'u32') : read(r, e.add(line, d), lanes)),
      );
      e.transposed(rows, (x) => k.let('s', x)).forEach((x, j) =>
        k.store(panel, goal(e.add(d, j)), atOnce === 2 ? e.bitcast(x, 'bf16') : times(x)),
      );
    };
    const single = (d: Expr): void =>
      lines.forEach((line, c) => {
        const at = e.add(line, e.mul(d, atOnce * r.element));
        const to = k.let('to', e.add(goal(d), atOnce * c));
        k.store(panel, to, atOnce === 2 ? pairAt(r, at) : times(read(r, at)));
      });
    if (squares > 0) k.for('d', 0, squares, lanes, square);
    if (squares < all) k.for('d', squares, all, 1, single);
    if (all * atOnce < r.width)
      lines.forEach((line, c) => k.store(panel, e.add(goal(e.index(all)), 2 * c), halfAt(r, e.add(line, 2 * all * r.element))));
  });

/** Runs `tile` over 0 .. count in steps of `most`, and once more for what is left of the last step; `count` of `total` at a time. */
const tiles = (k: Body, count: Expr, total: number, step: number, most: number, tile: (i: Expr, rows: number) => void): void => {
  const part = Math.min(step, total);
  const [whole, rest] = [part - (part % most), part % most];
  const [lastWhole, lastRest] = [(total % step) - ((total % step) % most), (total % step) % most];
  if (total <= step || total % step === 0) {
    if (whole > 0) k.for('i', 0, whole, most, (i) => tile(i, most));
    if (rest > 0) tile(e.index(whole), rest);
    return;
  }
  // the last part is shorter than the others
  const end = k.let('end', e.select(e.compare('eq', count, step), e.index(whole), e.index(lastWhole)));
  k.for('i', 0, end, most, (i) => tile(i, most));
  if (rest > 0) k.if(e.compare('eq', count, step), () => tile(end, rest));
  if (lastRest > 0) k.if(e.lt(count, step), () => tile(end, lastRest));
};

export interface Weigh {
  readonly rows: Rows;
  readonly start: Expr;
  /** First row, and how many of the `step` that a part has at most. */
  readonly first: Expr;
  readonly count: Expr;
  readonly step: number;
  readonly panel: e.Place;
  /** Of the panel, in vectors. */
  readonly tn: number;
}

/** `made` gets the sums of the rows from row i of the part on, one vector after another; i is a multiple of s.tm. */
export const weigh = (k: Body, s: StreamSchedule, w: Weigh, made: (i: Expr, sums: readonly (readonly Expr[])[]) => void): void => {
  const { rows, panel, tn } = w;
  const width = tn * s.lanes;
  tiles(k, w.count, rows.count, w.step, s.tm, (i, n) => {
    const at = k.let('at', e.add(w.start, e.mul(e.add(w.first, i), rows.row)));
    const sums = Array.from({ length: n }, () => Array.from({ length: tn }, () => k.var('sum', e.f32(0, s.lanes))));
    const step = (d: Expr, word: (r: Rows, at: Expr) => Expr): void => {
      const ys = Array.from({ length: tn }, (_, v) => k.let('y', words(s, panel, e.add(e.mul(d, width), v * s.lanes), s.lanes)));
      const line = k.let('line', e.add(at, e.mul(d, s.atOnce * rows.element)));
      sums.forEach((row, r) => {
        const x = k.let('x', word(rows, e.add(line, r * rows.row)));
        row.forEach((sum, v) => k.set(sum, added(s, x, ys[v] as Expr, sum)));
      });
    };
    const whole = Math.floor(rows.width / s.atOnce);
    if (whole > 0) k.for('d', 0, whole, 1, (d) => step(d, s.atOnce === 2 ? pairAt : read));
    if (whole * s.atOnce < rows.width) step(e.index(whole), halfAt);
    made(i, sums);
  });
};

/** The pieces that cover `width` elements, up to `vectors` of one length together. */
const groups = (
  width: number,
  lanes: number,
  vectors: number,
): readonly { readonly from: number; readonly lanes: number; readonly n: number }[] => {
  const out: { from: number; lanes: number; n: number }[] = [];
  for (const [from, l] of pieces(width, lanes)) {
    const last = out.at(-1);
    if (last && last.lanes === l && last.n < vectors) last.n++;
    else out.push({ from, lanes: l, n: 1 });
  }
  return out;
};

export interface Mix {
  /** What is mixed; pairs of rows are rows of pairs, twice as long. */
  readonly rows: Rows;
  readonly start: Expr;
  readonly first: Expr;
  /** Rows that are summed. */
  readonly count: Expr;
  readonly weights: e.Place;
  /** Word weights[i, r] is word i * across + r * down. */
  readonly across: number;
  readonly down: number;
  /** Results: [r][d] from `to` on, `results` of them, of which `step` are made at a time at most. */
  readonly into: e.Place;
  readonly to: Expr;
  readonly results: Expr;
  readonly total: number;
  readonly step: number;
  /** Whether into holds sums already, and what each row of them is multiplied by first. */
  readonly keep: boolean;
  readonly factor?: (r: Expr) => Expr;
}

export const mix = (k: Body, s: StreamSchedule, m: Mix): void => {
  const { rows } = m;
  const width = rows.width / s.atOnce;
  for (const piece of groups(width, rows.element === 1 ? s.lanes : 1, 4))
    tiles(k, m.results, m.total, m.step, s.tr, (r0, n) => {
      const goal = k.let('goal', e.add(m.to, e.mul(r0, width)));
      const at = (r: number, v: number): Expr => e.add(goal, r * width + piece.from + v * piece.lanes);
      const sums = Array.from({ length: n }, (_, r) => {
        const factor = m.keep && m.factor ? k.let('factor', m.factor(e.add(r0, r))) : undefined;
        return Array.from({ length: piece.n }, (_, v) => {
          const before = m.keep ? e.load(m.into, at(r, v), piece.lanes) : e.f32(0, piece.lanes);
          return k.var('sum', factor ? e.mul(before, e.splat(factor, piece.lanes)) : before);
        });
      });
      const own = k.let('own', e.mul(r0, m.down));
      k.for('i', 0, m.count, 1, (i) => {
        const line = k.let('line', e.add(m.start, e.mul(e.add(m.first, i), rows.row)));
        const xs = Array.from({ length: piece.n }, (_, v) => {
          const x = e.add(line, (piece.from + v * piece.lanes) * s.atOnce * rows.element);
          return k.let('x', s.atOnce === 2 ? e.load(rows.place, x, 2 * piece.lanes) : read(rows, x, piece.lanes));
        });
        const weight = k.let('weight', e.add(own, e.mul(i, m.across)));
        sums.forEach((row, r) => {
          const w = k.let('w', words(s, m.weights, e.add(weight, r * m.down), 1));
          row.forEach((sum, v) => k.set(sum, added(s, w, xs[v] as Expr, sum)));
        });
      });
      sums.forEach((row, r) => row.forEach((sum, v) => k.store(m.into, at(r, v), sum)));
    });
};
