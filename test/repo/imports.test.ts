/**
 * The house's arrows: which room may import which. Reads every import of every source file, so a wrong arrow or a cycle
 * between files fails here and not in review.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { edges, picture, rooms, sources } from '../../docs/house.ts';

const root = join(import.meta.dirname, '../..');

test('every import follows an arrow of the house', () => {
  const wrong = edges(root).filter((e) => e.from !== e.to && !rooms[e.from]?.includes(e.to));
  expect(wrong.map((e) => `${e.file} imports ${e.target}: ${e.from} -> ${e.to}`)).toEqual([]);
});

test('the reader of imports finds them', () => {
  expect(sources(root).length).toBeGreaterThan(20);
  expect(edges(root).some((e) => e.from === 'dsl' && e.to === 'compiler/graph')).toBe(true);
});

test('no two files import each other, directly or in a circle', () => {
  const next = new Map<string, string[]>();
  for (const e of edges(root)) if (!e.typeOnly) next.set(e.file, [...(next.get(e.file) ?? []), e.target]);
  const state = new Map<string, 'open' | 'done'>();
  const circles: string[] = [];
  const visit = (f: string, path: string[]): void => {
    if (state.get(f) === 'done') return;
    if (state.get(f) === 'open') {
      circles.push([...path.slice(path.indexOf(f)), f].join(' -> '));
      return;
    }
    state.set(f, 'open');
    for (const t of next.get(f) ?? []) visit(t, [...path, f]);
    state.set(f, 'done');
  };
  for (const f of next.keys()) visit(f, []);
  expect(circles).toEqual([]);
});

test('the picture of the house is drawn from the imports of today (npx tsx docs/house.ts redraws it)', () => {
  expect(readFileSync(join(root, 'docs/house.svg'), 'utf8')).toBe(picture(root));
});

test('nothing in the repository names a place outside it', () => {
  const places = [/\/work\//, /\/root\//, /\.\.\/shared\b/];
  const texts = (dir: string): string[] =>
    readdirSync(dir, { withFileTypes: true }).flatMap((d) => {
      if (['node_modules', 'dist', '.git', 'goldens', 'runs'].includes(d.name)) return [];
      const path = join(dir, d.name);
      return d.isDirectory() ? texts(path) : /\.(ts|md|json|py|sh|run)$/.test(d.name) ? [path] : [];
    });
  const self = relative(root, import.meta.filename);
  const hits = texts(root).filter((f) => relative(root, f) !== self && places.some((p) => p.test(readFileSync(f, 'utf8'))));
  expect(hits.map((f) => relative(dirname(root), f))).toEqual([]);
});
