/**
 * The images that a command was given: files, and what folders hold. A file that was named must serve; one that was found in a folder is
 * left out with a warning where it cannot.
 *
 *   const files = imageFiles(['photos', 'cat.jpg']);
 *   const seen = await look(files, centreCrop(256, 224), false, line);      // { file, placed } of each
 */
import { statSync } from 'node:fs';
import { FoveaError } from '../compiler/error.ts';
import { findImages, type Placed, readImage, type View } from '../models/data/index.ts';
import type { ProgressLine } from './progress.ts';

export interface ImageFile {
  readonly file: string;
  /** Found in a folder: a broken one is left out with a warning. */
  readonly found: boolean;
}

/** FV0401: none. FV0402: a folder that cannot be read. */
export const imageFiles = (args: readonly string[]): readonly ImageFile[] => {
  const isFolder = (p: string): boolean => statSync(p, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const all = args.flatMap((arg) =>
    isFolder(arg) ? findImages(arg).map((file) => ({ file, found: true })) : [{ file: arg, found: false }],
  );
  if (all.length === 0)
    throw new FoveaError('FV0401', `no images in ${args.join(', ')}`, {
      hint: 'Folders (or their sub-folders) must hold .jpg, .jpeg, .png, .webp or .gif files.',
    });
  return all;
};

interface Seen {
  readonly file: string;
  readonly placed: Placed;
}

/** The images of a batch; warnings go to standard error. FV0402, FV0403, FV0408: an image that was named and cannot serve. */
export const look = async (files: readonly ImageFile[], view: View, orient: boolean, line: ProgressLine): Promise<readonly Seen[]> => {
  const warn = (text: string): void => {
    line.clear();
    console.error(`warning: ${text}`);
  };
  const seen = files.map(async ({ file, found }): Promise<readonly Seen[]> => {
    try {
      const { picture, notes } = await readImage(file, { orient });
      notes.forEach(warn);
      return [{ file, placed: view(picture) }];
    } catch (e) {
      if (!(e instanceof FoveaError)) throw e;
      // a view knows the picture and not its file
      const named = e.message.includes(file) ? e : new FoveaError(e.code, `${file}: ${e.message}`, { hint: e.hint, cause: e });
      if (!found) throw named;
      warn(`${named.message}; skipped`);
      return [];
    }
  });
  return (await Promise.all(seen)).flat();
};
