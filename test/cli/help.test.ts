import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fovea } from './command.ts';

test('help and version', { timeout: 120_000 }, async () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string };
  expect(await fovea(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  const help = await fovea(['--help']);
  expect(help).toMatchObject({ status: 0, stderr: '' });
  expect(help.stdout).toMatch(/^Usage: fovea [\s\S]*Commands:\n {2}demo /);
  const demo = await fovea(['demo', '--help']);
  expect(demo).toMatchObject({ status: 0, stderr: '' });
  for (const option of ['--steps', '--seed', '--backend', '--precision', '--data', '--out', '--debug'])
    expect(demo.stdout).toContain(option);
  const features = await fovea(['features', '--help']);
  expect(features).toMatchObject({ status: 0, stderr: '' });
  for (const option of ['--model', '--registers', '--weights', '--out', '--pca', '--batch', '--resize', '--crop'])
    expect(features.stdout).toContain(option);
  const bench = await fovea(['bench', '--help']);
  expect(bench).toMatchObject({ status: 0, stderr: '' });
  for (const option of ['--model', '--batch', '--size', '--dtype', '--shape', '--threads', '--runs', '--backend', '--json', '--profile'])
    expect(bench.stdout).toContain(option);
  // no command at all: how to call it, and a status that scripts notice
  const bare = await fovea([]);
  expect(bare).toMatchObject({ status: 1, stdout: '' });
  expect(bare.stderr).toBe(help.stdout);
});
