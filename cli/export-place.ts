/**
 * Where a file exports a name, for what does not know its place: an error of the whole function, a loop that has no end.
 *
 *   exportPlace('/home/me/layers.ts', 'linear(4, 8)')      the line `export const linear = ...`
 */
import { readFileSync } from 'node:fs';
import { FoveaError, located } from '../compiler/error.ts';
import type { Spot } from '../compiler/frontend/findings.ts';

export const fileStart = (file: string): Spot => ({ file, line: 1, col: 1, endLine: 1, endCol: 2 });

/** Undefined where that is not plain to see. */
const declaration = (file: string, name: string): Spot | undefined => {
  // of `linear(4, 8)` the function
  const key = /^[\w$]*/.exec(name)?.[0] ?? '';
  const own = `(?:async )?(?:const|let|var|function\\*?) ${key.replaceAll('$', '\\$')}(?![\\w$])`;
  const start = new RegExp(`^export ${key === 'default' ? 'default\\b' : own}`);
  const lines = readFileSync(file, 'utf8').split(/\r?\n/);
  const at = lines.findIndex((l) => start.test(l));
  return at < 0 ? undefined : { file, line: at + 1, col: 1, endLine: at + 1, endCol: (lines[at] as string).length + 1 };
};

/** The declaration of an export; the start of its file where that is not plain to see. */
export const exportPlace = (file: string, name: string | undefined): Spot =>
  (name === undefined ? undefined : declaration(file, name)) ?? fileStart(file);

/** Runs what is done for one export: an error that knows no place gets that of the export. */
export const atExport = <R>(name: string, file: string, run: () => R): R => {
  try {
    return run();
  } catch (e) {
    throw e instanceof FoveaError && !e.loc ? located(e, declaration(file, name)) : e;
  }
};
