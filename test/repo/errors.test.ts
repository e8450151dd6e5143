/** docs/errors.md, the table of codes and what the sources throw are one list. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { codes } from '../../compiler/error.ts';
import { sources } from '../../docs/house.ts';

const root = join(import.meta.dirname, '../..');
const table = Object.entries(codes);
const text = readFileSync(join(root, 'docs/errors.md'), 'utf8');
const sections = text
  .split(/^## /m)
  .slice(1)
  .map((s) => ({ code: s.slice(0, s.indexOf('\n')), body: s.slice(s.indexOf('\n')) }));

test('a section for every code, in order, and none besides', () => {
  expect(sections.map((s) => s.code)).toEqual(table.map(([code]) => code));
});

test('a section says what the code means and shows it as it is printed', () => {
  for (const [code, title] of table) {
    const body = sections.find((s) => s.code === code)?.body ?? '';
    const lead = body.match(/^\n\n\*\*(.+?)\.\*\* \S/)?.[1];
    expect(lead?.toLowerCase(), code).toBe(title.toLowerCase());
    expect(body, code).toMatch(new RegExp(`\n\`\`\`\n${code}: \\S.*\n(  \\S.*\n)*\`\`\`\n`));
  }
});

/** Codes as they stand in the sources, without the table itself. */
const used = new Map<string, string[]>();
for (const file of sources(root)) {
  if (file === 'compiler/error.ts') continue;
  // comments name codes too, so only literals count
  for (const [, code] of readFileSync(join(root, file), 'utf8').matchAll(/'(FV\d{4})'/g))
    used.set(code as string, [...(used.get(code as string) ?? []), file]);
}

test('every code is thrown somewhere', () => {
  expect(table.map(([code]) => code).filter((code) => !used.has(code))).toEqual([]);
});

test('every code that is thrown is in the table', () => {
  expect([...used].filter(([code]) => !(code in codes)).map(([code, files]) => `${code} in ${files.join(', ')}`)).toEqual([]);
});

test('every hint is a sentence', () => {
  const hints = sources(root)
    .filter((file) => file !== 'compiler/error.ts') // its header has an example
    .flatMap((file) =>
      [...readFileSync(join(root, file), 'utf8').matchAll(/\bhint: (['`])(.+?)\1[ ,}]/g)].map(([, , hint]) => `${file}: ${hint}`),
    );
  expect(hints.length).toBeGreaterThan(20);
  expect(hints.filter((h) => !/: [A-Z].*\.$/.test(h))).toEqual([]);
});
