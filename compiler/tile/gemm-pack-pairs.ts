/**
 * Packing of bf16 operands for `dot2`: two products that follow one another are one word of 32 bits, so a panel is that of gemm-pack.ts
 * with words for numbers, and the micro-kernel that of pairs. All counts along k are counts of words; the last word of an odd k has a
 * zero for its second product, on both sides.
 *
 *   k consecutive (x w'):   words lie in memory as they are; the panel of b turns squares of them
 *   columns consecutive:    rows 2p and 2p + 1 of b, lane by lane: zip
 *
 *   panel of b, columns c, products k:     k0c0 k1c0  k0c1 k1c1  ..  |  k2c0 k3c0  k2c1 k3c1  ..
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type PackedA, type PackedB, type Panel, pitchOfB } from './gemm-pack.ts';
import type { GemmOperand } from './gemm-spec.ts';

const up = (x: number, to: number): number => Math.ceil(x / to) * to;
const clamped = (x: Expr, size: number, exact: boolean): Expr => (exact ? x : e.min(x, size - 1));
const read = (o: GemmOperand, at: Expr, lanes: number): Expr => e.load({ name: o.buffer, dtype: o.dtype }, at, lanes);
const word = (x: Expr): Expr => e.mul(x, 2);
export const nothing: Expr = e.constant(0, 'bf16');

/** Runs `whole` over the words of a panel that hold two products, in steps of `lanes` where it can, and `half` for the last one of an odd k. */
const words = (k: Body, p: Panel, lanes: number, whole: (q: Expr, lanes: number) => void, half: (q: Expr) => void): void => {
  const odd = p.spec.k % 2 === 1;
  const full = odd ? k.let('full', e.min(p.depth, e.sub(e.index((p.spec.k - 1) / 2), p.from))) : p.depth;
  const exact = lanes === 1 || (full.k === 'const' && full.value % lanes === 0);
  const wide = exact ? full : k.let('wide', e.mul(e.div(full, lanes), lanes));
  k.for('q', 0, wide, lanes, (q) => whole(q, lanes));
  if (!exact) k.for('q', wide, full, 1, (q) => whole(q, 1));
  if (odd) k.if(e.lt(full, p.depth), () => half(full));
};

/** Sizes of vectors that fill n lanes: powers of two, the largest first, none above `most`. */
export const pieces = (n: number, most: number): readonly (readonly [from: number, lanes: number])[] => {
  const out: (readonly [number, number])[] = [];
  for (let from = 0; from < n; ) {
    const lanes = Math.min(most, 2 ** Math.floor(Math.log2(n - from)));
    out.push([from, lanes]);
    from += lanes;
  }
  return out;
};

/** Stores words from `goal`, counted in words, on: lane by lane one product of x, one of y. */
export const storeZipped = (k: Body, panel: e.Place, goal: Expr, x: Expr, y: Expr): void => {
  const at = word(goal);
  if (x.lanes === 1) {
    k.store(panel, at, x);
    k.store(panel, e.add(at, 1), y);
    return;
  }
  const [first, second] = [k.let('x', x), k.let('y', y)];
  k.store(panel, at, e.zip('low', first, second));
  k.store(panel, e.add(at, x.lanes), e.zip('high', first, second));
};

/** Stores the word of one product and of the one behind it, which an odd k may lack. */
const storeOne = (k: Body, panel: e.Place, goal: Expr, o: GemmOperand, at: Expr, second: boolean): void => {
  if (second && o.inner === 1) k.store(panel, word(goal), read(o, at, 2));
  else storeZipped(k, panel, goal, read(o, at, 1), second ? read(o, e.add(at, o.inner), 1) : nothing);
};

export const packPairsA = (k: Body, p: Panel, top: Expr, panel: e.Place): PackedA => {
  const { a: o, m } = p.spec;
  const { tm, bk, lanes } = p.schedule;
  const exact = m % tm === 0;
  const first = (): Expr => k.let('first', e.add(p.start, word(e.mul(p.from, o.inner))));
  const product = (at: Expr, q: Expr): Expr => e.add(at, word(e.mul(q, o.inner)));
  if (o.outer !== 1 || o.inner === 1)
    return {
      panel,
      at: (_i, row, q) => e.add(q, row * bk),
      packBlock: () => {},
      packTile: (i) => {
        const origin = first();
        k.for('r', 0, tm, 1, (r) => {
          const line = k.let('line', e.add(origin, e.mul(clamped(e.add(e.add(top, i), r), m, exact), o.outer)));
          const goal = k.let('goal', e.mul(r, bk));
          words(
            k,
            p,
            o.inner === 1 ? lanes : 1,
            (q, n) =>
              n > 1
                ? k.store(panel, word(e.add(goal, q)), read(o, product(line, q), 2 * n))
                : storeOne(k, panel, e.add(goal, q), o, product(line, q), true),
            (q) => storeOne(k, panel, e.add(goal, q), o, product(line, q), false),
          );
        });
      },
    };
  return {
    panel,
    at: (i, row, q) => e.add(e.add(e.mul(i, bk), e.mul(q, tm)), row),
    packTile: () => {},
    packBlock: (rows) => {
      const origin = first();
      const copy = (q: Expr, second: boolean): void => {
        const line = k.let('line', product(origin, q));
        k.for('i', 0, rows, tm, (i) => {
          const goal = k.let('goal', e.add(e.mul(i, bk), e.mul(q, tm)));
          const row = k.let('row', e.add(top, i));
          const move = (at: Expr, r: number, n: number): void => {
            const from = e.add(line, at);
            storeZipped(k, panel, e.add(goal, r), read(o, from, n), second ? read(o, e.add(from, o.inner), n) : e.splat(nothing, n));
          };
          const together = (): void => {
            for (const [r, n] of pieces(tm, 2 * lanes)) move(e.add(row, r), r, n);
          };
          const alone = (): void => {
            for (let r = 0; r < tm; r++) move(clamped(e.add(row, r), m, exact), r, 1);
          };
          if (exact) together();
          else k.if(e.compare('le', e.add(row, tm), m), together, alone);
        });
      };
      words(
        k,
        p,
        1,
        (q) => copy(q, true),
        (q) => copy(q, false),
      );
    },
  };
};

