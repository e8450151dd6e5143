/**
 * The two loops that attention is made of, forward and backward, for targets of one thread a block. Rows lie in memory, one after another at
 * some stride; a panel holds `width` other rows turned, so that vectors run along them; weights are what the two make of each other.
 *
 *   weigh    weights[i][lane] = sum over d of rows[i][d] panel[d][lane]                 one broadcast and `tn` fma an element of a row
 *   mix      out[r][d..] += sum over i of weights[i, r] rows[i][d..]                    vectors of rows, broadcasts of weights
 *
 * Both keep a tile of sums in registers; all sizes are numbers, so the rows that do not fill a tile get a tile of their own.
 */
import type { Node, Value } from '../graph/types.ts';
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import type { Target } from '../target.ts';
import { shapeOf } from './emit.ts';
import type { Job } from './job.ts';
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

export interface StreamSchedule {
  readonly lanes: number;
  /** Vectors that a panel is wide; 1 for the panel that is left where its rows fill no more. */
  readonly tn: number;
  /** Rows of a tile of `weigh`, and of one of `mix`, which has as many vectors of d as registers allow. */
  readonly tm: number;
  readonly tr: number;
  /** Rows that are weighed before they are mixed. */
  readonly rows: number;
}

export const streamSchedule = (target: Target, lined: number): StreamSchedule => {
  const widest = Math.max(1, 2 ** Math.floor(Math.log2(target.vectorBytes / 4)));
  const lanes = Math.min(widest, 2 ** Math.ceil(Math.log2(Math.max(1, lined))));
  const tn = lined > lanes ? 2 : 1;
  const tm = Math.max(1, Math.min(12, Math.floor((target.registers - tn - 3) / tn)));
  return { lanes, tn, tm, tr: 4, rows: tm * Math.max(1, Math.floor(96 / tm)) };
};

/** Where the rows of a batch element start. */
export const startOf = (k: Body, r: Rows, batch: readonly Expr[]): Expr =>
  k.let(
    'start',
    batch.reduce((at, i, j) => e.add(at, e.mul(i, r.batch[j] as number)), e.index(r.base)),
  );

/** Copies `width` rows from row `first` on into a panel, turned: [d][row]. Rows past the last repeat it. */
export const turn = (k: Body, r: Rows, start: Expr, first: Expr, panel: e.Place, width: number, factor?: Expr): void =>
  k.for('r', 0, width, 1, (i) => {
    const line = k.let('line', e.add(start, e.mul(e.min(e.add(first, i), r.count - 1), r.row)));
    k.for('d', 0, r.width, 1, (d) => {
      const x = e.load(r.place, e.add(line, e.mul(d, r.element)));
      k.store(panel, e.add(e.mul(d, width), i), factor ? e.mul(x, factor) : x);
    });
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

/** `made` gets the sums of row i of the part, one vector after another. */
export const weigh = (k: Body, s: StreamSchedule, w: Weigh, made: (i: Expr, sums: readonly Expr[]) => void): void => {
  const { rows, panel, tn } = w;
  const width = tn * s.lanes;
  tiles(k, w.count, rows.count, w.step, s.tm, (i, n) => {
    const at = k.let('at', e.add(w.start, e.mul(e.add(w.first, i), rows.row)));
    const sums = Array.from({ length: n }, () => Array.from({ length: tn }, () => k.var('sum', e.f32(0, s.lanes))));
    k.for('d', 0, rows.width, 1, (d) => {
      const ys = Array.from({ length: tn }, (_, v) => k.let('y', e.load(panel, e.add(e.mul(d, width), v * s.lanes), s.lanes)));
      const line = k.let('line', e.add(at, e.mul(d, rows.element)));
      sums.forEach((row, r) => {
        const x = k.let('x', e.splat(e.load(rows.place, e.add(line, r * rows.row)), s.lanes));
        row.forEach((sum, v) => k.set(sum, e.fma(x, ys[v] as Expr, sum)));
      });
    });
    sums.forEach((row, r) => made(e.add(i, r), row));
  });
};

/** Pieces that cover `width` elements: as many vectors as fit, then shorter ones. */
const pieces = (
  width: number,
  lanes: number,
  vectors: number,
): readonly { readonly from: number; readonly lanes: number; readonly n: number }[] => {
  const out: { from: number; lanes: number; n: number }[] = [];
  for (let from = 0, l = lanes; from < width; ) {
    while (from + l > width) l /= 2;
    const n = Math.min(vectors, Math.floor((width - from) / l));
    out.push({ from, lanes: l, n });
    from += n * l;
  }
  return out;
};

export interface Mix {
  readonly rows: Rows;
  readonly start: Expr;
  readonly first: Expr;
  /** Rows that are summed. */
  readonly count: Expr;
  readonly weights: e.Place;
  /** weights[i, r] lies at i * across + r * down. */
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
  for (const piece of pieces(rows.width, rows.element === 1 ? s.lanes : 1, 4))
    tiles(k, m.results, m.total, m.step, s.tr, (r0, n) => {
      const goal = k.let('goal', e.add(m.to, e.mul(r0, rows.width)));
      const at = (r: number, v: number): Expr => e.add(goal, r * rows.width + piece.from + v * piece.lanes);
      const sums = Array.from({ length: n }, (_, r) => {
        const factor = m.keep && m.factor ? k.let('factor', m.factor(e.add(r0, r))) : undefined;
        return Array.from({ length: piece.n }, (_, v) => {
          const before = m.keep ? e.load(m.into, at(r, v), piece.lanes) : e.f32(0, piece.lanes);
          return k.var('sum', factor ? e.mul(before, e.splat(factor, piece.lanes)) : before);
        });
      });
      const own = k.let('own', e.mul(r0, m.down));
      k.for('i', 0, m.count, 1, (i) => {
        const line = k.let('line', e.add(e.add(m.start, piece.from * rows.element), e.mul(e.add(m.first, i), rows.row)));
        const xs = Array.from({ length: piece.n }, (_, v) =>
          k.let('x', e.load(rows.place, e.add(line, v * piece.lanes * rows.element), piece.lanes)),
        );
        const weight = k.let('weight', e.add(own, e.mul(i, m.across)));
        sums.forEach((row, r) => {
          const w = k.let('w', e.splat(e.load(m.weights, e.add(weight, r * m.down)), piece.lanes));
          row.forEach((sum, v) => k.set(sum, e.fma(w, xs[v] as Expr, sum)));
        });
      });
      sums.forEach((row, r) => row.forEach((sum, v) => k.store(m.into, at(r, v), sum)));
    });
};
