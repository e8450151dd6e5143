/** The formula that stands in for stored weights: recorded check vectors, and the laws that its short forms must keep. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkVectors, fill, floats, fnv1a, permutation, stream, units, type Vector, word } from '../../models/parity/formula.ts';
import { goldens } from './folder.ts';

const { formula } = JSON.parse(readFileSync(join(goldens, 'index.json'), 'utf8')) as { formula: { vectors: Vector[] } };

test('the check vectors of the index are reproduced', () => {
  expect(formula.vectors.length).toBeGreaterThan(3);
  checkVectors(formula.vectors);
});

test('a check vector that differs anywhere is found', () => {
  const [v] = formula.vectors as [Vector];
  const bump = (list: readonly number[]): number[] => list.map((x, i) => (i === 5 ? x + 1 : x));
  const changed: Partial<Vector>[] = [
    { name: `${v.name}x` },
    { fnv1a32: v.fnv1a32 + 1 },
    { u32_first6: bump(v.u32_first6) },
    { u32_at: v.u32_at.map(([i, w]) => [i, w ^ 1] as const) },
    { values_first6_offset0_scale1: bump(v.values_first6_offset0_scale1) },
    { values_first6_offset1_scale0p2: bump(v.values_first6_offset1_scale0p2) },
  ];
  for (const c of changed)
    expect(() => checkVectors([{ ...v, ...c }]), JSON.stringify(Object.keys(c))).toThrow(expect.objectContaining({ code: 'FV0414' }));
});

test('a filled tensor is the formula element by element, rounded once', () => {
  const hash = fnv1a('ä/x');
  const n = 100_000;
  const x = floats('ä/x', n, 0.1, 0.7);
  for (let i = 0; i < n; i++) expect(x[i]).toBe(Math.fround(0.1 + 0.7 * (2 * (word(hash, i) / 2 ** 32) - 1)));
  const u = units('ä/x', 5);
  const s = stream('ä/x');
  expect([...u]).toEqual(Array.from({ length: 5 }, () => s.random()));
  expect(s.drawn()).toBe(5);
});

test('whole numbers, bytes and booleans follow their rules', () => {
  const of = (rule: Parameters<typeof fill>[0]['rule']): number[] => [...fill({ formulaName: 'n', shape: [4, 25], rule })];
  const u = [...units('n', 100)];
  expect(of({ kind: 'int', n: 7 })).toEqual(u.map((x) => Math.floor(7 * x)));
  expect(of({ kind: 'u8', n: 256 })).toEqual(u.map((x) => Math.floor(256 * x)));
  expect(of({ kind: 'below', p: 0.3 })).toEqual(u.map((x) => Number(x < 0.3)));
  const some = of({ kind: 'smallest', counts: [0, 3, 25, 1] });
  [0, 3, 25, 1].forEach((count, row) => {
    const inside = u.slice(row * 25, row * 25 + 25).filter((_, i) => some[row * 25 + i] === 1);
    const outside = u.slice(row * 25, row * 25 + 25).filter((_, i) => some[row * 25 + i] === 0);
    expect(inside.length).toBe(count);
    if (count > 0 && count < 25) expect(Math.max(...inside)).toBeLessThan(Math.min(...outside));
  });
});

test('a permutation lists its numbers by ascending u', () => {
  const [p, u] = [permutation('p', 50), units('p', 50)];
  expect([...p].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  for (let i = 1; i < 50; i++) expect(u[p[i - 1]!]).toBeLessThan(u[p[i]!]!);
});
