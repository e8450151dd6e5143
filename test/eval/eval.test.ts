/** Laws of k-NN, PCA and linear probes, and the pictures of a run. Recorded results are checked in test/parity. */
import sharp from 'sharp';
import { expect, test } from 'vitest';
import type { F32 } from '../../dsl/index.ts';
import { knn, neighbours, normaliseRows } from '../../models/eval/knn.ts';
import { pca, symmetricEigen, toColours } from '../../models/eval/pca.ts';
import { type BlockTokens, centrePadding, probeInput } from '../../models/eval/probe.ts';
import { fill, floats } from '../../models/parity/formula.ts';
import { drawGrid } from '../../models/plot/grid.ts';
import { lineChart, pictureGrid, trailingMean } from '../../models/plot/index.ts';
import { chartSvg, ticks } from '../../models/plot/svg.ts';
import { evaluate, type Numbers, numbers } from '../models/evaluate.ts';

test('a bank classifies itself with k = 1, and scaling a feature changes nothing', () => {
  const x = floats('self', 50 * 8, 0, 1);
  const labels = fill({ formulaName: 'labels', shape: [50], rule: { kind: 'int', n: 3 } });
  const input = { bank: x, bankLabels: labels, queries: x.map((v, i) => v * (1 + Math.floor(i / 8))), dim: 8, classes: 3, k: [1] };
  expect(knn({ ...input, queryLabels: labels }).accuracy.get(1)).toBe(1);
  const norms = normaliseRows(x, 8);
  for (let r = 0; r < 50; r++) expect(Math.hypot(...norms.subarray(r * 8, r * 8 + 8))).toBeCloseTo(1, 6);
});

test('k-NN refuses sizes and labels that do not fit', () => {
  const input = { bank: new Float32Array(12), bankLabels: [0, 1, 2], queries: new Float32Array(4), dim: 4, classes: 3, k: [2] };
  expect(() => neighbours({ ...input, k: [4] })).toThrow(/bank of 3/);
  expect(() => neighbours({ ...input, bankLabels: [0, 1] })).toThrow(/2 labels/);
  expect(() => neighbours({ ...input, bankLabels: [0, 1, 3] })).toThrow(/label 3/);
  expect(() => neighbours({ ...input, dim: 5 })).toThrow(/no rows of 5/);
});

test('components are orthonormal, also with more dimensions than rows and with no variance at all', () => {
  for (const [rows, dim, count] of [
    [40, 30, 3],
    [4, 60, 3],
    [10, 2, 2],
  ] as const) {
    const { components } = pca(floats(`${rows}`, rows * dim, 0, 1), dim, count);
    for (let i = 0; i < count; i++)
      for (let j = 0; j < count; j++) {
        let s = 0;
        for (let d = 0; d < dim; d++) s += components[i * dim + d]! * components[j * dim + d]!;
        // float64 arithmetic on at most 60 terms below 1
        expect(Math.abs(s - (i === j ? 1 : 0))).toBeLessThan(1e-12);
      }
  }
  expect(pca(new Float32Array(200).fill(3), 40, 3).projections.every((v) => v === 0)).toBe(true);
});

test('Jacobi rotations rebuild the matrix', () => {
  const n = 12;
  const r = floats('sym', n * n, 0, 1);
  const m = Array.from({ length: n }, (_, i) => Float64Array.from({ length: n }, (_, j) => r[i * n + j]! + r[j * n + i]!));
  const { values, vectors } = symmetricEigen(m);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      const back = values.reduce((s, l, k) => s + l * vectors[k]![i]! * vectors[k]![j]!, 0);
      expect(Math.abs(back - m[i]![j]!)).toBeLessThan(1e-12 * n);
    }
  expect([...values]).toEqual([...values].sort((x, y) => y - x));
});

test('colours use the whole range and keep the order', () => {
  const c = toColours(Float64Array.from({ length: 300 }, (_, i) => Math.floor(i / 3) * (i % 3 === 1 ? -1 : 1)));
  expect([c[0], c[297], c[1], c[298]]).toEqual([0, 255, 255, 0]);
});

test('ticks are round and inside the range', () => {
  expect(ticks(0, 400, 8)).toEqual([0, 50, 100, 150, 200, 250, 300, 350, 400]);
  expect(ticks(-0.31, 7.2, 6)).toEqual([0, 2, 4, 6]);
  expect(ticks(0.1, 0.3, 4)).toEqual([0.1, 0.15, 0.2, 0.25, 0.3]);
  expect(ticks(5, 5, 4)).toEqual([5]);
});

