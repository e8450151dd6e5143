/**
 * Threefry-2x32 with 20 rounds: a keyed bijection on pairs of 32-bit words, made of add, rotate and xor only, so every
 * backend computes the same random bits. Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
 *
 *   threefry2x32([0, 0], [0, 0])  ->  [0x6b200159, 0x99ba4efe]
 */

/** Rotation distances, table 2 of the paper; round r uses entry r mod 8. */
const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;
/** Key-schedule parity: the third key word is the xor of the two words and this constant. */
const parity = 0x1bd11bda;

/** Encrypts the counter `ctr` under `key`; words are taken and returned as unsigned 32-bit numbers. */
export const threefry2x32 = (key: readonly [number, number], ctr: readonly [number, number]): [number, number] => {
  const ks = [key[0] | 0, key[1] | 0, parity ^ key[0] ^ key[1]] as const;
  let a = (ctr[0] + ks[0]) | 0;
  let b = (ctr[1] + ks[1]) | 0;
  for (let round = 0; round < 20; round++) {
    const r = rotations[round & 7] as number;
    a = (a + b) | 0;
    b = ((b << r) | (b >>> (32 - r))) ^ a;
    if ((round & 3) === 3) {
      // after every fourth round the key is injected again, rotated by one word and numbered
      const s = (round + 1) >> 2;
      a = (a + (ks[s % 3] as number)) | 0;
      b = (b + (ks[(s + 1) % 3] as number) + s) | 0;
    }
  }
  return [a >>> 0, b >>> 0];
};
