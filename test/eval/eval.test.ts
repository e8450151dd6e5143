/** k-NN and PCA against recorded results, their laws, and the pictures of a run. */
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { knn, neighbours, normaliseRows, ranking } from '../../models/eval/knn.ts';
import { pca, symmetricEigen, toColours } from '../../models/eval/pca.ts';
import { chartSvg, ticks } from '../../models/plot/chart.ts';
import { drawGrid } from '../../models/plot/grid.ts';
import { lineChart, pictureGrid, trailingMean } from '../../models/plot/index.ts';
import { floats, integers } from '../data/formula.ts';
import { distance, golden } from '../data/goldens.ts';

test('k-NN equals the recorded classifier', () => {
  const want = golden('knn');
  const [dim, classes] = [32, 7];
  const centres = floats('pub/knn/centers', classes * dim, 1);
  const features = (part: string, n: number): { x: Float32Array; labels: Int32Array } => {
    const labels = integers(`pub/knn/${part}_labels`, n, classes);
    const noise = floats(`pub/knn/${part}_noise`, n * dim, 1.1);
    return { labels, x: noise.map((v, i) => v + centres[labels[Math.floor(i / dim)]! * dim + (i % dim)]!) };
  };
  const bank = features('train', 200);
  const query = features('query', 12);
  const input = { bank: bank.x, bankLabels: bank.labels, queries: query.x, dim, classes, k: [10, 20] };
  const got = neighbours(input);
  // recorded tolerance: 20 times the float32 run's own error
  expect(distance(got.similarities, want('topk_sims'))).toBeLessThanOrEqual(3.2e-6);
  expect([...got.labels]).toEqual(want('topk_labels'));
  for (const k of [10, 20]) {
    const votes = got.votes.get(k)!;
    expect(distance(votes, want(`probas_k${k}`))).toBeLessThanOrEqual(2.6e-6);
    const best = Array.from({ length: 12 }, (_, q) => ranking(votes.subarray(q * classes, (q + 1) * classes), 1)[0]!);
    expect(best).toEqual(want(`top1_k${k}`));
    const at = (top: number): number => knn({ ...input, queryLabels: query.labels, top }).accuracy.get(k)!;
    expect(distance([at(1), at(5)], want(`acc_top1_top5_k${k}`))).toBeLessThanOrEqual(1e-7);
  }
});

test('a bank classifies itself with k = 1, and scaling a feature changes nothing', () => {
  const x = floats('self', 50 * 8, 1);
  const labels = integers('labels', 50, 3);
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

test('PCA equals the recorded decomposition', () => {
  const want = golden('pca');
  const [n, dim, rank] = [120, 48, 5];
  const a = floats('pub/pca/a', n * rank, 1);
  const b = floats('pub/pca/b', rank * dim, 1);
  const e = floats('pub/pca/e', n * dim, 1);
  const weights = [3, 2, 1.3, 0.6, 0.3];
  const x = Float32Array.from({ length: n * dim }, (_, i) => {
    const [r, c] = [Math.floor(i / dim), i % dim];
    return weights.reduce((s, w, k) => s + a[r * rank + k]! * w * b[k * dim + c]!, 0) + 0.1 * e[i]!;
  });
  const p = pca(x, dim, 3);
  // recorded tolerances
  expect(distance(p.mean, want('mean'))).toBeLessThanOrEqual(2.3e-6);
  expect(distance(p.components, want('components'))).toBeLessThanOrEqual(3.2e-6);
  expect(distance(p.projections, want('projections'))).toBeLessThanOrEqual(1.4e-4);
  expect(distance(p.explained, want('explained_variance_ratio'))).toBeLessThanOrEqual(6.1e-6);
  expect(distance(pca(x, dim, 6).singularValues, want('singular_values'))).toBeLessThanOrEqual(7.6e-4);
});

test('components are orthonormal, also with more dimensions than rows and with no variance at all', () => {
  for (const [rows, dim, count] of [
    [40, 30, 3],
    [4, 60, 3],
    [10, 2, 2],
  ] as const) {
    const { components } = pca(floats(`${rows}`, rows * dim, 1), dim, count);
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
  const r = floats('sym', n * n, 1);
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