test('a chart is a PNG with a line of every series, and bad numbers break the line', async () => {
  const chart = {
    title: 'training',
    x: 'step',
    y: 'loss',
    series: [
      {
        name: 'dino',
        points: [
          [0, 7],
          [1, Number.NaN],
          [2, 6],
          [3, 5],
        ],
      },
      {
        name: 'ibot',
        points: [
          [0, 3],
          [3, 2],
        ],
      },
    ],
  } as const;
  const svg = chartSvg(chart);
  expect(svg).not.toContain('NaN');
  const lines = [...svg.matchAll(/<path d="([^"]*)" fill="none" stroke="(#0072b2|#d55e00)"/g)].map((m) => m[1]!.replace(/[\d. ]/g, ''));
  expect(lines).toEqual(['MML', 'ML']);
  const { data, info } = await sharp(await lineChart(chart))
    .raw()
    .toBuffer({ resolveWithObject: true });
  expect([info.width, info.height]).toEqual([900, 560]);
  // the first series' colour is on the picture
  let blue = 0;
  for (let i = 0; i < data.length; i += info.channels) if (data[i] === 0 && data[i + 1] === 0x72 && data[i + 2] === 0xb2) blue++;
  expect(blue).toBeGreaterThan(20);
  await expect(lineChart({ ...chart, series: [] })).resolves.toBeInstanceOf(Uint8Array);
});

test('a trailing mean', () => {
  expect(
    trailingMean(
      [
        [0, 1],
        [1, 3],
        [2, 5],
      ],
      2,
    ),
  ).toEqual([
    [0, 1],
    [1, 2],
    [2, 4],
  ]);
});

test('a grid repeats pixels without smoothing and keeps the shape of a picture', async () => {
  const p = { width: 2, height: 2, channels: 1, data: Uint8Array.of(0, 90, 90, 200) } as const;
  const q = { width: 1, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3) } as const;
  const g = drawGrid([[p, q], [q]], { cell: 2, gap: 1 });
  expect([g.width, g.height]).toEqual([7, 7]);
  const at = (x: number, y: number): number[] => [...g.data.subarray((y * 7 + x) * 3, (y * 7 + x) * 3 + 3)];
  expect([at(0, 0), at(1, 1), at(2, 2), at(4, 1), at(1, 4), at(4, 4)]).toEqual([
    [255, 255, 255],
    [0, 0, 0],
    [200, 200, 200],
    [1, 2, 3],
    [1, 2, 3],
    [255, 255, 255],
  ]);
  // twice as wide as high: the full width, in the middle of the height
  const wide = { width: 2, height: 1, channels: 1, data: Uint8Array.of(10, 20) } as const;
  const framed = drawGrid([[wide]], { cell: 4, gap: 0 });
  const row = (y: number): number[] => [0, 1, 2, 3].map((x) => framed.data[(y * 4 + x) * 3] as number);
  expect([0, 1, 2, 3].map(row)).toEqual([
    [255, 255, 255, 255],
    [10, 10, 20, 20],
    [10, 10, 20, 20],
    [255, 255, 255, 255],
  ]);
  const { info } = await sharp(await pictureGrid([[p]], { cell: 8 })).toBuffer({ resolveWithObject: true });
  expect([info.width, info.height, info.format]).toEqual([16, 16, 'png']);
});

test('a probe reads the last class tokens in network order, and images are padded around the centre', () => {
  const blocks = [1, 2, 3].map((b) => ({
    cls: numbers([b, b + 0.5], [1, 2]),
    patches: numbers([b, 0, 3 * b, 1], [1, 2, 2]),
  }));
  const read = (n: number, average: boolean): number[] => {
    const f = (x: readonly BlockTokens[]) => probeInput(x, n, average);
    return Array.from((evaluate(f, [blocks]) as Numbers).data);
  };
  expect(read(2, false)).toEqual([2, 2.5, 3, 3.5]);
  expect(read(1, true)).toEqual([3, 3.5, 6, 0.5]);
  expect(() => read(4, false)).toThrow(/the last 4 of 3 blocks/);
  const image = numbers([1, 2, 3, 4, 5, 6], [1, 1, 2, 3]);
  const padded = evaluate((x: F32<string>) => centrePadding(4)(x, [2, 3]), [image]) as Numbers;
  expect(padded.shape).toEqual([1, 1, 4, 4]);
  expect(Array.from(padded.data)).toEqual([0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0, 0]);
});
