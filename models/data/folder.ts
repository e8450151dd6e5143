/**
 * A folder of the user's own JPEG, PNG, WebP and GIF files as an image set. Files are found recursively, decoded once (upright,
 * transparency over black), shrunk to what training can use and kept in memory as 8-bit RGB. If every file lies in a sub-folder and there are at least two sub-folders,
 * their names are the labels (for k-NN); otherwise the images are unlabelled.
 *
 *   const { set, warnings } = await loadFolder('photos', { short: 64 });
 *   set.pictures[0]   // { width: 85, height: 64, channels: 3, data }
 *   warnings          // ['photos/cat/3.jpg: the file is empty; skipped']
 */
import { type Dirent, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';
import { imageName, message, readImage } from './decode.ts';
import { type ImageSet, imagenet, type Picture } from './picture.ts';
import { shuffle, stream } from './random.ts';

export interface FolderOptions {
  /** The shorter side of the kept pictures, in pixels. Larger images shrink to it, smaller ones grow. */
  readonly short: number;
  /** At most this many files are read, a random choice by `seed` (default 20000). */
  readonly limit?: number;
  readonly seed?: number;
}

export interface Loaded {
  readonly set: ImageSet;
  /** One sentence for each file of which something was left out or that was skipped, and one if the limit left files out. */
  readonly warnings: readonly string[];
}

/** Image files in a folder and its sub-folders, sorted by name: one folder gives one order on every machine. FV0402. */
export const findImages = (dir: string): string[] => {
  let entries: Dirent[];
  try {
    entries = readdirSync(dir, { withFileTypes: true });
  } catch (e) {
    throw new FoveaError('FV0402', `cannot read the image folder ${dir}: ${message(e)}`, {
      hint: 'Give an existing folder that you may read.',
      cause: e,
    });
  }
  return entries
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((e) => (e.isDirectory() ? findImages(join(dir, e.name)) : imageName.test(e.name) ? [join(dir, e.name)] : []));
};

export const loadFolder = async (dir: string, options: FolderOptions): Promise<Loaded> => {
  const limit = options.limit ?? 20000;
  const all = findImages(dir);
  if (all.length === 0)
    throw new FoveaError('FV0401', `no images in ${dir}`, {
      hint: 'It (or its sub-folders) must hold .jpg, .jpeg, .png, .webp or .gif files.',
    });
  const warnings: string[] = [];
  let files = all;
  if (all.length > limit) {
    const order = shuffle(
      stream(options.seed ?? 0, 0xf01d),
      all.map((_, i) => i),
    );
    files = order
      .slice(0, limit)
      .sort((a, b) => a - b)
      .map((i) => all[i]!);
    warnings.push(`${dir}: ${all.length} images, ${limit} of them are used`);
  }
  // a few decodes in flight: enough to keep libvips' threads busy, few enough to bound the memory
  const pictures: (Picture | undefined)[] = new Array(files.length);
  const said: (string | undefined)[] = new Array(files.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < files.length; i = next++) {
      try {
        const { picture, notes } = await readImage(files[i]!, { short: options.short, orient: true, overBlack: true });
        pictures[i] = picture;
        said[i] = notes[0];
      } catch (e) {
        said[i] = `${message(e)}; skipped`;
      }
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  for (const s of said) if (s) warnings.push(s);
  const good = files.flatMap((file, i) => (pictures[i] ? [{ file, picture: pictures[i] }] : []));
  if (good.length === 0)
    throw new FoveaError('FV0403', `none of the ${files.length} images in ${dir} could be decoded; the first: ${said[0]}`, {
      hint: 'Check that the files are whole JPEG, PNG, WebP or GIF images.',
    });
  const groups = good.map(({ file }) => {
    const parts = relative(dir, file).split(sep);
    return parts.length > 1 ? parts[0]! : undefined;
  });
  const classes = [...new Set(groups.filter((g) => g !== undefined))].sort();
  const labelled = classes.length > 1 && groups.every((g) => g !== undefined);
  const set: ImageSet = {
    name: dir,
    pictures: good.map((g) => g.picture),
    labels: labelled ? Int32Array.from(groups, (g) => classes.indexOf(g!)) : undefined,
    classes: labelled ? classes : [],
    normalise: imagenet,
  };
  return { set, warnings };
};
