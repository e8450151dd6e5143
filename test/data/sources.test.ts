/** Where images come from: the bundled files, folders of the user's files (also damaged ones), and a step's batch. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { sampler } from '../../models/data/batch.ts';
import {
  type BatchRecipe,
  batches,
  centreCrop,
  dinov2Crops,
  holdOut,
  loadFashion,
  loadFolder,
  maskBound,
  take,
  viewBatch,
} from '../../models/data/index.ts';
import { findPackageFile } from '../../models/data/package.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fovea-data-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The error that `f` ends with, by its code and report. */
const failure = async (f: () => unknown): Promise<{ code: string; text: string }> => {
  try {
    await f();
  } catch (e) {
    if (e instanceof FoveaError) return { code: e.code, text: e.report() };
    throw e;
  }
  throw new Error('it did not fail');
};

const write = async (path: string, width: number, height: number, colour: string, format: 'png' | 'jpeg' | 'webp'): Promise<void> => {
  mkdirSync(join(path, '..'), { recursive: true });
  await sharp({ create: { width, height, channels: 3, background: colour } })
    .toFormat(format)
    .toFile(path);
};

test('the bundled images are whole: counts, sizes, equally many of each class', () => {
  const { train, test: held } = loadFashion();
  expect([train.pictures.length, held.pictures.length]).toEqual([6000, 2000]);
  for (const [set, each] of [
    [train, 600],
    [held, 200],
  ] as const) {
    expect(set.pictures.every((p) => p.width === 28 && p.height === 28 && p.data.length === 784)).toBe(true);
    const counts = new Array<number>(10).fill(0);
    for (const l of set.labels!) counts[l]!++;
    expect(counts).toEqual(new Array(10).fill(each));
  }
  // the stored statistics are the data's, to the three digits that they have
  let [sum, squares] = [0, 0];
  for (const p of train.pictures)
    for (const v of p.data) {
      sum += v / 255;
      squares += (v / 255) ** 2;
    }
  const mean = sum / (6000 * 784);
  expect(Math.abs(mean - train.normalise.mean[0])).toBeLessThan(2e-3);
  expect(Math.abs(Math.sqrt(squares / (6000 * 784) - mean ** 2) - train.normalise.std[0])).toBeLessThan(2e-3);
});

test('the data folder is found from the sources and from a build folder', () => {
  expect(findPackageFile('data')).toBe(join(import.meta.dirname, '../../data'));
  mkdirSync(join(dir, 'package/dist/models/data'), { recursive: true });
  writeFileSync(join(dir, 'package/package.json'), '{}');
  expect(findPackageFile('data', join(dir, 'package/dist/models/data'))).toBe(join(dir, 'package/data'));
});

test('damaged bundled files are refused with the file and the reason', async () => {
  const copy = join(dir, 'fashion');
  cpSync(findPackageFile('data/fashion-mnist'), copy, { recursive: true });
  const labels = join(copy, 't10k-labels-idx1-ubyte.gz');
  const whole = readFileSync(labels);
  writeFileSync(labels, whole.subarray(0, whole.length >> 1));
  expect(await failure(() => loadFashion(copy))).toMatchObject({ code: 'FV0404', text: expect.stringContaining(labels) });
  writeFileSync(labels, gzipSync(gunzipSync(whole).subarray(0, 1000)));
  expect((await failure(() => loadFashion(copy))).text).toMatch(/992 samples, its header says 2000/);
  rmSync(labels);
  expect((await failure(() => loadFashion(copy))).code).toBe('FV0404');
});

test('a folder of classes: every format, gray and transparent images, a broken file is skipped and named', async () => {
  const root = join(dir, 'classes');
  await write(join(root, 'red/a.png'), 40, 30, '#ff0000', 'png');
  await write(join(root, 'red/deep/b.JPG'), 64, 90, '#ff0000', 'jpeg');
  await write(join(root, 'blue/c.webp'), 8, 8, '#0000ff', 'webp');
  await sharp({ create: { width: 9, height: 9, channels: 4, background: { r: 255, g: 255, b: 255, alpha: 0 } } })
    .png()
    .toFile(join(root, 'blue/clear.png'));
  await sharp(Buffer.alloc(100, 77), { raw: { width: 10, height: 10, channels: 1 } })
    .toColourspace('b-w')
    .png()
    .toFile(join(root, 'blue/gray.png'));
  writeFileSync(join(root, 'blue/notes.txt'), 'no image');
  const png = readFileSync(join(root, 'red/a.png'));
  writeFileSync(join(root, 'red/half.png'), png.subarray(0, png.length >> 1));
  const { set, warnings } = await loadFolder(root, { short: 20 });
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain(join(root, 'red/half.png'));
  expect(set.classes).toEqual(['blue', 'red']);
  expect([...set.labels!]).toEqual([0, 0, 0, 1, 1]);
  expect(set.pictures.map((p) => [p.width, p.height])).toEqual([
    [20, 20],
    [20, 20],
    [20, 20],
    [27, 20],
    [20, 28],
  ]);
  const first = set.pictures.map((p) => [...p.data.subarray(0, 3)]);
  // webp and jpeg are lossy: their colours are near, not equal
  expect(first[0]![2]).toBeGreaterThan(240);
  expect(first[1]).toEqual([0, 0, 0]);
  expect(first[2]).toEqual([77, 77, 77]);
  expect(first[3]).toEqual([255, 0, 0]);
  expect(first[4]![0]).toBeGreaterThan(240);
});

