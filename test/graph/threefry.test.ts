import { describe, expect, it } from 'vitest';
import { threefry2x32 } from '../../compiler/graph/threefry.ts';

describe('threefry2x32', () => {
  // known answers published with the Random123 library (threefry2x32, 20 rounds): counter, key, result
  const known: [[number, number], [number, number], [number, number]][] = [
    [
      [0, 0],
      [0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x243f6a88, 0x85a308d3],
      [0x13198a2e, 0x03707344],
      [0xc4923a9c, 0x483df7a0],
    ],
  ];
  it.each(known)('gives the published answer for %j', (ctr, key, answer) => {
    expect(threefry2x32(key, ctr)).toEqual(answer);
  });

  it('is a bijection in the counter and depends on both key words', () => {
    const of = (key: [number, number]) => Array.from({ length: 2000 }, (_, i) => threefry2x32(key, [0, i]).join());
    const [a, b, c] = [of([1, 2]), of([2, 1]), of([1, 3])];
    expect(new Set([...a, ...b, ...c]).size).toBe(6000);
  });
});