/** Emits the copy of the columns first .. first + bn - 1. */
export const packPairsB = (k: Body, p: Panel, first: Expr, panel: e.Place): PackedB => {
  const { b: o, n } = p.spec;
  const { tn, bn, lanes } = p.schedule;
  const pitch = pitchOfB(p.schedule);
  const width = tn * lanes;
  const exact = n % bn === 0;
  const origin = k.let('first', e.add(p.start, word(e.mul(p.from, o.inner))));
  const end = exact ? e.index(bn) : k.let('columns', e.min(bn, e.sub(e.index(up(n, width)), first)));
  const row = (goal: Expr, q: Expr): Expr => e.add(goal, e.mul(q, width));
  const product = (at: Expr, q: Expr): Expr => e.add(at, word(e.mul(q, o.inner)));
  /** Word q of columns from `column` on, past the last one the last: element by element. */
  const turn = (goal: Expr, column: Expr, q: Expr, count: number, second: boolean): void => {
    for (let c = 0; c < count; c++) {
      const at = e.add(product(origin, q), e.mul(clamped(e.add(column, c), n, exact), o.outer));
      storeOne(k, panel, e.add(row(goal, q), c), o, at, second);
    }
  };
  const within = (column: Expr, count: number, then: () => void, otherwise: () => void): void => {
    if (exact) then();
    else k.if(e.compare('le', e.add(column, count), n), then, otherwise);
  };
  if (o.outer === 1) {
    const copy = (q: Expr, second: boolean): void => {
      const line = k.let('line', product(origin, q));
      k.for('strip', 0, end, width, (s) => {
        for (const [v, count] of pieces(width, 2 * lanes)) {
          const goal = e.add(e.mul(s, pitch), v);
          const column = e.add(first, e.add(s, v));
          const from = e.add(line, column);
          const together = (): void =>
            storeZipped(
              k,
              panel,
              row(goal, q),
              read(o, from, count),
              second ? read(o, e.add(from, o.inner), count) : e.splat(nothing, count),
            );
          within(column, count, together, () => turn(goal, column, q, count, second));
        }
      });
    };
    words(
      k,
      p,
      1,
      (q) => copy(q, true),
      (q) => copy(q, false),
    );
  } else
    k.for('strip', 0, end, width, (s) => {
      k.for('v', 0, width, lanes, (v) => {
        const goal = k.let('goal', e.add(e.mul(s, pitch), v));
        const column = k.let('column', e.add(first, e.add(s, v)));
        const start = k.let('start', e.add(origin, e.mul(column, o.outer)));
        const square = (q: Expr): void => {
          const from = k.let('from', product(start, q));
          const rows = Array.from({ length: lanes }, (_, c) => k.let('s', e.bitcast(read(o, e.add(from, c * o.outer), 2 * lanes), 'u32')));
          e.transposed(rows, (x) => k.let('s', x)).forEach((x, i) => k.store(panel, word(row(goal, e.add(q, i))), e.bitcast(x, 'bf16')));
        };
        const move = (q: Expr, second: boolean): void => {
          const from = k.let('from', product(start, q));
          for (let c = 0; c < lanes; c++) storeOne(k, panel, e.add(row(goal, q), c), o, e.add(from, c * o.outer), second);
        };
        const whole = (): void =>
          words(
            k,
            p,
            o.inner === 1 ? lanes : 1,
            (q, count) => (count > 1 ? square(q) : move(q, true)),
            (q) => move(q, false),
          );
        const edge = (): void =>
          words(
            k,
            p,
            1,
            (q) => turn(goal, column, q, lanes, true),
            (q) => turn(goal, column, q, lanes, false),
          );
        within(column, lanes, whole, edge);
      });
    });
  return { panel, at: (strip, vector, q) => e.add(row(e.mul(strip, pitch), q), vector * lanes) };
};
