/**
 * Panels of bf16 or f16 numbers that warp groups multiply (kernel/wgmma.ts), fetched as boxes of the tensor that an operand is: lines of 64 numbers that follow
 * one another in memory, along what is summed (`deep`) or along rows. Boxes need starts and strides of multiples of 16 bytes. What is not there is 0.
 */
import type { Body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import { side } from '../kernel/matrix.ts';
import type { Expr, KLines, KMatrix, KPhase } from '../kernel/types.ts';
import { lineLength } from '../kernel/wgmma.ts';
import { linesOf } from './matrix-tile.ts';

/** Of a thread that fetches, and of one that multiplies beside another warp group that does: together all that a processor has. */
export const groupRegisters = { fetches: 24, multiplies: 240 } as const;

/** Element (batch i0 i1 .., r, p) lies at base + sum(batch[j] * ij) + r * outer + p * inner. */
export interface Fetched {
  readonly base: number;
  readonly batch: readonly number[];
  readonly outer: number;
  readonly inner: number;
}
/** How many there are of r and p, and along the axes of the batch. */
export interface Extents {
  readonly rows: number;
  readonly depth: number;
  readonly batch: readonly number[];
}

/** Axes of the batch along which an operand differs. */
const batchAxes = (o: Fetched, batch: readonly number[]): readonly number[] =>
  batch.flatMap((d, i) => (d > 1 && o.batch[i] !== 0 ? [i] : []));

/** Whether boxes of an operand can be fetched: of so many axes, lines that begin at multiples of 16 bytes, and do not overlap. */
export const canFetch = (o: Fetched, { rows, depth, batch }: Extents): boolean => {
  const { deep, piece } = linesOf(o);
  const [length, count, stride] = deep ? [depth, rows, o.outer] : [rows, depth, o.inner];
  return piece * 2 === 16 && batchAxes(o, batch).length <= 3 && (count === 1 || stride >= length);
};

export interface GroupPanel {
  readonly place: e.Place;
  readonly tensor: e.Place;
  /** Lines run along the products of a sum. */
  readonly deep: boolean;
  /** Rows of one panel, of 64 products. */
  readonly width: number;
  /** Numbers of one panel. */
  readonly size: number;
  /** The operand's part of this element of the batch, as indices of the tensor's last axes. */
  readonly batch: readonly Expr[];
}

/** `stages` panels of `width` rows: at most 256; a multiple of 64 unless lines are deep. */
export const groupPanel = (
  k: Body,
  name: string,
  from: Fetched & { readonly buffer: string; readonly dtype: KMatrix },
  there: Extents,
  at: readonly Expr[],
  width: number,
  stages: number,
): GroupPanel => {
  const { deep } = linesOf(from);
  const axes = batchAxes(from, there.batch);
  const [along, across] = deep ? [there.depth, there.rows] : [there.rows, there.depth];
  const stride = deep ? from.outer : from.inner;
  const tensor = k.tensorMap(`${name}Tensor`, { name: from.buffer, dtype: from.dtype }, from.base, [
    { size: along, stride: 1, box: lineLength },
    { size: across, stride: across === 1 ? Math.ceil(along / 8) * 8 : stride, box: deep ? width : lineLength },
    ...axes.map((i) => ({ size: there.batch[i] as number, stride: from.batch[i] as number, box: 1 })),
  ]);
  const size = width * lineLength;
  const place = k.alloc(name, 'shared', from.dtype, stages * size);
  return { place, tensor, deep, width, size, batch: axes.map((i) => at[i] as Expr) };
};

/** One thread begins to fetch the panel of rows from `row` and products from `product` on to place `slot`. */
export const fetchPanel = (k: Body, p: GroupPanel, slot: Expr, row: Expr, product: Expr, on: KPhase): void => {
  const start = k.let('start', e.mul(slot, p.size));
  if (p.deep) {
    k.fetch(p.place, start, p.tensor, [product, row, ...p.batch], on);
    return;
  }
  for (let i = 0; i < p.width; i += lineLength)
    k.fetch(p.place, e.add(start, i * lineLength), p.tensor, [e.add(row, i), product, ...p.batch], on);
};

/** Products 16 step to 16 step + 15 of the panel in `slot`, of its rows from `row` on, a multiple of 64. */
export const linesIn = (p: GroupPanel, slot: Expr, row: Expr, step: Expr): KLines => {
  const start = e.add(e.mul(slot, p.size), e.mul(row, lineLength));
  const index = e.add(start, e.mul(step, p.deep ? side : side * lineLength));
  return { from: p.place.name, index, turned: !p.deep, apart: p.deep ? 0 : lineLength * lineLength };
};
