/** What the README shows is what runs: its code stands in the example, and the example learns. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { faces, reference } from '../../docs/api.ts';
import { learn } from '../../examples/vit.ts';

const root = join(import.meta.dirname, '../..');
const examples = readdirSync(join(root, 'examples'))
  .filter((f) => f.endsWith('.ts'))
  .map((f) => readFileSync(join(root, 'examples', f), 'utf8'));

test('every block of code in the README is part of an example', () => {
  const blocks = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map((m) => (m[1] as string).trim());
  expect(blocks.length).toBeGreaterThan(0);
  for (const block of blocks)
    expect(
      examples.some((e) => e.includes(block)),
      block,
    ).toBe(true);
});

test('every block of code in the tutorial is part of an example, which learns', { timeout: 120_000 }, async () => {
  const blocks = [...readFileSync(join(root, 'docs/tutorial.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map((m) =>
    (m[1] as string).trim(),
  );
  expect(blocks.length).toBeGreaterThan(5);
  for (const block of blocks)
    expect(
      examples.some((e) => e.includes(block)),
      block,
    ).toBe(true);
  const losses = await learn(200);
  expect(losses[0]).toBeGreaterThan(1.2);
  expect(losses.at(-1)).toBeLessThan(0.5);
});

test('the reference has a section for everything that can be imported, and each is a file of the package', () => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, unknown> };
  const names = faces().map(([name]) => name);
  for (const key of Object.keys(exports)) {
    const name = key.replace(/^\./, 'fovea');
    expect(
      names.some((n) => (name.endsWith('*') ? n.startsWith(name.slice(0, -1)) : n === name)),
      name,
    ).toBe(true);
  }
  for (const [, file] of faces()) expect(existsSync(join(root, file)), file).toBe(true);
  const sections = [...readFileSync(join(root, 'docs/api.md'), 'utf8').matchAll(/^## (.*)$/gm)].map(([, name]) => name);
  expect(sections).toEqual(names);
});

test('the reference is that of the docstrings of today (npx tsx docs/api.ts writes it)', { timeout: 60_000 }, () => {
  expect(readFileSync(join(root, 'docs/api.md'), 'utf8')).toBe(reference());
});

test('every file that the README and the docs link to exists', () => {
  const pages = [
    'README.md',
    ...readdirSync(join(root, 'docs'))
      .filter((f) => f.endsWith('.md'))
      .map((f) => `docs/${f}`),
  ];
  for (const page of pages)
    for (const [, to] of readFileSync(join(root, page), 'utf8').matchAll(/\]\((?!https?:)([^)#]+)\)/g))
      expect(() => readFileSync(join(root, page, '..', to as string)), `${page} -> ${to}`).not.toThrow();
});

test('the quick start learns', { timeout: 120_000 }, () => {
  const out = execFileSync(process.execPath, ['--import', 'tsx', join(root, 'examples/quickstart.ts')], { encoding: 'utf8', cwd: root });
  const [before, after] = [...out.matchAll(/: ([\d.]+)$/gm)].map((m) => Number(m[1]));
  expect(before).toBeGreaterThan(0.1);
  expect(after).toBeLessThan(0.01);
});
