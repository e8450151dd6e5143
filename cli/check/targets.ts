/**
 * What `fovea check` is given: TypeScript modules, each whole or with one export. A whole module's exports are traced if they say what they
 * take; of a function that returns a model, `FILE#name(arguments)` says for which arguments.
 *
 *   targetsOf(['model.ts', 'layers.ts#attention(8, 2)'])
 */
import { existsSync, statSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';

export interface Target {
  /** Absolute. */
  readonly file: string;
  /** An export, with arguments or without; undefined for all. */
  readonly name: string | undefined;
}

const typed: ReadonlySet<string> = new Set(['.ts', '.mts', '.cts', '.tsx']);

const targetOf = (text: string): Target => {
  const at = existsSync(text) ? -1 : text.indexOf('#');
  const file = resolve(at < 0 ? text : text.slice(0, at));
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat) throw new FoveaError('FV0402', `there is no file ${file}`, { hint: 'Give .ts modules.' });
  if (stat.isDirectory()) throw new FoveaError('FV0402', `${file} is a folder`, { hint: 'Give the modules in it, as in models/*.ts.' });
  if (/\.d\.[cm]?ts$/.test(file))
    throw new FoveaError('FV0503', `${text}: declarations have no bodies that could be checked`, { hint: 'Give .ts modules.' });
  if (!typed.has(extname(file)))
    throw new FoveaError('FV0503', `${text}: ${extname(file) || 'this'} is no TypeScript module, and types are what is checked first`, {
      hint: /^\.[cm]?jsx?$/.test(extname(file)) ? 'Give the .ts module that it is built from.' : 'Give .ts modules.',
    });
  return { file, name: at < 0 ? undefined : text.slice(at + 1) };
};

/** FV0402, FV0503: no such file, a folder, no TypeScript. */
export const targetsOf = (texts: readonly string[]): readonly Target[] => texts.map(targetOf);
/** Each once. */
export const filesOf = (targets: readonly Target[]): readonly string[] => [...new Set(targets.map((t) => t.file))];
