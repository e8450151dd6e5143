/**
 * Group preprocess: pictures resized and cropped for evaluation, by way of bytes as the Python Imaging Library does it and by way of
 * tensors as torchvision does.
 */
import { z } from 'zod';
import { plain } from '../../data/augment.ts';
import {
  centrePlanes,
  centreView,
  imagenet,
  maxPixels,
  normalised,
  type Picture,
  planeBytes,
  planesOf,
  resizeShort,
  resizeShortPlanes,
  shortSide,
} from '../../data/index.ts';
import { type Case, configOf, malformed, sizeFrom } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { inputOf, numbers, type Runner } from '../context.ts';
import { fill } from '../formula.ts';

const whole = sizeFrom(1, 4096);
const config = z.object({ images: z.record(z.string(), z.tuple([whole, whole])), transforms: z.array(z.tuple([whole, whole])) });

const pictureOf = (c: Case, name: string, [height, width]: readonly [number, number]): Picture => {
  const input = inputOf(c, name);
  const data = fill(input);
  if (!(data instanceof Uint8Array) || input.shape.join(' ') !== `${height} ${width} 3`)
    throw malformed(`case ${c.id}`, `input ${name} is no picture of ${height} x ${width} pixels in bytes`);
  return { width, height, channels: 3, data };
};

export const preprocess: Runner = (c) => {
  const { images, transforms } = configOf(c, config);
  const made = new Map<string, Numbers>();
  for (const [name, size] of Object.entries(images)) {
    const picture = pictureOf(c, name, size);
    const planes = planesOf(picture);
    for (const [short, crop] of transforms) {
      const { width, height } = shortSide(picture, short);
      if (crop > short || width * height > maxPixels)
        throw malformed(`case ${c.id}`, `${name} cannot become ${width} x ${height} pixels and a centre of ${crop}`);
      const put = (what: string, x: Numbers): void => void made.set(`${name}.r${short}c${crop}.${what}`, x);
      const whole = resizeShort(picture, short);
      put('pil_resized_u8', numbers(whole.data, [whole.height, whole.width, 3]));
      const view = new Float32Array(3 * crop * crop);
      plain(centreView(picture, short, crop), imagenet, view, 0);
      put('pil_output', numbers(view, [3, crop, crop]));
      const resized = resizeShortPlanes(planes, short);
      put('tensor_u8_resized', numbers(planeBytes(resized), [3, resized.height, resized.width]));
      put('tensor_f32_output', numbers(normalised(centrePlanes(planes, short, crop), imagenet), [3, crop, crop]));
    }
  }
  return made;
};
