/** Laws of resizing. Recorded results of the Python Imaging Library and of torchvision are checked in test/parity. */
import { expect, test } from 'vitest';
import { centrePlanes, normalised, type Picture, planeBytes, planesOf, resize, resizePlanes } from '../../models/data/index.ts';

test('a constant picture stays constant at any size', () => {
  const p: Picture = { width: 9, height: 7, channels: 1, data: new Uint8Array(63).fill(200) };
  for (const [w, h] of [
    [3, 2],
    [9, 20],
    [31, 7],
  ] as const) {
    expect(new Set(resize(p, { left: 0, top: 0, width: 9, height: 7 }, w, h).data)).toEqual(new Set([200]));
    // weights of two passes sum to 1 within 2^-49 each: at most 31 taps, each rounded at 2^-53 of a magnitude below 1.5
    for (const v of resizePlanes(planesOf(p), w, h).data) expect(Math.abs(v - 200 / 255)).toBeLessThan(2 ** -48);
  }
});

test('tensors keep the overshoot at an edge that bytes cut off', () => {
  const p: Picture = { width: 8, height: 8, channels: 1, data: Uint8Array.from({ length: 64 }, (_, i) => (i % 8 < 4 ? 0 : 255)) };
  const planes = resizePlanes(planesOf(p), 20, 20);
  expect(Math.min(...planes.data)).toBeLessThan(-0.01);
  expect(Math.max(...planes.data)).toBeGreaterThan(1.01);
  const bytes = planeBytes(planes);
  expect([Math.min(...bytes), Math.max(...bytes)]).toEqual([0, 255]);
});

test('the centre view of a picture of its own size is the picture, normalised channel by channel', () => {
  const rgb: Picture = { width: 4, height: 4, channels: 3, data: Uint8Array.from({ length: 48 }, (_, i) => 5 * i) };
  const planes = planesOf(rgb);
  expect(centrePlanes(planes, 4, 4)).toEqual(planes);
  const x = normalised(planes, { mean: [0, 0.5, 1], std: [1, 2, 4] });
  const at = (c: number, i: number): number => (5 * (3 * i + c)) / 255;
  for (let i = 0; i < 16; i++)
    expect([x[i], x[16 + i], x[32 + i]]).toEqual([at(0, i), (at(1, i) - 0.5) / 2, (at(2, i) - 1) / 4].map(Math.fround));
  // of 6 samples the 4 in the middle: one is cut on each side
  const wide = planesOf({ width: 6, height: 4, channels: 1, data: Uint8Array.from({ length: 24 }, (_, i) => i) });
  expect([...planeBytes(centrePlanes(wide, 4, 4))]).toEqual([0, 1, 2, 3].flatMap((r) => [1, 2, 3, 4].map((c) => 6 * r + c)));
});
