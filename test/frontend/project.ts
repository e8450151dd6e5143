/** Projects for the tests of `fovea check`: folders with this repository's tsconfig.json, whose modules import its language as 'fovea'. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { scratch } from '../cli/command.ts';

export const root = join(import.meta.dirname, '../..');

/** Writes a file of a project. */
export const put = (file: string, text: string): void => {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text.replaceAll("'fovea'", JSON.stringify(relative(dirname(file), join(root, 'dsl/index.ts')))));
};
export const edit = (file: string, change: (text: string) => string): void => writeFileSync(file, change(readFileSync(file, 'utf8')));

/** A new project; gives paths in it. */
export const projectOf = (files: Readonly<Record<string, string>>, { config = true } = {}): ((name: string) => string) => {
  const dir = scratch();
  if (config) copyFileSync(join(root, 'tsconfig.json'), join(dir, 'tsconfig.json'));
  put(join(dir, 'package.json'), '{ "type": "module" }');
  for (const [name, text] of Object.entries(files)) put(join(dir, name), text);
  return (name) => join(dir, name);
};
