/** Files of features, pictures of patches, and how evaluation looks at a picture. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { centreCrop, imagenet, ownPixels, type Picture, viewBatch, wholePicture } from '../../models/data/index.ts';
import { type FeatureSet, featureFormats, shortest32 } from '../../models/eval/feature-file.ts';
import { patchPicture } from '../../models/eval/patches.ts';
import { readSafetensors } from '../../models/weights/index.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fovea-features-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const gray = (width: number, height: number, value = (i: number) => i % 256): Picture => ({
  width,
  height,
  channels: 1,
  data: Uint8Array.from({ length: width * height }, (_, i) => value(i)),
});

test('a float32 in the fewest digits that give it back', () => {
  expect([0.1, 1 / 3, 16777216, 1e-45, 3.4028234663852886e38].map((x) => String(shortest32(Math.fround(x))))).toEqual([
    '0.1',
    '0.33333334',
    '16777216',
    '1.4013e-45',
    '3.4028235e+38',
  ]);
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
      const short = shortest32(x);
      expect(Math.fround(short)).toBe(Math.fround(x) === 0 ? Math.fround(short) : x);
      // no number of one digit fewer rounds to it
      const digits = (y: number): number => y.toExponential().replace(/e.*|\D/g, '').length;
      const n = digits(short);
      if (x !== 0 && n > 6) expect(Math.fround(Number(x.toPrecision(n - 1)))).not.toBe(x);
    }),
    { seed: 3, numRuns: 2000 },
  );
});

describe('a file of features', () => {
  const row = (n: number, from: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin(from + i) / 3);
  const image = (name: string, grid: readonly [number, number], from: number) => ({
    name,
    grid,
    cls: row(4, from),
    registers: row(8, from + 1),
    patches: row(4 * grid[0] * grid[1], from + 2),
  });
  const set = (...images: FeatureSet['images']): FeatureSet => ({ model: 'm', preprocessing: { view: 'centre' }, images });

  test('stacks images of one grid; both formats hold the same numbers', () => {
    const both = set(image('ä.png', [1, 2], 0), image('b.png', [1, 2], 9));
    featureFormats['.safetensors'](join(dir, 'f.safetensors'), both);
    featureFormats['.json'](join(dir, 'f.json'), both);
    const { tensors, metadata } = readSafetensors(join(dir, 'f.safetensors'));
    expect([...tensors].map(([name, t]) => [name, t.shape])).toEqual([
      ['cls', [2, 4]],
      ['registers', [2, 2, 4]],
      ['patches', [2, 2, 4]],
    ]);
    expect(metadata).toEqual({ model: 'm', preprocessing: '{"view":"centre"}', names: '["ä.png","b.png"]', grids: '[[1,2],[1,2]]' });
    const json = JSON.parse(readFileSync(join(dir, 'f.json'), 'utf8')) as { images: Record<string, unknown>[] } & Record<string, unknown>;
    expect([json.model, json.preprocessing]).toEqual(['m', { view: 'centre' }]);
    for (const name of ['cls', 'registers', 'patches'])
      expect(json.images.flatMap((i) => (i[name] as number[]).flat(2)).map(Math.fround)).toEqual([...tensors.get(name)!.data]);
    expect((json.images[0]!.registers as number[][]).map((r) => r.length)).toEqual([4, 4]);
  });

  test('keeps images of different grids apart, and leaves out what is not there', () => {
    const plain = { ...image('b', [2, 2], 9), registers: new Float32Array(0) };
    featureFormats['.safetensors'](join(dir, 'g.safetensors'), set({ ...image('a', [1, 2], 0), registers: new Float32Array(0) }, plain));
    expect([...readSafetensors(join(dir, 'g.safetensors')).tensors].map(([name, t]) => [name, t.shape])).toEqual([
      ['cls', [2, 4]],
      ['patches.0', [2, 4]],
      ['patches.1', [4, 4]],
    ]);
    const { patches: _, ...bare } = plain;
    featureFormats['.json'](join(dir, 'h.json'), set(bare));
    const { images } = JSON.parse(readFileSync(join(dir, 'h.json'), 'utf8')) as { images: object[] };
    expect(images.map((i) => Object.keys(i))).toEqual([['name', 'grid', 'cls']]);
  });
});

describe('views', () => {
  const size = (v: { width: number; height: number }): readonly number[] => [v.width, v.height];
  test('whole: the shorter side about as asked for, both sides multiples of the patch, never none', () => {
    const view = wholePicture(50, 14);
    expect([gray(100, 100), gray(100, 60), gray(3, 300)].map((p) => size(view(p)))).toEqual([
      [56, 56],
      [84, 56],
      [56, 4998],
    ]);
    expect(size(wholePicture(3, 14)(gray(20, 20)))).toEqual([14, 14]);
  });

  test('exact: as it is, cut, or padded with zeros around', () => {
    expect(size(ownPixels(14)(gray(28, 42)))).toEqual([28, 42]);
    expect(() => ownPixels(14)(gray(28, 43))).toThrow(/28 x 43 .* patches of 14/);
    expect(() => ownPixels(14, 'crop')(gray(28, 13))).toThrow(/28 x 13/);
    const cut = ownPixels(2, 'crop')(gray(5, 4));
    expect([size(cut), [...cut.picture.data]]).toEqual([
      [4, 4],
      [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18],
    ]);
    const padded = ownPixels(4, 'pad')(gray(1, 2, () => 255));
    const { shape, data } = viewBatch([padded], imagenet, 2);
    expect(shape).toEqual([2, 3, 4, 4]);
    const inside = [...data.keys()].filter((i) => data[i] !== 0);
    // column 1, rows 1 and 2 of each channel of the first image
    expect(inside).toEqual([5, 9, 21, 25, 37, 41]);
    expect(data[5]).toBe(Math.fround((1 - imagenet.mean[0]) / imagenet.std[0]));
  });

  test('what would not fit into memory or into one batch is refused', () => {
    expect(() => centreCrop(256, 300)).toThrow(/300 pixels out of .* 256/);
    expect(() => centreCrop(256, 224)(gray(1, 5000))).toThrow(/256 x 1280000/);
    expect(() => wholePicture(256, 14)(gray(5000, 1))).toThrow(/at most/);
    expect(() => viewBatch([ownPixels(2)(gray(2, 2)), ownPixels(2)(gray(4, 2))], imagenet, 2)).toThrow(/2 x 2 and 4 x 2/);
  });
});

test('a picture of patches: one set of components for all images, shapes kept, rows wrapped', async () => {
  const rows = (n: number, at: number): Float32Array =>
    Float32Array.from({ length: 3 * n }, (_, i) => (i % 3 === 0 ? at : 0) + (i % 7) * 0.01);
  const image = (grid: readonly [number, number], at: number) => ({ picture: gray(8, 8), grid, patches: rows(grid[0] * grid[1], at) });
  const png = await patchPicture([image([2, 2], -1), image([2, 2], 1), image([1, 2], 1)], 3, { cell: 8, columns: 2 });
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  expect([info.width, info.height]).toEqual([2 * 12 + 4, 4 * 12 + 4]);
  const at = (column: number, row: number, x: number, y: number): number[] => [
    ...data.subarray(((4 + row * 12 + y) * info.width + 4 + column * 12 + x) * 3).subarray(0, 3),
  ];
  // the first component is what tells the images apart: its ends are 0 and 255
  expect(Math.abs((at(0, 1, 1, 1)[0] as number) - (at(1, 1, 1, 1)[0] as number))).toBeGreaterThan(240);
  // a map of 1 x 2 patches is half as high as wide
  expect([at(0, 3, 1, 0), at(0, 3, 1, 4)]).toEqual([[255, 255, 255], expect.not.arrayContaining([[255, 255, 255]])]);
});
