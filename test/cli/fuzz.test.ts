import { expect, test } from 'vitest';
import { fovea, scratch } from './command.ts';

test('programs of a seed hold all laws on the reference backend, and the report says how many', { timeout: 120_000 }, async () => {
  const cache = scratch();
  const r = await fovea(['fuzz', '--programs', '20', '--seed', '5', '--backend', 'reference'], { env: { FOVEA_CACHE: cache } });
  expect(r.stderr).toBe('');
  expect(r.status).toBe(0);
  expect(r.stdout).toMatch(/20 programs from seed 5, \d+ laws on reference: all hold/);
  expect(r.stdout).toMatch(/elements with a bound: \d+/);
});

test('laws and backends that do not exist are refused', { timeout: 120_000 }, async () => {
  const law = await fovea(['fuzz', '--law', 'gravity']);
  expect(law).toMatchObject({ status: 1, stdout: '' });
  expect(law.stderr).toContain('FV0503: --law gravity: no such law');
  expect(law.stderr).toContain('duality');
  const backend = await fovea(['fuzz', '--backend', 'abacus']);
  expect(backend.stderr).toContain('FV0303');
});
