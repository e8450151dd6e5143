import { describe, expect, it } from 'vitest';
import { maskBound } from '../../models/data/batch.ts';
import { linspace32 } from '../../models/data/masks.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { batchRecipe, keepLists } from '../../models/recipes/inputs.ts';
import { demo, recipes, vitLarge14, vitLarge16 } from '../../models/recipes.ts';
import { kept } from '../../models/vit/drop-path.ts';

describe('rows of the buffer of masked patches', () => {
  it('equals the bounds of the published recipes', () => {
    // 256 patches a crop, ratios 0.1 to 0.5 for half of the crops.
    const rows = (batch: number): number => geometry({ ...vitLarge14, batch }).maskRows;
    expect([12, 32, 64].map(rows)).toEqual([967, 2496, 4941]);
  });
});

it('agrees with the data room on the rows of a batch, for every recipe', () => {
  for (const r of Object.values(recipes)) expect(maskBound(batchRecipe(r))).toBe(geometry(r).maskRows);
  // 100 patches: where the two halves of the ratios meet, a rounding decides whether 0.3 of them are 30 or 29
  const even = { ...demo, batch: 6, crops: { ...demo.crops, globalSize: 40 } };
  expect([maskBound(batchRecipe(even)), geometry(even).maskRows]).toEqual([197, 197]);
});

describe('stochastic depth', () => {
  it('draws different images for every step, block, branch and crop size; the same ones again for the same step', () => {
    const at = keepLists(vitLarge14, 5);
    const [first, again, later] = [at(3), at(3), at(4)];
    expect(first).toEqual(again);
    expect(first).not.toEqual(later);
    for (const { attn, ffn } of first) {
      expect([...attn, ...ffn].map((x) => x.shape)).toEqual([[38], [153], [38], [153]]);
      for (const [lists, images] of [
        [[attn[0], ffn[0]], 64],
        [[attn[1], ffn[1]], 256],
      ] as const)
        for (const list of lists) {
          const set = new Set(list?.data);
          expect([set.size, Math.max(...set) < images]).toEqual([list?.data.length, true]);
        }
      expect(attn[0]?.data).not.toEqual(ffn[0]?.data);
    }
  });

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
  expect(linspace32(0.2, 0.4, 1)).toEqual([Math.fround(0.2)]); // a linear rate over one block is 0
  const xs = linspace32(0.1, 0.5, 9);
  expect([xs[0], xs[8], xs.length]).toEqual([Math.fround(0.1), Math.fround(0.5), 9]);
  // Each value is rounded twice, at magnitudes up to 0.5, and so is the step: 3 * 2^-25.
  xs.forEach((x, i) => expect(Math.abs(x - (0.1 + 0.05 * i))).toBeLessThan(3 * 2 ** -25));
  // products are not rounded before they are added: with two roundings the bound of these masks would be 89
  const small = { ...demo, batch: 12, model: { ...demo.model, patch: 14 }, crops: { ...demo.crops, globalSize: 70, localSize: 28 } };
  expect(geometry(small).maskRows).toBe(90);
});

it('has whole grids in every recipe, and plain data', () => {
  for (const r of Object.values(recipes)) {
    const g = geometry(r);
    expect([g.globalGrid, g.localGrid].every(Number.isInteger)).toBe(true);
    expect(r.model.width % r.model.heads).toBe(0);
    expect(JSON.parse(JSON.stringify(r))).toEqual(r);
  }
  expect(geometry({ ...demo, batch: 5, model: { ...demo.model, width: 24 } }).sizes).toMatchObject({ B: 5, L: 2, N: 49, M: 16, D: 24 });
});
