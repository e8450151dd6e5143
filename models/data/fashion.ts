/**
 * The bundled images: 6000 training and 2000 test pictures of Fashion-MNIST (see data/README.md), in gzipped idx files.
 *
 *   const { train, test } = loadFashion();   // train.pictures.length 6000, 28 x 28, one channel
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { FoveaError } from '../../compiler/error.ts';
import { fashion, idxSet } from './idx.ts';
import { findPackageFile } from './package.ts';
import type { ImageSet } from './picture.ts';

const unpacked = (file: string): Uint8Array => {
  try {
    return gunzipSync(readFileSync(file));
  } catch (cause) {
    throw new FoveaError('FV0404', `bundled images: ${file}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'Install the package again: its data/ folder is incomplete.',
      cause,
    });
  }
};

/** One split of a folder of four MNIST-like files. */
const readSplit = (folder: string, split: string): ImageSet =>
  idxSet(
    unpacked(join(folder, `${split}-images-idx3-ubyte.gz`)),
    unpacked(join(folder, `${split}-labels-idx1-ubyte.gz`)),
    fashion,
    join(folder, split),
  );

export const loadFashion = (folder = findPackageFile('data/fashion-mnist')): { readonly train: ImageSet; readonly test: ImageSet } => ({
  train: readSplit(folder, 'train'),
  test: readSplit(folder, 't10k'),
});
