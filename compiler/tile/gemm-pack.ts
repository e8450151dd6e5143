/**
 * Packing: a panel of an operand is copied into a small array of the block, converted to the accumulator's type, so that
 * the micro-kernel reads consecutive memory whatever the operand's strides are. Rows and columns past the edge repeat the
 * last one: their sums are made and never stored, so the micro-kernel needs no masks.
 *
 *   panel of a:  [row][k] when k is the unit stride, else [k][row]        panel of b:  [k][column], one vector strip after another
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import type { GemmSchedule } from './gemm-schedule.ts';
import type { GemmOperand, GemmSpec } from './gemm-spec.ts';

/** What packing one panel needs to know: where it starts and how many products it holds. */
export interface Panel {
  readonly spec: GemmSpec;
  readonly schedule: GemmSchedule;
  /** Offset of the operand's batch element. */
  readonly start: Expr;
  /** First product, and how many: at most bk. */
  readonly from: Expr;
  readonly depth: Expr;
}

export interface PackedA {
  readonly panel: e.Place;
  /** Address of (first row of the register tile, row of it, product) in the panel. */
  readonly at: (i: Expr, row: number, p: Expr) => Expr;
  /** Emits the copy of all rows of the block, where they are copied at once. */
  readonly packBlock: (rows: Expr) => void;
  /** Emits the copy of the rows i .. i + tm - 1 of the block otherwise. */
  readonly packTile: (i: Expr) => void;
}

/** A memory line of a holds rows, so that its panel holds all rows of the block: else those of one register tile. */
const spansRows = (a: GemmOperand): boolean => a.outer === 1 && a.inner !== 1;
/** Products whose rows are packed together. */
const chunk = 16;
/** Elements from one register tile to the next in a panel that holds all: the last product may write a whole vector. */
const tileOfA = (s: Pick<GemmSchedule, 'tm' | 'bk' | 'lanes'>): number => up(s.tm * (s.bk - 1) + up(s.tm, s.lanes), 16);
/** Elements of the panel of a. */
export const sizeOfA = (a: GemmOperand, s: GemmSchedule): number => (spansRows(a) ? (s.bm / s.tm) * tileOfA(s) : s.tm * s.bk);
export const rowsOfPanel = (a: GemmOperand, s: Pick<GemmSchedule, 'bm' | 'tm'>): number => (spansRows(a) ? s.bm : s.tm);

/**
 * Products from one strip of b to the next: one more than a panel holds. Copies along the columns write to all strips by turns, and strips that
 * lie a multiple of 4 KiB apart would meet in one set of the nearest cache.
 */
export const pitchOfB = (s: Pick<GemmSchedule, 'bk'>): number => s.bk + 1;

const read = (o: GemmOperand, acc: GemmSpec['acc'], at: Expr, lanes: number): Expr =>
  e.cast(e.load({ name: o.buffer, dtype: o.dtype }, at, lanes), acc);
const clamped = (x: Expr, size: number, exact: boolean): Expr => (exact ? x : e.min(x, size - 1));
const pointer = (k: Body, p: Panel, o: GemmOperand): Expr => k.let('first', e.add(p.start, e.mul(p.from, o.inner)));

/** Runs `copy` over 0 .. count in steps of `lanes`, then one by one. */
const strips = (k: Body, count: Expr, lanes: number, exact: boolean, copy: (i: Expr, lanes: number) => void): void => {
  const whole = exact || lanes === 1 ? count : k.let('whole', e.mul(e.div(count, lanes), lanes));
  k.for('q', 0, whole, lanes, (i) => copy(i, lanes));
  if (whole !== count) k.for('q', whole, count, 1, (i) => copy(i, 1));
};

