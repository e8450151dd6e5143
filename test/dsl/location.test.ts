/** Where an error says it happened: in the user's text, also when a loader rewrote it before it ran. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { type F32, spec, trace } from '../../dsl/index.ts';
import { placeIn } from '../../dsl/location.ts';
import { places } from './fixtures/places.ts';

test('under a loader that rewrites, the place is that of the text as written', { timeout: 60_000 }, () => {
  const file = join(import.meta.dirname, 'fixtures/misfit.ts');
  const out = execFileSync(process.execPath, ['--import', 'tsx', file], { encoding: 'utf8' });
  const lines = readFileSync(file, 'utf8').split('\n');
  const line = lines.findIndex((l) => l.includes('return einsum'));
  expect(out).toContain(`misfit.ts:${line + 1}:${(lines[line] as string).indexOf('einsum') + 1}`);
  expect(out).toContain('FV0001');
});

test('of a kink and of a shape error, under vitest and under tsx', { timeout: 60_000 }, () => {
  const file = join(import.meta.dirname, 'fixtures/places.ts');
  const expected = { kink: { file, line: 15, col: 22 }, shape: { file, line: 18, col: 10 } };
  expect(places()).toEqual(expected);
  const program = `import { places } from ${JSON.stringify(pathToFileURL(file).href)}; console.log(JSON.stringify(places()));`;
  const out = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], { encoding: 'utf8' });
  expect(JSON.parse(out)).toEqual(expected);
});

test('a hook whose text says nothing does no harm', () => {
  const saved = Error.prepareStackTrace;
  try {
    for (const hook of [() => undefined, () => 'no place at all', (_: Error, frames: unknown) => frames]) {
      Error.prepareStackTrace = hook;
      const { graph } = trace((x: F32<'2'>) => x.mul(x), [spec('2')]);
      expect(graph.nodes[0]?.meta.loc).toMatchObject({ file: import.meta.filename });
      expect(Error.prepareStackTrace).toBe(hook);
    }
  } finally {
    Error.prepareStackTrace = saved;
  }
});

test('a stack as text: the first place that is no part of Fovea, of Node or of a package', () => {
  const root = join(import.meta.dirname, '../..');
  const of = (...frames: readonly string[]) => placeIn(['TypeError: x at y', ...frames.map((f) => `    at ${f}`)].join('\n'));
  const place = (file: string, line: number, col: number) => ({ file, line, col });
  expect(of('f (/home/me/a.ts:1:2)', 'g (/home/me/b.ts:3:4)')).toEqual(place('/home/me/a.ts', 1, 2));
  expect(of(`f (${root}/dsl/tensor.ts:1:2)`, 'Object.g [as h] (file:///home/me/a%20b.ts:3:4)')).toEqual(place('/home/me/a b.ts', 3, 4));
  expect(of('JSON.parse (<anonymous>)', 'f (node:fs:1:2)', 'async /home/me/my (old)/a.ts:5:6')).toEqual(
    place('/home/me/my (old)/a.ts', 5, 6),
  );
  expect(of('new A (/home/me/node_modules/b/c.js:1:2)', '/home/me (2)/a.ts:3:4')).toEqual(place('/home/me (2)/a.ts', 3, 4));
  expect(of(`f (${root}/cli/exports.ts:1:2)`, 'g (/home/me/a.ts:1:2)')).toBeUndefined();
});
