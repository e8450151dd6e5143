/** Floats as integers: maxima and minima of the integers are those of the floats, bit for bit, NaN and the signs of zeros included. */
import { expect, test } from 'vitest';
import { ordered, unordered } from '../../backends/collectives/ordered.ts';

const special = [
  0,
  -0,
  1,
  -1,
  1.5,
  -1.5,
  2 ** -149,
  -(2 ** -149),
  3e38,
  -3e38,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
];

test.each(['max', 'min'] as const)('%s of every pair', (reduction) => {
  for (const a of special)
    for (const b of special) {
      const keys = [a, b].map((x) => ordered(Float32Array.of(x), reduction)[0] as number);
      const got = unordered(Int32Array.of(Math[reduction](...keys)))[0] as number;
      expect([a, b, got]).toEqual([a, b, Math.fround(Math[reduction](a, b))]);
    }
});