export const packA = (k: Body, p: Panel, top: Expr, panel: e.Place): PackedA => {
  const { a: o, acc, m } = p.spec;
  const { tm, bk, lanes } = p.schedule;
  const exact = m % tm === 0;
  const nothing = (): void => {};
  if (!spansRows(o))
    return {
      panel,
      at: (_i, row, q) => e.add(q, row * bk),
      packBlock: nothing,
      packTile: (i) => {
        const origin = pointer(k, p, o);
        k.for('r', 0, tm, 1, (r) => {
          const line = k.let('line', e.add(origin, e.mul(clamped(e.add(e.add(top, i), r), m, exact), o.outer)));
          const goal = k.let('goal', e.mul(r, bk));
          const wide = o.inner === 1 ? lanes : 1;
          strips(k, p.depth, wide, p.spec.k % bk === 0 && bk % wide === 0, (q, w) =>
            k.store(panel, e.add(goal, q), read(o, acc, e.add(line, e.mul(q, o.inner)), w)),
          );
        });
      },
    };
  const stride = tileOfA(p.schedule);
  const goalOf = (i: Expr): Expr => e.mul(e.div(i, tm), stride);
  return {
    panel,
    at: (i, row, q) => e.add(e.add(goalOf(i), e.mul(q, tm)), row),
    packTile: nothing,
    packBlock: (rows) => {
      const origin = pointer(k, p, o);
      // a few products of all tiles, then the next few: both the reads and the writes stay within some lines at a time
      k.for('q0', 0, p.depth, chunk, (q0) => {
        const last = p.spec.k % chunk === 0 && bk % chunk === 0 ? e.add(q0, chunk) : k.let('q1', e.min(e.add(q0, chunk), p.depth));
        k.for('i', 0, rows, tm, (i) => {
          const goal = k.let('goal', goalOf(i));
          const first = k.let('row', e.add(top, i));
          const from = (q: Expr): Expr => e.add(e.add(origin, e.mul(q, o.inner)), first);
          const whole = (q: Expr): void => {
            // a vector may be longer than the rows of the tile: what it writes too much is written again by the next product
            for (let r = 0; r < tm; r += lanes) k.store(panel, e.add(e.add(goal, e.mul(q, tm)), r), read(o, acc, e.add(from(q), r), lanes));
          };
          const single = (q: Expr): void =>
            k.for('r', 0, tm, 1, (r) => {
              const row = clamped(e.add(first, r), m, exact);
              k.store(panel, e.add(e.add(goal, e.mul(q, tm)), r), read(o, acc, e.add(e.add(origin, e.mul(q, o.inner)), row), 1));
            });
          const each = (copy: (q: Expr) => void) => (): void => k.for('q', q0, last, 1, copy);
          if (m % up(tm, lanes) === 0 && up(tm, lanes) === tm) each(whole)();
          else k.if(e.compare('le', e.add(first, up(tm, lanes)), m), each(whole), each(single));
        });
      });
    },
  };
};

export interface PackedB {
  readonly panel: e.Place;
  /** Address of (first column of the strip, vector of the strip, product) in the panel. */
  readonly at: (strip: Expr, vector: number, i: Expr) => Expr;
}

