/**
 * Positions for another grid than the one they were learned on. Bicubic resampling is linear in the table, so one axis is one
 * small constant matrix R [to, from], computed here in float64, and the whole is Ry . table . Rx^T: two matrix products that
 * any backend runs and differentiates.
 *
 * Two variants, as in the published models. Classic models widen the target by an offset of 0.1 (a guard against rounding that
 * became part of the model) and take four taps with coefficient -0.75. Register models have no offset and an antialiased kernel
 * with coefficient -0.5, stretched when the grid shrinks, its weights renormalised at the border.
 *
 *   resampleMatrix(37, 16, { offset: 0.1, antialias: false })  ->  [16, 37], four weights a row
 */
export interface Interpolation {
  readonly offset: number;
  readonly antialias: boolean;
}

/** Keys' cubic convolution kernel; `a` is its slope at 1. */
const cubic =
  (a: number) =>
  (x: number): number => {
    const t = Math.abs(x);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    if (t < 2) return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
    return 0;
  };

/** Half-pixel coordinates, four taps, indices clamped to the border (so a border tap may collect several weights). */
const fourTaps = (from: number, to: number, step: number): number[][] => {
  const kernel = cubic(-0.75);
  return Array.from({ length: to }, (_, j) => {
    const row = new Array<number>(from).fill(0);
    const x = (j + 0.5) * step - 0.5;
    const base = Math.floor(x);
    for (let k = base - 1; k <= base + 2; k++) {
      const clamped = Math.min(Math.max(k, 0), from - 1);
      row[clamped] = (row[clamped] as number) + kernel(x - k);
    }
    return row;
  });
};

const antialiased = (from: number, to: number, step: number): number[][] => {
  // An axis that keeps its size is copied, even where an offset makes the step differ from 1.
  if (from === to) return Array.from({ length: to }, (_, j) => Array.from({ length: from }, (_, k) => (j === k ? 1 : 0)));
  const kernel = cubic(-0.5);
  const stretch = Math.max(step, 1);
  return Array.from({ length: to }, (_, j) => {
    const center = (j + 0.5) * step;
    const first = Math.max(Math.trunc(center - 2 * stretch + 0.5), 0);
    const last = Math.min(Math.trunc(center + 2 * stretch + 0.5), from);
    const row = Array.from({ length: from }, (_, k) => (k >= first && k < last ? kernel((k + 0.5 - center) / stretch) : 0));
    const total = row.reduce((s, w) => s + w, 0);
    return row.map((w) => w / total);
  });
};

/** Weights of one axis: row j holds what output position j takes from each of the `from` learned positions. */
export const resampleMatrix = (from: number, to: number, { offset, antialias }: Interpolation): readonly (readonly number[])[] => {
  const step = from / (to + offset);
  return antialias ? antialiased(from, to, step) : fourTaps(from, to, step);
};
