/** The table of mutants fits the sources as they are, and the runner notices a fault and puts the sources back. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { kill } from './kill.ts';
import { areas, faults, mutated } from './mutant.ts';
import { byArea, byLaw, fullTable } from './report.ts';
import { mutants } from './table/index.ts';
import { tree } from './tree.ts';

const root = join(import.meta.dirname, '../..');

test.each(mutants.map((m) => [`${m.area}: ${m.name}`, m] as const))('%s', (_, m) => {
  const text = readFileSync(join(root, m.file), 'utf8');
  expect(mutated(text, m)).not.toBe(text);
});

test('there are at least 60 mutants, of every area and every kind of fault, each with a name of its own', () => {
  expect(mutants.length).toBeGreaterThanOrEqual(60);
  expect([...new Set(mutants.map((m) => m.area))].sort()).toEqual([...areas].sort());
  expect([...new Set(mutants.map((m) => m.fault))].sort()).toEqual([...faults].sort());
  expect(new Set(mutants.map((m) => `${m.area}: ${m.name}`)).size).toBe(mutants.length);
});

test('a mutant whose text has gone is refused by name', () => {
  const m = { ...(mutants[0] as (typeof mutants)[number]), from: 'nowhere' };
  expect(() => mutated('some text', m)).toThrow(m.name);
  expect(() => mutated('nowhere and nowhere', m)).toThrow('stands 2 times');
});

test('the runner says which law notices a fault, and puts the file back', { timeout: 120_000 }, async () => {
  const m = mutants.find((x) => x.name === 'tanh as a straight line');
  if (!m) throw new Error('no such mutant');
  const copy = tree();
  const cache = mkdtempSync(join(tmpdir(), 'fovea-mutants-'));
  try {
    const found = await kill(copy, m, { programs: 40, seed: 1, seconds: 100, cache });
    expect(found?.law).toBe('jvp');
    for (const folder of [copy.folder, root]) expect(readFileSync(join(folder, m.file), 'utf8')).toContain(m.from);
    const result = found ? { mutant: m, kill: found } : { mutant: m };
    expect(fullTable([result])).toContain(`| ${found?.law} |`);
    expect(byArea([result])).toContain('| jvp | 1 | 0 |');
    expect(byLaw([{ mutant: m }])).toContain('SURVIVES');
  } finally {
    copy.remove();
    rmSync(cache, { recursive: true, force: true });
  }
});
