/**
 * Image sets in idx files, as MNIST and its like come: the bytes 0 0 8 rank, `rank` sizes as big-endian 32-bit numbers, then the samples.
 * These are the unpacked bytes, wherever they come from: a file of the package (fashion.ts), or `fetch` in a browser.
 */
import { FoveaError } from '../../compiler/error.ts';
import type { ImageSet, Normalise } from './picture.ts';

/** Names of Fashion-MNIST's classes, and mean and deviation of all samples of its training images. */
export const fashion: Pick<ImageSet, 'name' | 'classes' | 'normalise'> = {
  name: 'Fashion-MNIST',
  classes: ['T-shirt', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot'],
  normalise: { mean: [0.286, 0.286, 0.286], std: [0.353, 0.353, 0.353] } satisfies Normalise,
};

const damaged = (file: string, why: string): FoveaError =>
  new FoveaError('FV0404', `${file}: ${why}`, { hint: 'Get the file again: it is not whole.' });

const readIdx = (raw: Uint8Array, rank: number, file: string): { readonly sizes: readonly number[]; readonly data: Uint8Array } => {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  if (raw.length < 4 + 4 * rank || view.getUint32(0) !== 0x800 + rank) throw damaged(file, 'not an idx file of bytes');
  const sizes = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const data = raw.subarray(4 + 4 * rank);
  const want = sizes.reduce((a, b) => a * b, 1);
  if (data.length !== want) throw damaged(file, `${data.length} samples, its header says ${want}`);
  return { sizes, data };
};

/** One channel a picture. FV0404: damaged bytes, of `file`. */
export const idxSet = (images: Uint8Array, labels: Uint8Array, about: typeof fashion, file = about.name): ImageSet => {
  const { sizes, data } = readIdx(images, 3, `${file}, images`);
  const numbers = readIdx(labels, 1, `${file}, labels`).data;
  const [count, height, width] = sizes as [number, number, number];
  if (numbers.length !== count) throw damaged(file, `${count} images but ${numbers.length} labels`);
  const pictures = Array.from({ length: count }, (_, i) => ({
    width,
    height,
    channels: 1 as const,
    data: data.subarray(i * width * height, (i + 1) * width * height),
  }));
  return { ...about, pictures, labels: Int32Array.from(numbers) };
};
