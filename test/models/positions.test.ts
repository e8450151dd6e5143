import { describe, expect, it } from 'vitest';
import { resampleMatrix } from '../../models/vit/positions.ts';
import { check, type Filled, fill, golden, recorded } from './goldens.ts';

const c = golden('pos_embed_interp');

/** Ry . table . Rx^T of the grid part, the first row copied; plain loops in float64. */
const resample = (
  table: Float32Array,
  from: number,
  dim: number,
  h: number,
  w: number,
  rule: { offset: number; antialias: boolean },
): Float64Array => {
  const [ry, rx] = [resampleMatrix(from, h, rule), resampleMatrix(from, w, rule)];
  const out = new Float64Array((1 + h * w) * dim);
  out.set(table.subarray(0, dim));
  for (let i = 0; i < h; i++)
    for (let j = 0; j < w; j++)
      for (let y = 0; y < from; y++)
        for (let x = 0; x < from; x++) {
          const weight = (ry[i]?.[y] as number) * (rx[j]?.[x] as number);
          if (weight === 0) continue;
          for (let d = 0; d < dim; d++) {
            const at = (1 + i * w + j) * dim + d;
            out[at] = (out[at] as number) + weight * (table[(1 + y * from + x) * dim + d] as number);
          }
        }
  return out;
};

describe('positions on another grid', () => {
  const sizes = [...recorded(c.file).keys()].map((name) => name.split('.') as [string, string]);
  it.each(sizes)('%s at %s pixels', (model, size) => {
    const m = c.models?.[model] as Record<string, number | boolean>;
    const [patch, dim] = [m.patch_size as number, m.embed_dim as number];
    const from = (m.img_size as number) / patch;
    const [h, w] = size.split('x').map((s) => Number(s) / patch) as [number, number];
    const table = fill(c.params.find((i) => i.name === `${model}/pos_embed`) as Filled);
    // Square images of the learned grid take the table as it is.
    const rule = { offset: m.interpolate_offset as number, antialias: m.interpolate_antialias as boolean };
    check(c, `${model}.${size}`, h === from && w === from ? table : resample(table, from, dim, h, w, rule));
  });

  it('has rows that sum to 1, so that constant tables stay constant', () => {
    // 37 additions of numbers below 1.5: rounding below 37 * 1.5 * 2^-53.
    for (const antialias of [false, true])
      for (const [from, to] of [
        [37, 16],
        [37, 7],
        [6, 10],
        [4, 4],
        [16, 37],
      ] as const)
        for (const row of resampleMatrix(from, to, { offset: 0.1, antialias }))
          expect(Math.abs(row.reduce((s, x) => s + x, 0) - 1)).toBeLessThan(1e-14);
  });
});
