/** Every recorded case of the repository, on both backends, against the tolerances that were recorded with it. */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import type { Backend } from '../../index.ts';
import { openCatalogue, recorded } from '../../models/parity/catalogue.ts';
import { groups } from '../../models/parity/groups.ts';
import { type Outcome, parity } from '../../models/parity/run.ts';
import { goldens } from './folder.ts';

const { entries } = openCatalogue(goldens);
const mine = entries.filter((e) => Object.hasOwn(groups, e.group));

const ran = mine.filter((e) => e.group !== 'real_size');

const all = async (backend: Backend, cases = mine): Promise<readonly Outcome[]> => {
  const out: Outcome[] = [];
  for await (const o of parity(cases, { backend })) out.push(o);
  return out;
};
/** What is wrong with the outcomes, in words. */
const faults = (outcomes: readonly Outcome[]): string[] =>
  outcomes
    .filter((o) => o.status === 'fail')
    .map((o) => `${o.id}: ${o.reason ?? o.verdicts.filter((v) => !v.pass).map((v) => `${v.name}: ${v.why}`)}`);

test('the folder has the files and tensors that its index lists, and no others', () => {
  for (const e of entries) recorded(e.read());
  const files = readdirSync(goldens).filter((f) => f.endsWith('.safetensors'));
  expect(entries.map((e) => e.read().file).sort()).toEqual(files.sort());
});

test('every group of the table has a case', () => {
  expect(Object.keys(groups).filter((g) => !entries.some((e) => e.group === g))).toEqual([]);
});

test('on the float64 reference', async () => {
  const outcomes = await all(reference);
  expect(faults(outcomes)).toEqual([]);
  const skipped = outcomes.filter((o) => o.status === 'skipped');
  for (const o of skipped) console.log(`${o.id} skipped: ${o.reason}`);
  expect([...new Set(skipped.map((o) => o.group))]).toEqual(['real_size']);
  expect(outcomes.filter((o) => o.status === 'pass').map((o) => o.verdicts.length)).toEqual(ran.map((e) => e.read().outputs.length));
});

test('on the CPU backend', async () => {
  const outcomes = await all(cpu(), ran);
  expect(faults(outcomes)).toEqual([]);
  expect(outcomes.filter((o) => o.status !== 'pass')).toEqual([]);
  console.log('real sizes skipped: they take a minute; fovea parity --goldens test/goldens --group real_size runs them');
}, 300_000);
