import { expect, it } from 'vitest';
import { resampleMatrix } from '../../models/vit/positions.ts';

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