/** Emits the copy of the columns first .. first + bn - 1. */
export const packB = (k: Body, p: Panel, first: Expr, panel: e.Place): PackedB => {
  const { b: o, acc, n } = p.spec;
  const { tn, bk, bn, lanes } = p.schedule;
  const pitch = pitchOfB(p.schedule);
  const width = tn * lanes;
  const exact = n % bn === 0;
  const origin = pointer(k, p, o);
  const end = exact ? e.index(bn) : k.let('columns', e.min(bn, e.sub(e.index(up(n, width)), first)));
  const row = (goal: Expr, i: Expr): Expr => e.add(goal, e.mul(i, width));
  /** Product i of the columns from `column` on, each clamped: a gather. */
  const turn = (goal: Expr, column: Expr, i: Expr): void => {
    const lines = e.mul(clamped(e.ramp(column, lanes), n, exact), o.outer);
    k.store(panel, row(goal, i), read(o, acc, e.add(e.add(origin, e.mul(i, o.inner)), lines), lanes));
  };
  if (o.outer === 1) {
    // along the rows of b: one long run of memory after another
    k.for('q', 0, p.depth, 1, (i) => {
      const line = k.let('line', e.add(origin, e.mul(i, o.inner)));
      k.for('strip', 0, end, width, (s) => {
        for (let v = 0; v < width; v += lanes) {
          const goal = e.add(e.mul(s, pitch), v);
          const column = e.add(first, e.add(s, v));
          const copy = (): void => k.store(panel, row(goal, i), read(o, acc, e.add(line, column), lanes));
          if (exact) copy();
          else k.if(e.compare('le', e.add(column, lanes), n), copy, () => turn(goal, column, i));
        }
      });
    });
  } else {
    k.for('strip', 0, end, width, (s) => {
      k.for('v', 0, width, lanes, (v) => {
        const goal = k.let('goal', e.add(e.mul(s, pitch), v));
        const column = k.let('column', e.add(first, e.add(s, v)));
        // columns are a constant apart: one address and fixed distances are cheaper than a gather
        const start = k.let('start', e.add(origin, e.mul(column, o.outer)));
        const move = (i: Expr): void => {
          const from = k.let('from', e.add(start, e.mul(i, o.inner)));
          for (let c = 0; c < lanes; c++) k.store(panel, e.add(row(goal, i), c), read(o, acc, e.add(from, c * o.outer), 1));
        };
        const square = (i: Expr): void => {
          const from = k.let('from', e.add(start, i));
          const rows = Array.from({ length: lanes }, (_, c) => k.let('s', read(o, acc, e.add(from, c * o.outer), lanes)));
          e.transposed(rows, (x) => k.let('s', x)).forEach((x, c) => k.store(panel, row(goal, e.add(i, c)), x));
        };
        const whole = (): void =>
          o.inner === 1
            ? strips(k, p.depth, lanes, p.spec.k % bk === 0 && bk % lanes === 0, (i, w) => (w === 1 ? move(i) : square(i)))
            : k.for('q', 0, p.depth, 1, move);
        if (exact) whole();
        else k.if(e.compare('le', e.add(column, lanes), n), whole, () => k.for('q', 0, p.depth, 1, (i) => turn(goal, column, i)));
      });
    });
  }
  return { panel, at: (strip, vector, i) => e.add(row(e.mul(strip, pitch), i), vector * lanes) };
};

/** Most lines asked for beside one product: the loads that a micro-kernel leaves room for. */
const mostHints = 4;

/** Columns of the next panel of b that each register tile of a block asks for; 0 where many share the copy, or none is due. */
export const hintsOfB = (b: GemmOperand, { bm, tm, tn, lanes }: Pick<GemmSchedule, 'bm' | 'tm' | 'tn' | 'lanes'>): number => {
  const columns = Math.ceil((tn * lanes * tm) / bm);
  return b.inner === 1 && b.outer !== 1 && bm <= 16 * tm && columns <= 2 * mostHints ? columns : 0;
};

/**
 * Asks, while the micro-kernel of tile (i, j) runs, for a part of what is packed next: the rows of a that the next register
 * tile needs, shared out over the strips, and the columns of b that the next panel needs, shared out over the register tiles.
 * Only along k, where a long run of memory per row or column is more than hardware follows. Returns the hints of one product.
 */
export const ahead = (k: Body, a: Panel, b: Panel, top: Expr, left: Expr, i: Expr, j: Expr): ((q: Expr) => void) => {
  const { spec, schedule } = a;
  const { tm, tn, lanes, bn, bk } = schedule;
  const width = tn * lanes;
  const hints: ((q: Expr) => void)[] = [];
  const follow = (p: Panel, o: GemmOperand, from: Expr, line: Expr, count: number): void => {
    const first = k.let('next', e.add(e.add(p.start, from), e.mul(line, o.outer)));
    hints.push((q) => {
      for (let h = 0; h < count; h++) k.prefetch({ name: o.buffer, dtype: o.dtype }, e.add(e.add(first, h * o.outer), q));
    });
  };
  const strips = bn / width;
  const share = Math.ceil(tm / strips);
  if (spec.a.inner === 1 && share <= mostHints)
    follow(a, spec.a, a.from, e.add(e.add(top, i), e.add(e.mul(e.div(j, width), share), tm)), share);
  const columns = hintsOfB(spec.b, schedule);
  if (columns > 0) {
    const more = bk < spec.k;
    follow(
      b,
      spec.b,
      more ? e.add(b.from, bk) : e.index(0),
      e.add(e.add(left, more ? 0 : bn), e.add(j, e.mul(e.div(i, tm), columns))),
      columns,
    );
  }
  return (q) => hints.forEach((hint) => hint(q));
};

const up = (x: number, to: number): number => Math.ceil(x / to) * to;
