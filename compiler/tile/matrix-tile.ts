/**
 * Panels of bf16 or f16 numbers in shared memory for matrix units: how they come there, and how a warp reads 16 x 16 of them. Numbers that follow one
 * another in memory do so in a line of the panel; eight of them, 16 bytes, are a chunk. Chunks of a line change places with each other by the number
 * of the line, so that the eight lines that a warp reads at once lie in different banks, and so does what it writes:
 *
 *   chunk c of line l lies at   l length + 8 (c xor s(l)),   s(l) = l mod 8   for lines of 64 numbers and longer
 *
 * Copies are asynchronous, of 16, 8 or 4 bytes, where strides allow one of these; else numbers come one by one through registers. What does not exist
 * is 0 either way.
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import type { Extent, Staged } from './shared-tile.ts';

const chunk = 8;

/** `stages` panels of width x depth numbers, one after another. */
export interface MatrixPanel {
  readonly place: e.Place;
  readonly width: number;
  readonly depth: number;
  /** Lines run along the depth, the products of a sum; else along the width, rows or columns of the result. */
  readonly deep: boolean;
  /** Numbers of one panel. */
  readonly size: number;
}

/** Width and depth are powers of two, from 16 on. */
export const matrixPanel = (
  k: Body,
  name: string,
  dtype: KMatrix,
  { width, depth, deep }: Pick<MatrixPanel, 'width' | 'depth' | 'deep'>,
  stages: number,
): MatrixPanel => {
  const size = width * depth;
  return { place: k.alloc(name, 'shared', dtype, stages * size), width, depth, deep, size };
};

const xor = (x: Expr, y: Expr): Expr => e.cast(e.binary('xor', e.cast(x, 'u32'), e.cast(y, 'u32')), 'index');
const lengthOf = ({ width, depth, deep }: MatrixPanel): number => (deep ? depth : width);
/** s(l): of lines that are shorter than the banks are wide, several share one. */
const turn = (p: MatrixPanel, line: Expr): Expr => {
  const chunks = lengthOf(p) / chunk;
  return e.rem(e.div(line, Math.max(1, 8 / chunks)), Math.min(8, chunks));
};

/** Where an operand lies: element (r, p) at start + r outer + p inner, all strides and starts multiples of `piece` along the line. */
export interface StagedMatrix extends Staged {
  readonly deep: boolean;
  /** Numbers of a copy; 1 where they come one by one. */
  readonly piece: number;
}
interface Strides {
  readonly base: number;
  readonly batch: readonly number[];
  readonly outer: number;
  readonly inner: number;
}
/** Whether lines run along the depth, and how long copies may be. */
export const linesOf = ({ base, batch, outer, inner }: Strides): Pick<StagedMatrix, 'deep' | 'piece'> => {
  const deep = Math.abs(inner) < Math.abs(outer) || (inner === 1 && outer === 1);
  const [along, between] = deep ? [inner, outer] : [outer, inner];
  const piece = along === 1 ? [8, 4, 2].find((n) => [base, between, ...batch].every((s) => s % n === 0)) : undefined;
  return { deep, piece: piece ?? 1 };
};

/** Brings a panel, all threads together, to element `to` of its place. Copies have to be waited for, and a barrier is the caller's affair in any case. */
export const stageMatrix = (k: Body, p: MatrixPanel, to: Expr, from: StagedMatrix, r: Extent, d: Extent, threads: number): void => {
  const { piece } = from;
  const length = lengthOf(p);
  const across = length / piece;
  const total = p.size / piece;
  const [lines, along] = p.deep ? [r, d] : [d, r];
  const [linesEven, alongEven] = p.deep
    ? [r.size % p.width === 0, d.size % p.depth === 0]
    : [d.size % p.depth === 0, r.size % p.width === 0];
  const one = (i: Expr): void => {
    const line = k.let('line', e.div(i, across));
    const offset = k.let('offset', e.mul(e.rem(i, across), piece));
    const goal = e.add(
      e.add(e.add(to, e.mul(line, length)), e.mul(xor(e.div(offset, chunk), turn(p, line)), chunk)),
      piece === chunk ? e.index(0) : e.rem(offset, chunk),
    );
    const [l, a] = [k.let('line', e.add(lines.first, line)), k.let('from', e.add(along.first, offset))];
    const [row, deep] = p.deep ? [l, a] : [a, l];
    const source = e.add(from.start, e.add(e.mul(row, from.outer), e.mul(deep, from.inner)));
    const inside = [...(linesEven ? [] : [e.lt(l, lines.size)]), ...(alongEven ? [] : [e.lt(a, along.size)])];
    const mask = inside.length > 0 ? inside.reduce((x, y) => e.and(x, y)) : undefined;
    if (piece === 1) {
      k.store(p.place, goal, e.load(from.place, source, 1, mask));
      return;
    }
    const some = along.size % piece === 0 ? e.index(piece) : e.min(e.sub(e.index(along.size), a), piece);
    k.copy(p.place, goal, from.place, source, piece, mask && e.select(mask, some, e.index(0)));
  };
  if (total < threads) k.if(e.lt(e.thread, total), () => one(e.thread));
  else k.for('copied', 0, total, threads, (i) => one(k.let('i', e.add(i, e.thread))), 'unroll');
};

/** Fragment `i` of this warp, of products 16 step to 16 step + 15 of the panel that starts at `start`. */
export type Fragments = (i: number, step: Expr) => Expr;

/**
 * Fragments of a panel as rows of the left factor (`x`) or columns of the right one (`y`), from `first` on, a multiple of 16. Threads name lines by two
 * patterns: of sixteen lines, then eight numbers on; and of eight lines twice, the second eight numbers on in between.
 */
export const fragmentsOf = (k: Body, p: MatrixPanel, as: 'x' | 'y', first: Expr, start: Expr): Fragments => {
  const length = lengthOf(p);
  const lane = k.let('lane', e.rem(e.thread, warp));
  const sixteen = (as === 'x') === p.deep;
  const line = k.let('line', sixteen ? e.rem(lane, 16) : e.add(e.rem(lane, 8), e.mul(e.div(lane, 16), 8)));
  const part = k.let('part', sixteen ? e.div(lane, 16) : e.rem(e.div(lane, 8), 2));
  const turned = k.let('turn', turn(p, line));
  // lines 16 apart take the same turn
  const base = k.let('base', e.add(start, e.mul(p.deep ? e.add(first, line) : line, length)));
  return (i, step) => {
    const chunks = e.add(part, p.deep ? e.mul(step, side / chunk) : e.add(e.div(first, chunk), (i * side) / chunk));
    const lines = p.deep ? e.index(i * side * length) : e.mul(step, side * length);
    return k.fragment(as, p.place, e.add(e.add(base, lines), e.mul(xor(chunks, turned), chunk)), !p.deep);
  };
};
