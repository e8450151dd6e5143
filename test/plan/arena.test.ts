import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Need, placeBuffers } from '../../compiler/plan/arena.ts';

const needs = fc.array(
  fc
    .record({ bytes: fc.integer({ min: 0, max: 5000 }), first: fc.nat(40), length: fc.nat(15) })
    .map(({ bytes, first, length }): Need => ({ bytes, first, last: first + length })),
  { maxLength: 60 },
);
const live = (all: readonly Need[], t: number): number =>
  all.filter((n) => n.first <= t && t <= n.last).reduce((s, n) => s + Math.max(64, Math.ceil(n.bytes / 64) * 64), 0);

test('two buffers that live at the same time share no byte', () => {
  fc.assert(
    fc.property(needs, (all) => {
      const { offsets, bytes } = placeBuffers(all, 64);
      all.forEach((a, i) => {
        expect(offsets[i]! % 64).toBe(0);
        expect(offsets[i]! + a.bytes).toBeLessThanOrEqual(bytes);
        all.slice(i + 1).forEach((b, j) => {
          const together = a.first <= b.last && b.first <= a.last;
          const apart =
            offsets[i]! + Math.max(a.bytes, 1) <= offsets[i + 1 + j]! || offsets[i + 1 + j]! + Math.max(b.bytes, 1) <= offsets[i]!;
          expect(!together || apart).toBe(true);
        });
      });
    }),
    { seed: 1, numRuns: 300 },
  );
});

test('a chain of equal buffers needs two of them', () => {
  const chain = Array.from({ length: 50 }, (_, i): Need => ({ bytes: 1000, first: i, last: i + 1 }));
  expect(placeBuffers(chain, 64).bytes).toBe(2 * 1024);
});

test('the arena is never smaller than what lives at once', () => {
  fc.assert(
    fc.property(needs, (all) => {
      const { bytes } = placeBuffers(all, 64);
      for (let t = 0; t <= 55; t++) expect(bytes).toBeGreaterThanOrEqual(live(all, t));
    }),
    { seed: 2, numRuns: 200 },
  );
});

test('100,000 buffers are placed in near-linear time', () => {
  const many = Array.from({ length: 100_000 }, (_, i): Need => ({ bytes: 64 * (1 + (i % 7)), first: i, last: i + (i % 13) }));
  expect(placeBuffers(many, 64).bytes).toBeLessThan(64 * 7 * 30);
});
