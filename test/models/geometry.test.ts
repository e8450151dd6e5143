import { describe, expect, it } from 'vitest';
import { demo, recipes, vitLarge14, vitLarge16 } from '../../models/recipes.ts';
import { geometry, kept, linspace32 } from '../../models/recipes/geometry.ts';
import { recipeOf } from './configs.ts';
import { golden, recorded } from './goldens.ts';

describe('rows of the buffer of masked patches', () => {
  it('equals the bounds of the published recipes', () => {
    // 256 patches a crop, ratios 0.1 to 0.5 for half of the crops.
    const rows = (batch: number): number => geometry({ ...vitLarge14, batch }).maskRows;
    expect([12, 32, 64].map(rows)).toEqual([967, 2496, 4941]);
  });

  it.each(['ssl_sk_sep', 'ssl_center_shared', 'ssl_droppath'])('equals the recorded bound of %s', (id) => {
    const c = golden(id);
    const bounds = recorded(c.file).get('upperbound')?.data ?? [];
    expect(bounds.length).toBeGreaterThan(0);
    for (const bound of Array.from(bounds)) expect(geometry(recipeOf(c.config)).maskRows).toBe(bound);
  });
});

describe('stochastic depth', () => {
  it('keeps the number of images of the published example: 64 and 256 at rate 0.4', () => {
    expect(geometry(vitLarge14).kept[0]).toEqual([38, 153]);
    expect(kept(1, 0.9)).toBe(1);
  });

  it('raises the rate from 0 to its full value over the depth unless uniform', () => {
    const g = geometry({ ...vitLarge16, dropPath: { rate: 0.3, uniform: false } });
    expect(g.kept[0]).toEqual([]);
    expect(g.kept[23]).toEqual([kept(128, Math.fround(0.3)), kept(512, Math.fround(0.3))]);
  });
});

it('spaces float32 numbers evenly, end points included', () => {
  const xs = linspace32(0.1, 0.5, 9);
  expect([xs[0], xs[8], xs.length]).toEqual([Math.fround(0.1), Math.fround(0.5), 9]);
  // Each value is rounded three times, at magnitudes up to 0.5: 3 * 2^-25.
  xs.forEach((x, i) => expect(Math.abs(x - (0.1 + 0.05 * i))).toBeLessThan(3 * 2 ** -25));
});

it('has whole grids in every recipe, and plain data', () => {
  for (const r of Object.values(recipes)) {
    const g = geometry(r);
    expect([g.globalGrid, g.localGrid].every(Number.isInteger)).toBe(true);
    expect(r.model.width % r.model.heads).toBe(0);
    expect(JSON.parse(JSON.stringify(r))).toEqual(r);
  }
  expect(geometry(demo).sizes).toMatchObject({ B: 32, L: 4, N: 49, M: 16, D: 128 });
});
