/** Resizing and the evaluation view against recorded results of the Python Imaging Library, bit for bit. */
import { expect, test } from 'vitest';
import { plain } from '../../models/data/augment.ts';
import { centreView, imagenet, type Picture, resize } from '../../models/data/index.ts';
import { integers } from './formula.ts';
import { distance, golden } from './goldens.ts';

const recorded = golden('preprocess_small');
const images = [
  ['img', 37, 50],
  ['tall', 61, 45],
  ['square', 48, 48],
] as const;
const views = [
  [32, 28],
  [56, 42],
] as const;

const picture = (name: string, height: number, width: number): Picture => ({
  width,
  height,
  channels: 3,
  data: Uint8Array.from(integers(`pub/preprocess_small/${name}`, width * height * 3, 256)),
});

test.each(images.flatMap((i) => views.map((v) => [...i, ...v] as const)))(
  '%s (%i x %i) to %i, crop %i',
  (name, height, width, short, crop) => {
    const p = picture(name, height, width);
    const wider = width >= height;
    const [w, h] = wider ? [Math.floor((short * width) / height), short] : [short, Math.floor((short * height) / width)];
    const whole = resize(p, { left: 0, top: 0, width, height }, w, h);
    const key = `${name}.r${short}c${crop}`;
    expect([...whole.data]).toEqual(recorded(`${key}.pil_resized_u8`));
    const out = new Float32Array(3 * crop * crop);
    plain(centreView(p, short, crop), imagenet, out, 0);
    // recorded tolerance: 0.3 * 2e-6 of the largest magnitude, 2.64
    expect(distance(out, recorded(`${key}.pil_output`))).toBeLessThanOrEqual(1.5e-6);
  },
);

test('a constant picture stays constant at any size', () => {
  const p: Picture = { width: 9, height: 7, channels: 1, data: new Uint8Array(63).fill(200) };
  for (const [w, h] of [
    [3, 2],
    [9, 20],
    [31, 7],
  ] as const)
    expect(new Set(resize(p, { left: 0, top: 0, width: 9, height: 7 }, w, h).data)).toEqual(new Set([200]));
});
