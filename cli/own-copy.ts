/**
 * In a clone of this repository there are two copies of Fovea, the sources and what they are built to, and two copies do not know each
 * other's tensors. What runs decides: files that a user's module imports of the other copy are taken from this one. Models count as a user's;
 * they are read where they lie.
 *
 *   npx fovea check examples/vit.ts       ../index.ts of the example is dist/index.js, which this command uses itself
 *
 * Where the package alone is installed there are no sources, and nothing to do.
 */
import { existsSync } from 'node:fs';
import { register } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findPackageFile } from '../models/data/package.ts';

/** What is Fovea's, of either copy, without its extension. */
const rooms = /^(?:index|web|program|(?:dsl|compiler|backends|testing)[\\/].*)$/;

/** The folders of this copy and of the other, where there are two. */
const copies = (): { readonly here: string; readonly other: string; readonly built: boolean } | undefined => {
  const root = dirname(findPackageFile('package.json'));
  const here = dirname(import.meta.dirname);
  if (!existsSync(join(root, 'index.ts')) || !existsSync(join(root, 'dist/index.js'))) return undefined;
  return { here, other: here === root ? join(root, 'dist') : root, built: here !== root };
};

/** The name within a folder of a file of Fovea. */
const within = (folder: string, file: string): string | undefined => {
  if (!file.startsWith(folder + sep)) return undefined;
  const name = file.slice(folder.length + 1).replace(/(?:\.d)?\.ts$/, '');
  return rooms.test(name) ? name : undefined;
};

/** As `oneCopy`, for types: the file of this copy that stands for what `from` imports. */
export const ownTypes = (): ((file: string, from: string) => string) => {
  const own = copies();
  if (!own) return (file) => file;
  return (file, from) => {
    const name = within(own.other, file);
    // what belongs to the other copy itself stays whole
    if (name === undefined || within(own.other, from) !== undefined) return file;
    const mine = join(own.here, `${name}${own.built ? '.d.ts' : '.ts'}`);
    return existsSync(mine) ? mine : file;
  };
};

/** Node runs it on a thread of its own, which loads no TypeScript: so it is text. */
const hook = `
let own;
export const initialize = (data) => { ({ own } = data); };
export const resolve = async (specifier, context, next) => {
  const found = await next(specifier, context);
  const url = found.url.split('?')[0];
  if (!url.startsWith(own.other) || url.startsWith(own.here)) return found;
  const name = url.slice(own.other.length).replace(/\\.[jt]s$/, '');
  return own.rooms.test(name) ? { url: own.here + name + own.extension, format: 'module', shortCircuit: true } : found;
};`;

let done = false;

/** To be called before a module of the user's is loaded, and after whatever else looks at what it imports. */
export const oneCopy = (): void => {
  if (done) return;
  done = true;
  const two = copies();
  if (!two) return;
  const url = (folder: string): string => pathToFileURL(folder + sep).href;
  const own = { here: url(two.here), other: url(two.other), extension: two.built ? '.js' : '.ts', rooms };
  register(`data:text/javascript,${encodeURIComponent(hook)}`, { data: { own } });
};
