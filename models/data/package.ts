/**
 * Files that the package carries beside its code. Sources and the build in dist/ lie at different depths, so the package's folder is
 * the first one above this file that holds a package.json.
 *
 *   findPackageFile('data/fashion-mnist')   // /home/me/app/node_modules/fovea/data/fashion-mnist
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FoveaError } from '../../compiler/error.ts';

export const findPackageFile = (name: string, from = dirname(fileURLToPath(import.meta.url))): string => {
  for (let dir = from; ; dir = dirname(dir)) {
    if (existsSync(join(dir, 'package.json'))) return join(dir, name);
    if (dirname(dir) === dir)
      throw new FoveaError('FV0404', `no package.json above ${from}`, { hint: 'Install the package again: it is incomplete.' });
  }
};