test('a flat folder has no labels; a limit chooses some files and says so', async () => {
  const root = join(dir, 'flat');
  for (let i = 0; i < 6; i++) await write(join(root, `${i}.png`), 12, 12, '#204060', 'png');
  const { set, warnings } = await loadFolder(root, { short: 12, limit: 4, seed: 1 });
  expect(set.labels).toBeUndefined();
  expect(set.pictures).toHaveLength(4);
  expect(warnings.join()).toContain('6 images, 4 of them are used');
});

test('folders that cannot serve end in one clear error', async () => {
  expect(await failure(() => loadFolder(join(dir, 'nowhere'), { short: 8 }))).toMatchObject({ code: 'FV0402' });
  const empty = join(dir, 'empty');
  mkdirSync(empty);
  expect(await failure(() => loadFolder(empty, { short: 8 }))).toMatchObject({ code: 'FV0401', text: expect.stringContaining('.webp') });
  const broken = join(dir, 'broken');
  mkdirSync(broken);
  writeFileSync(join(broken, 'x.jpg'), 'these are no pixels');
  expect(await failure(() => loadFolder(broken, { short: 8 }))).toMatchObject({ code: 'FV0403', text: expect.stringContaining('x.jpg') });
  expect(await failure(() => loadFolder(join(broken, 'x.jpg'), { short: 8 }))).toMatchObject({ code: 'FV0402' });
  const locked = join(dir, 'locked');
  mkdirSync(locked);
  chmodSync(locked, 0);
  // root may read everything: then the folder is simply empty
  const code = (await failure(() => loadFolder(locked, { short: 8 }))).code;
  expect(code).toBe(process.getuid?.() === 0 ? 'FV0401' : 'FV0402');
});

const { globals, local } = dinov2Crops(28, 16);
const recipe: BatchRecipe = { batch: 4, patch: 4, globals, local, locals: 3, maskProbability: 0.5, maskRatio: [0.1, 0.5] };

test('a batch has the shapes of the step and depends on seed and step only', () => {
  const set = take(loadFashion().train, 50);
  const at = batches(set, recipe, 5);
  const b = at(3);
  expect(b.global.shape).toEqual([8, 3, 28, 28]);
  expect(b.local.shape).toEqual([12, 3, 16, 16]);
  expect(b.masks.shape).toEqual([8, 49]);
  expect([b.maskIndices.shape, b.maskWeights.shape, b.maskCount.shape]).toEqual([[maskBound(recipe)], [maskBound(recipe)], []]);
  for (const t of Object.values(b)) expect(t.data.length).toBe(t.shape.reduce((x: number, y: number) => x * y, 1));
  expect(b.maskCount.data[0]).toBe(b.masks.data.reduce((x: number, y: number) => x + y, 0));
  // asked again, out of order, and from another instance: the same bits
  at(0);
  expect(at(3)).toEqual(b);
  expect(batches(set, recipe, 5)(3)).toEqual(b);
  expect(batches(set, recipe, 6)(3)).not.toEqual(b);
  expect(at(4)).not.toEqual(b);
});

test('crops are stacked crop-major', () => {
  const plainCrop = {
    ...local,
    size: 16,
    scale: [1, 1],
    aspect: [1, 1],
    flip: 0,
    gray: 0,
    jitter: { ...local.jitter, p: 0 },
    blur: { ...local.blur, p: 0 },
  } as const;
  const set = take(loadFashion().train, 4);
  const still = {
    ...recipe,
    globals: [
      { ...plainCrop, size: 28 },
      { ...plainCrop, size: 28 },
    ],
    local: plainCrop,
  } as const;
  const b = batches(set, still, 1)(0);
  const one = 3 * 28 * 28;
  const crop = (i: number): number[] => [...b.global.data.subarray(i * one, (i + 1) * one)];
  // with nothing random left, crop 0 and crop 1 of an image are equal, and so are its rows i and B + i
  for (let i = 0; i < 4; i++) expect(crop(i)).toEqual(crop(4 + i));
  expect(crop(0)).not.toEqual(crop(1));
  // the four pictures of the pass are all there
  const views = viewBatch(set.pictures.map(centreCrop(28, 28)), set.normalise, 4);
  const want = [0, 1, 2, 3].map((i) => [...views.data.subarray(i * one, (i + 1) * one)].join());
  expect([0, 1, 2, 3].map((i) => crop(i).join()).sort()).toEqual(want.sort());
});

test('every pass reads every picture once, in an order of its own', () => {
  const pick = sampler(10, 3);
  const pass = (p: number): number[] => Array.from({ length: 10 }, (_, i) => pick(10 * p + i));
  for (const p of [0, 1, 5]) expect(pass(p).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(pass(0)).not.toEqual(pass(1));
  expect(pass(0)).toEqual(pass(0));
});

test('a set is cut in two without loss', () => {
  const set = take(loadFashion().train, 30);
  const { train, test: held } = holdOut(set, 0.2, 4);
  expect([train.pictures.length, held.pictures.length]).toEqual([24, 6]);
  expect(new Set([...train.pictures, ...held.pictures]).size).toBe(30);
  const label = new Map(set.pictures.map((p, i) => [p, set.labels![i]]));
  for (const part of [train, held]) part.pictures.forEach((p, i) => expect(part.labels![i]).toBe(label.get(p)));
});

test.each([
  ['batch of 1', { batch: 1 }],
  ['fewer local crops than none', { locals: -1 }],
  ['patch that does not divide', { patch: 5 }],
  ['unequal global crops', { globals: [globals[0], { ...globals[1], size: 32 }] as const }],
  ['more than there are images', { batch: 51 }],
])('settings that do not fit are refused: %s', async (_, change) => {
  const set = take(loadFashion().train, 50);
  expect((await failure(() => batches(set, { ...recipe, ...change }, 0))).code).toBe('FV0408');
});
