/** Where an error says it happened: in the user's text, also when a loader rewrote it before it ran. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('under a loader that rewrites, the place is that of the text as written', { timeout: 60_000 }, () => {
  const file = join(import.meta.dirname, 'fixtures/misfit.ts');
  const out = execFileSync(process.execPath, ['--import', 'tsx', file], { encoding: 'utf8' });
  const lines = readFileSync(file, 'utf8').split('\n');
  const line = lines.findIndex((l) => l.includes('return einsum'));
  expect(out).toContain(`misfit.ts:${line + 1}:${(lines[line] as string).indexOf('einsum') + 1}`);
  expect(out).toContain('FV0001');
});
