/** One file at a time: what every kind of image becomes, and what becomes of files that are none. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { centreView, maxPixels, type ReadOptions, readImage, stream } from '../../models/data/index.ts';
import { flatJpeg, png, pngChunk } from './files.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fovea-decode-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const put = (bytes: Uint8Array, name = 'x.png'): string => {
  const file = join(dir, name);
  writeFileSync(file, bytes);
  return file;
};
const pixels = async (bytes: Uint8Array, options?: ReadOptions): Promise<number[]> => {
  const { picture } = await readImage(put(bytes), options);
  expect([picture.channels, picture.data.length]).toEqual([3, 3 * picture.width * picture.height]);
  return [...picture.data];
};
const refused = async (file: string, options?: ReadOptions): Promise<FoveaError> => {
  try {
    await readImage(file, options);
  } catch (e) {
    if (e instanceof FoveaError) {
      expect(e.message).toContain(file);
      return e;
    }
    throw e;
  }
  throw new Error('it was not refused');
};

describe('pixels', () => {
  test('8-bit RGB, gray, palette, one bit', async () => {
    expect(await pixels(png({ width: 2, height: 1, type: 'rgb', rows: [[1, 2, 3, 250, 251, 252]] }))).toEqual([1, 2, 3, 250, 251, 252]);
    expect(await pixels(png({ width: 1, height: 2, type: 'gray', rows: [[7], [200]] }))).toEqual([7, 7, 7, 200, 200, 200]);
    expect(await pixels(png({ width: 2, height: 1, type: 'palette', palette: [9, 8, 7, 1, 2, 3], rows: [[1, 0]] }))).toEqual([
      1, 2, 3, 9, 8, 7,
    ]);
    expect(await pixels(png({ width: 2, height: 1, type: 'gray', depth: 1, rows: [[0b01000000]] }))).toEqual([0, 0, 0, 255, 255, 255]);
  });

  test('16 bits: the upper eight, not rounded', async () => {
    const rgb = png({ width: 2, height: 1, type: 'rgb', depth: 16, rows: [[0, 255, 1, 0, 128, 200, 255, 255, 254, 255, 7, 127]] });
    expect(await pixels(rgb)).toEqual([0, 1, 128, 255, 254, 7]);
    expect(await pixels(png({ width: 2, height: 1, type: 'gray', depth: 16, rows: [[0, 255, 254, 255]] }))).toEqual([
      0, 0, 0, 254, 254, 254,
    ]);
  });

  test('alpha is dropped, or laid over black', async () => {
    const rgba = png({ width: 2, height: 1, type: 'rgba', rows: [[200, 100, 50, 0, 10, 20, 30, 255]] });
    expect(await pixels(rgba)).toEqual([200, 100, 50, 10, 20, 30]);
    expect(await pixels(rgba, { overBlack: true })).toEqual([0, 0, 0, 10, 20, 30]);
    expect(await pixels(png({ width: 1, height: 1, type: 'grayAlpha', rows: [[77, 3]] }))).toEqual([77, 77, 77]);
    const holes = { palette: [9, 8, 7, 1, 2, 3], extra: { tRNS: Uint8Array.of(0) }, rows: [[0, 1]] } as const;
    expect(await pixels(png({ width: 2, height: 1, type: 'palette', ...holes }))).toEqual([9, 8, 7, 1, 2, 3]);
  });

  test('JPEG of one colour: gray, YCbCr, CMYK and YCCK', async () => {
    const first = async (bytes: Buffer): Promise<number[]> => {
      const all = await pixels(bytes);
      expect(all).toHaveLength(3 * 64);
      for (let i = 0; i < 64; i++) expect(all.slice(3 * i, 3 * i + 3)).toEqual(all.slice(0, 3));
      return all.slice(0, 3);
    };
    expect(await first(flatJpeg([90]))).toEqual([90, 90, 90]);
    expect(await first(flatJpeg([100, 128, 128]))).toEqual([100, 100, 100]);
    // r = y + 1.402 (cr - 128), g = y - 0.344136 (cb - 128) - 0.714136 (cr - 128), b = y + 1.772 (cb - 128)
    expect(await first(flatJpeg([100, 138, 148]))).toEqual([128, 82, 118]);
    // Adobe's files hold 255 - ink: c 10, m 200, y 100, k 30 -> 245 * 225 / 255, 55 * 225 / 255, 155 * 225 / 255
    expect(await first(flatJpeg([245, 55, 155, 225], { adobe: 0 }))).toEqual([216, 49, 137]);
    // there luma 100 means red = green = blue = 100, and 255 - 100 is what a file without luma would hold
    expect(await first(flatJpeg([100, 128, 128, 225], { adobe: 2 }))).toEqual([137, 137, 137]);
  });

  test('a colour profile changes nothing', async () => {
    const p3 = await sharp({ create: { width: 2, height: 2, channels: 3, background: 'red' } })
      .withIccProfile('p3')
      .png()
      .toBuffer();
    const extra = { iCCP: pngChunk(p3, 'iCCP') };
    expect(await pixels(png({ width: 1, height: 1, type: 'rgb', rows: [[200, 100, 50]], extra }))).toEqual([200, 100, 50]);
  });

  test('orientation is ignored unless asked for', async () => {
    // the left half is red; orientation 6: the camera was held so that the left side is up
    const left = await sharp({ create: { width: 32, height: 16, channels: 3, background: 'blue' } })
      .composite([{ input: { create: { width: 16, height: 16, channels: 3, background: 'red' } }, left: 0, top: 0 }])
      .jpeg({ quality: 100 })
      .withMetadata({ orientation: 6 })
      .toBuffer();
    const file = put(left, 'turned.jpg');
    const [plain, upright] = [(await readImage(file)).picture, (await readImage(file, { orient: true })).picture];
    expect([plain.width, plain.height, upright.width, upright.height]).toEqual([32, 16, 16, 32]);
    const red = ({ data }: { data: Uint8Array }, i: number): boolean => data[3 * i]! > 200 && data[3 * i + 2]! < 60;
    expect([red(plain, 0), red(plain, 31), red(upright, 0), red(upright, 15), red(upright, 31 * 16)]).toEqual([
      true,
      false,
      true,
      true,
      false,
    ]);
  });

  test.each(['gif', 'webp'] as const)('of an animated %s the first frame, and it is said', async (format) => {
    const frames = Buffer.concat([Buffer.alloc(8 * 8 * 3, 255), Buffer.alloc(8 * 8 * 3, 0)]);
    const raw = { width: 8, height: 16, channels: 3, pageHeight: 8 } as const;
    const file = put(await sharp(frames, { raw }).toFormat(format).toBuffer(), `moving.${format}`);
    const { picture, notes } = await readImage(file);
    expect([picture.width, picture.height, picture.data[0]]).toEqual([8, 8, 255]);
    expect(notes).toEqual([`${file}: 2 frames, the first is used`]);
  });

  test('one pixel fills a whole view', async () => {
    const { picture } = await readImage(put(png({ width: 1, height: 1, type: 'rgb', rows: [[3, 150, 255]] })));
    const view = centreView(picture, 256, 224);
    expect([view.width, view.height]).toEqual([224, 224]);
    for (let i = 0; i < view.data.length; i += 3) expect([...view.data.subarray(i, i + 3)]).toEqual([3, 150, 255]);
  });
});

describe('files that are no images', () => {
  const whole = (format: 'png' | 'jpeg' | 'webp' | 'gif'): Promise<Buffer> => {
    const r = stream(5);
    const noise = Buffer.from(Array.from({ length: 40 * 40 * 3 }, () => Math.floor(256 * r())));
    return sharp(noise, { raw: { width: 40, height: 40, channels: 3 } })
      .toFormat(format)
      .toBuffer();
  };

  test.each(['png', 'jpeg', 'webp', 'gif'] as const)('a %s cut short anywhere', async (format) => {
    const bytes = await whole(format);
    for (const part of [1, 3, 8, 20, bytes.length >> 2, bytes.length >> 1])
      expect((await refused(put(bytes.subarray(0, part), `cut.${format}`))).code).toBe('FV0403');
  });

  test('empty, text, a drawing under a wrong name, no pixels', async () => {
    expect((await refused(put(new Uint8Array()))).message).toMatch(/the file is empty$/);
    expect((await refused(put(Buffer.from('these are no pixels')))).message).toContain('first bytes');
    expect((await refused(put(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')))).message).toContain(
      'first bytes',
    );
    for (const [width, height] of [
      [0, 0],
      [0, 5],
      [5, 0],
    ] as const)
      expect((await refused(put(png({ width, height, type: 'gray', rows: [[]] })))).code).toBe('FV0403');
  });

  test('a header that claims more pixels than are unpacked', async () => {
    const claims = async (width: number, height: number): Promise<FoveaError> =>
      refused(put(png({ width, height, type: 'gray', rows: [[0]] })));
    expect((await claims(100_000, 100_000)).message).toContain(`claims 100000 x 100000 pixels; at most ${maxPixels}`);
    expect((await claims(2 ** 31 - 1, 2 ** 31 - 1)).code).toBe('FV0403');
    // a thousand pixels that would become billions
    const file = put(png({ width: 1, height: 1000, type: 'gray', rows: new Array<number[]>(1000).fill([1]) }));
    expect((await refused(file, { short: 1000 })).message).toContain('too narrow');
  });

  test('folders, pipes and files that are not there', async () => {
    mkdirSync(join(dir, 'folder.png'));
    expect(await refused(join(dir, 'folder.png'))).toMatchObject({ code: 'FV0402' });
    expect(await refused(join(dir, 'missing.png'))).toMatchObject({ code: 'FV0402' });
    if (process.platform === 'win32') return console.log('no named pipes here: their refusal is not tested');
    execFileSync('mkfifo', [join(dir, 'pipe.png')]);
    expect(await refused(join(dir, 'pipe.png'))).toMatchObject({ code: 'FV0402' });
  });

  test.each(['png', 'jpeg', 'webp', 'gif'] as const)('a %s with random bytes changed is read or refused', async (format) => {
    const bytes = await whole(format);
    const r = stream(11);
    let refusals = 0;
    for (let i = 0; i < 150; i++) {
      const copy = Buffer.from(bytes);
      for (let n = 1 + Math.floor(4 * r()); n > 0; n--)
        copy[Math.floor(copy.length * (r() < 0.5 ? r() : 0.1 * r()))] = Math.floor(256 * r());
      try {
        const { picture } = await readImage(put(copy));
        expect(picture.data.length).toBe(3 * picture.width * picture.height);
      } catch (e) {
        expect(e).toMatchObject({ code: 'FV0403' });
        refusals++;
      }
    }
    expect(refusals).toBeGreaterThan(0);
  });
});
