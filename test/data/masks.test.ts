/** Laws of masks on random settings, and the bounds of the published ones. Recorded masks are checked in test/parity. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { collateMasks, maxPatches, stream, upperBound } from '../../models/data/index.ts';

test('upper bounds of the published settings', () => {
  const at = (crops: number): number => upperBound({ crops, grid: [16, 16], probability: 0.5, ratio: [0.1, 0.5] });
  expect([24, 64, 128].map(at)).toEqual([967, 2496, 4941]);
  expect([maxPatches(224, 14), maxPatches(224, 16), maxPatches(518, 14)]).toEqual([128, 98, 666]);
});

test('indices, weights and masks agree, and the bound holds, for any settings', () => {
  fc.assert(
    fc.property(
      fc.record({
        batch: fc.integer({ min: 1, max: 9 }),
        side: fc.integer({ min: 2, max: 9 }),
        p: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
      fc.nat(),
      ({ batch, side, p }, ends, seed) => {
        const ratio = [Math.min(...ends), Math.max(...ends)] as const;
        const recipe = {
          crops: 2 * batch,
          grid: [side, side] as const,
          probability: p,
          ratio,
          maxPatches: Math.max(1, (side * side) >> 1),
        };
        const m = collateMasks(recipe, stream(seed));
        expect(m.indices.length).toBe(upperBound(recipe));
        const where = [...m.masks.keys()].filter((i) => m.masks[i] === 1);
        expect([...m.indices.subarray(0, m.count)]).toEqual(where);
        expect(m.indices.subarray(m.count).every((i) => i === 0)).toBe(true);
        expect(m.weights.subarray(m.count).every((w) => w === 0)).toBe(true);
        // the weights of a crop sum to 1: n roundings of 1 / n, each at most 2^-25 relative
        const masked = new Set(where.map((i) => Math.floor(i / (side * side))));
        expect(masked.size).toBeLessThanOrEqual(Math.floor(2 * batch * p));
        const sum = m.weights.reduce((a, b) => a + b, 0);
        expect(Math.abs(sum - masked.size)).toBeLessThanOrEqual(masked.size * 2 ** -24);
      },
    ),
    { seed: 7, numRuns: 200 },
  );
});

test('settings outside [0, 1] are refused', () => {
  expect(() => collateMasks({ crops: 4, grid: [4, 4], probability: 1.5, ratio: [0.1, 0.5], maxPatches: 8 }, stream(0))).toThrow(
    /FV0408|\[0, 1\]/,
  );
});
