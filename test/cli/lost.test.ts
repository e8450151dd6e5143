/** A device that is lost while `fovea train` runs: the run goes on from its newest checkpoint on another, and ends as if nothing had been. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { stepName } from '../../models/checkpoint/index.ts';
import { fovea, scratch } from './command.ts';

const long = process.env['FOVEA_TEST_LONG'] === '1';
if (!long) console.warn('training on a device that is lost skipped, for it takes a minute: FOVEA_TEST_LONG=1 npx vitest run test/cli/lost');

test.skipIf(!long)('training goes on when its device is lost', { timeout: 600_000 }, async () => {
  const out = join(scratch(), 'run');
  const lose = pathToFileURL(join(import.meta.dirname, 'lose.ts')).href;
  const LOSE_WHEN = join(out, 'checkpoints', stepName(2));
  const { status, stdout, stderr } = await fovea(
    ['train', '--backend', 'webgpu', '--steps', '4', '--batch', '2', '--every', '1', '--out', out],
    { env: { NODE_OPTIONS: `--import tsx --import ${lose}`, LOSE_WHEN }, fromSources: true },
  );
  expect(stderr).toMatch(/the device was lost: .*; going on from step [23] on another device/);
  expect(stdout).toMatch(/going on from step [23]\n/);
  expect(status).toBe(0);
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  expect(lines.map((l) => (JSON.parse(l) as { step: number }).step)).toEqual([1, 2, 3, 4]);
});
