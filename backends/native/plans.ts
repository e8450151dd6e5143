/**
 * Finished plans, kept beside the kernels. A plan is named by what it was made from and by the compiler that made it: the texts of its
 * files. A changed compiler has other names, so that it never meets an old plan; in development nothing else says that it changed.
 *
 *   ~/.cache/fovea/a7/a7c0....plan
 *
 * Where the files are not to be found (somebody bundled them), or one has changed since this process started, so that the code which runs
 * may not be the text that is read, no plan is taken and none is kept.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PlanStore } from '../../compiler/target.ts';
import { cacheFolder, hash, placeOf, replace } from './cache.ts';

/** The folders, from the root of the sources, that decide what a plan is and how it becomes a library. */
export const rooms = ['compiler', 'backends/native', 'backends/cpu', 'backends/cuda'];

/** A hash of the files under `root` that have the extension, or undefined; `since` is in milliseconds of the epoch. */
export const sourceDigest = (root: string, extension: string, since: number): string | undefined => {
  const all = createHash('sha256').update(process.version);
  const read = (folder: string): boolean =>
    readdirSync(folder, { withFileTypes: true })
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .every((entry) => {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) return read(path);
        if (extname(entry.name) !== extension || entry.name.endsWith('.d.ts')) return true;
        // the time of the last change of any kind: that of the contents can be set
        if (statSync(path).ctimeMs > since) return false;
        const text = readFileSync(path);
        all.update(`${path.slice(root.length)} ${text.length}\n`).update(text);
        return true;
      });
  try {
    return rooms.every((room) => read(join(root, room))) ? all.digest('hex') : undefined;
  } catch {
    return undefined;
  }
};

export interface NamedPlans extends PlanStore {
  /** A name for what this backend makes of a plan; undefined where plans are not kept. */
  nameOf(key: string): string | undefined;
}

/** The store of this compiler, or of the one whose digest is given. */
export const planStore = (of?: string): NamedPlans => {
  let found: { readonly digest: string | undefined } | undefined;
  const nameOf = (key: string): string | undefined => {
    if (!found) {
      const self = fileURLToPath(import.meta.url);
      found = { digest: of ?? sourceDigest(join(dirname(self), '../..'), extname(self), performance.timeOrigin) };
    }
    return found.digest && hash(found.digest, key);
  };
  const place = async (key: string): Promise<string | undefined> => {
    const name = nameOf(key);
    return name && placeOf(await cacheFolder(), name, 'plan');
  };
  return {
    nameOf,
    get: async (key) => {
      const path = await place(key);
      return path && readFile(path, 'utf8').catch(() => undefined);
    },
    put: async (key, text) => {
      const path = await place(key);
      // what cannot be kept is made again
      if (path) await replace(path, (temporary) => writeFile(temporary, text)).catch(() => undefined);
    },
  };
};
