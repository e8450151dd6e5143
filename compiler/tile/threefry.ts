/**
 * Threefry-2x32 as kernel expressions: 20 rounds of add, rotate and xor on u32, the same arithmetic as
 * graph/threefry.ts does on numbers, so that every backend draws the same bits. Salmon, Moraes, Dror, Shaw (SC 2011).
 *
 *   threefryBits(key0, key1, i)  =  a ^ b  where (a, b) = threefry2x32([key0, key1], [0, i])
 */
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';

/** Rotation distances, table 2 of the paper; round r uses entry r mod 8. */
const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;
/** Key-schedule parity of the paper. */
const parity = 0x1bd11bda;

export const threefryBits = (key0: Expr, key1: Expr, counter: Expr): Expr => {
  const ks = [key0, key1, e.binary('xor', e.binary('xor', key0, key1), parity)] as const;
  let a: Expr = e.splat(key0, counter.lanes);
  let b: Expr = e.add(counter, key1);
  for (let round = 0; round < 20; round++) {
    const r = rotations[round & 7] as number;
    a = e.add(a, b);
    b = e.binary('xor', e.binary('or', e.binary('shiftLeft', b, r), e.binary('shiftRight', b, 32 - r)), a);
    if ((round & 3) === 3) {
      // after every fourth round the key is injected again, rotated by one word and numbered
      const s = (round + 1) >> 2;
      a = e.add(a, ks[s % 3] as Expr);
      b = e.add(b, e.add(ks[(s + 1) % 3] as Expr, s));
    }
  }
  return e.binary('xor', a, b);
};
