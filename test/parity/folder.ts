/** The recorded cases that lie in the repository, and copies of single ones that a test damages. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export const goldens = join(import.meta.dirname, '../goldens');

/** A case as it stands in index.json. */
export type Raw = {
  id: string;
  group: string;
  file: string;
  config: Record<string, unknown>;
  outputs: { name: string; shape: number[]; dtype: string; tol_abs?: number; exact?: boolean }[];
  inputs: Record<string, unknown>[];
  takes?: object[];
};
interface Index {
  formula: { vectors: { name: string; fnv1a32: number; u32_at: [number, number][] }[] };
  cases: Raw[];
}

const index = (): Index => JSON.parse(readFileSync(join(goldens, 'index.json'), 'utf8'));

/** A folder with the cases `ids`, after `change`; gone when the test ends. */
export const copied = (ids: readonly string[], change: (index: Index, folder: string) => void = () => {}): string => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-parity-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const all = index();
  const some = { ...all, cases: all.cases.filter((c) => ids.includes(c.id)) };
  for (const c of some.cases) copyFileSync(join(goldens, c.file), join(folder, c.file));
  change(some, folder);
  writeFileSync(join(folder, 'index.json'), JSON.stringify(some));
  return folder;
};
