/**
 * Types and purity of files that were checked before. They depend on what TypeScript reads and on nothing else, so what was found is kept with
 * every question that it asked of the disk, and holds while each would be answered the same (compiler/frontend/disk.ts): no file has
 * other bytes, and none has appeared where an import looks first. A trace runs code of the user's, which may depend on anything, and is never kept.
 *
 *   const k = await kept(folder, files);
 *   k.found ?? k.keep(...)
 */
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { hash, placeOf, produce, readSealed } from '../../backends/native/cache.ts';
import { type Answers, stillSo } from '../../compiler/frontend/disk.ts';
import type { Finding } from '../../compiler/frontend/findings.ts';

export interface Found {
  readonly files: readonly string[];
  /** Whether they can be run at all. */
  readonly parses: boolean;
  readonly findings: readonly Finding[];
}

/** The rules by which files are checked: TypeScript's version, and our own code as it is. */
const rules = (): string => {
  const { version } = createRequire(import.meta.url)('typescript/package.json') as { readonly version: string };
  const folder = join(import.meta.dirname, '../../compiler/frontend');
  const code = readdirSync(folder).filter((f) => /(?<!\.d)\.[jt]s$/.test(f));
  return hash(version, ...code.map((f) => readFileSync(join(folder, f), 'utf8')));
};

export interface Kept {
  /** What is still true. */
  readonly found: Found | undefined;
  readonly keep: (found: Found, answers: Answers) => Promise<void>;
}

export const kept = async (folder: string, files: readonly string[]): Promise<Kept> => {
  const place = placeOf(folder, hash('check', rules(), process.cwd(), ...files), 'check');
  const text = (await readSealed(place))?.toString('utf8');
  const { answers, ...found } = (text === undefined ? {} : JSON.parse(text)) as Partial<Found & { readonly answers: Answers }>;
  return {
    found: answers && stillSo(answers) ? (found as Found) : undefined,
    keep: (now, answers) => produce(place, (to) => writeFile(to, JSON.stringify({ ...now, answers }))),
  };
};
