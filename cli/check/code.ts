/**
 * TypeScript is 9 MB of text, of which a check runs a tenth. V8 would compile that tenth anew in every process; here it is kept after the first
 * one, as Node 22 does by itself with `module.enableCompileCache`. What is kept by another V8 is refused by it, and made again.
 *
 *   const code = await typescriptCode(folder);      // from here on require('typescript') has it
 *   await code.keep();                              // at the end, when everything that a check runs has run
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createRequire, Module } from 'node:module';
import { dirname } from 'node:path';
import { Script } from 'node:vm';
import { hash, placeOf, produce, readSealed } from '../../backends/native/cache.ts';

const require = createRequire(import.meta.url);

/** What Node puts around a CommonJS file. */
const wrapped = (text: string): string => `(function (exports, require, module, __filename, __dirname) { ${text}\n})`;

export const typescriptCode = async (folder: string): Promise<{ readonly keep: () => Promise<void> }> => {
  const file = require.resolve('typescript');
  const { size, mtimeMs } = statSync(file);
  const place = placeOf(folder, hash('code', file, `${size} ${mtimeMs}`, process.versions.v8, process.arch), 'code');
  const cachedData = await readSealed(place);
  const script = new Script(wrapped(readFileSync(file, 'utf8')), { filename: file, ...(cachedData ? { cachedData } : {}) });
  const module = new Module(file);
  module.filename = file;
  require.cache[file] = module;
  script.runInThisContext()(module.exports, createRequire(file), module, file, dirname(file));
  module.loaded = true;
  const known = cachedData !== undefined && script.cachedDataRejected !== true;
  return {
    keep: async () => {
      if (!known || !existsSync(place)) await produce(place, (to) => writeFile(to, script.createCachedData()));
    },
  };
};
