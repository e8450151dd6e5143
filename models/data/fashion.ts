/**
 * The bundled images: 6000 training and 2000 test pictures of Fashion-MNIST (see data/README.md), read from gzipped idx files. An idx
 * file is the bytes 0 0 8 rank, `rank` sizes as big-endian 32-bit numbers, then the samples.
 *
 *   const { train, test } = loadFashion();   // train.pictures.length 6000, 28 x 28, one channel
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { FoveaError } from '../../compiler/error.ts';
import { findPackageFile } from './package.ts';
import type { ImageSet, Normalise } from './picture.ts';

const classes = ['T-shirt', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot'] as const;

/** Mean and deviation of all samples of the training images. */
const normalise: Normalise = { mean: [0.286, 0.286, 0.286], std: [0.353, 0.353, 0.353] };

const damaged = (file: string, why: string, cause?: unknown): FoveaError =>
  new FoveaError('FV0404', `bundled images: ${file}: ${why}`, {
    hint: 'Install the package again: its data/ folder is incomplete.',
    cause,
  });

const readIdx = (file: string, rank: number): { readonly sizes: readonly number[]; readonly data: Uint8Array } => {
  let raw: Buffer;
  try {
    raw = gunzipSync(readFileSync(file));
  } catch (e) {
    throw damaged(file, e instanceof Error ? e.message : String(e), e);
  }
  if (raw.length < 4 + 4 * rank || raw.readUInt32BE(0) !== 0x800 + rank) throw damaged(file, 'not an idx file of bytes');
  const sizes = Array.from({ length: rank }, (_, i) => raw.readUInt32BE(4 + 4 * i));
  const data = new Uint8Array(raw.buffer, raw.byteOffset + 4 + 4 * rank, raw.length - 4 - 4 * rank);
  const want = sizes.reduce((a, b) => a * b, 1);
  if (data.length !== want) throw damaged(file, `${data.length} samples, its header says ${want}`);
  return { sizes, data };
};

/** One split of a folder of four MNIST-like files. */
const readSplit = (folder: string, split: string, name: string): ImageSet => {
  const { sizes, data } = readIdx(join(folder, `${split}-images-idx3-ubyte.gz`), 3);
  const labels = readIdx(join(folder, `${split}-labels-idx1-ubyte.gz`), 1).data;
  const [count, height, width] = sizes as [number, number, number];
  if (labels.length !== count) throw damaged(folder, `${count} ${split} images but ${labels.length} labels`);
  const pictures = Array.from({ length: count }, (_, i) => ({
    width,
    height,
    channels: 1 as const,
    data: data.subarray(i * width * height, (i + 1) * width * height),
  }));
  return { name, pictures, labels: Int32Array.from(labels), classes, normalise };
};

export const loadFashion = (folder = findPackageFile('data/fashion-mnist')): { readonly train: ImageSet; readonly test: ImageSet } => ({
  train: readSplit(folder, 'train', 'Fashion-MNIST'),
  test: readSplit(folder, 't10k', 'Fashion-MNIST'),
});
