/**
 * A copy of the sources in a temporary folder, in which one file at a time is mutated and put back, so that the working tree stays as it
 * is. The packages and the recorded numbers are links.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mutated, type Row } from './mutant.ts';

const root = join(import.meta.dirname, '../..');
const copied = ['compiler', 'dsl', 'testing', 'backends', 'cli', 'models', 'test', 'index.ts', 'package.json', 'vitest.config.ts'];
const linked = ['node_modules', 'data', 'docs'];
const recorded = join('test', 'goldens');

export interface Tree {
  readonly folder: string;
  /** Runs f while the copy has the fault. */
  with<T>(m: Row | undefined, f: () => Promise<T>): Promise<T>;
  remove(): void;
}

export const tree = (): Tree => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-mutant-'));
  for (const name of copied)
    cpSync(join(root, name), join(folder, name), { recursive: true, filter: (from) => from !== join(root, recorded) });
  for (const name of linked) symlinkSync(join(root, name), join(folder, name));
  mkdirSync(join(folder, 'test'), { recursive: true });
  symlinkSync(join(root, recorded), join(folder, recorded));
  return {
    folder,
    with: async (m, f) => {
      if (!m) return f();
      const at = join(folder, m.file);
      const before = readFileSync(at, 'utf8');
      writeFileSync(at, mutated(before, m));
      try {
        return await f();
      } finally {
        writeFileSync(at, before);
      }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
};
