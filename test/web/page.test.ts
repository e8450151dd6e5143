/** The example page in a real browser: it trains DINOv2, draws what a person would look at, takes a picture, and says what is wrong. */
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundled, launch, serve, status } from './browser.ts';

const here = process.platform === 'linux' && process.arch === 'x64';
/** Training takes a software driver half a minute on two cores: `.ci/run` asks for it. */
const long = process.env['FOVEA_TEST_LONG'] === '1';
if (!here) console.warn('test/web skipped: the Chromium from npm is for Linux on x64');
else if (!long) console.warn('training in a page skipped, for it takes half a minute: FOVEA_TEST_LONG=1 npx vitest run test/web/page');

let [folder, url, stop, browser]: [string, string, (() => Promise<void>) | undefined, Browser | undefined] = ['', '', undefined, undefined];
beforeAll(async () => {
  if (!here) return;
  folder = bundled();
  ({ url, stop } = await serve(folder));
  browser = await launch();
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await stop?.();
  if (folder !== '') rmSync(folder, { recursive: true });
});

/** How many colours are on each canvas below `id`. */
const colours = (page: Page, id: string): Promise<number[]> =>
  page.evaluate(`[...document.querySelectorAll('#${id} canvas')].map((canvas) => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let i = 0; i < pixels.length; i += 4) seen.add(pixels.slice(i, i + 3).join());
    return seen.size;
  })`);

/** A picture that a user might bring. */
const own = async () => ({
  name: 'own.png',
  mimeType: 'image/png',
  buffer: await sharp({ create: { width: 90, height: 60, channels: 3, background: '#fff' } })
    .composite([{ input: { create: { width: 30, height: 30, channels: 3, background: '#a21' } }, left: 40, top: 10 }])
    .png()
    .toBuffer(),
});

/** A page in which nothing goes wrong unseen. */
const opened = async (): Promise<{ readonly page: Page; readonly wrong: string[] }> => {
  const page = await (browser as Browser).newPage();
  const wrong: string[] = [];
  page.on('pageerror', (e) => wrong.push(String(e)));
  page.on('console', (m) => m.type() === 'error' && wrong.push(m.text()));
  await page.goto(url);
  await status(page, 'ready: ', 30_000);
  return { page, wrong };
};

test.skipIf(!here)('a page finds a device, and says what is wrong with what it is given', { timeout: 60_000 }, async () => {
  const { page, wrong } = await opened();
  expect(await page.textContent('#status')).toMatch(/^ready: .*swiftshader.*, 6000 images$/i);
  await page.setInputFiles('#file', await own());
  await status(page, 'FV0408: there is no model yet', 10_000);
  await page.setInputFiles('#file', { name: 'note.txt', mimeType: 'text/plain', buffer: Buffer.from('no picture') });
  await status(page, 'this file is no picture', 10_000);
  expect(await page.isEnabled('#train')).toBe(true);
  expect(wrong).toEqual([]);
});

test.skipIf(!here || !long)(
  'DINOv2 trains in a page, which shows its losses and what it tells apart, and looks at a picture',
  { timeout: 240_000 },
  async () => {
    const { page, wrong } = await opened();
    const picture = await own();
    await page.fill('#steps', '2');
    await page.fill('#images', '1');
    await page.fill('#asked', '5');
    await page.click('#train');
    await status(page, 'done: 2 steps', 200_000);
    // a batch needs two images
    expect(await page.inputValue('#images')).toBe('2');
    expect(await page.textContent('#before')).toMatch(/^\d+\.\d %$/);
    expect(await page.textContent('#after')).toMatch(/^\d+\.\d %$/);
    expect(await page.locator('#curve svg path').count()).toBeGreaterThan(3);
    const seen = await colours(page, 'patches');
    expect(seen).toHaveLength(20);
    expect(Math.min(...seen)).toBeGreaterThan(5);
    await page.setInputFiles('#file', picture);
    await status(page, 'features of your picture', 60_000);
    const [shown, features] = (await colours(page, 'own')) as [number, number];
    expect(shown).toBeGreaterThan(1);
    expect(features).toBeGreaterThan(50);
    expect(wrong).toEqual([]);
  },
);

test.skipIf(!here || !long)('training goes on when the process that owns the device crashes', { timeout: 240_000 }, async () => {
  const several = await launch({ processes: true });
  const page = await several.newPage();
  await page.goto(url);
  await status(page, 'ready: ', 30_000);
  await page.fill('#steps', '3');
  await page.fill('#images', '2');
  await page.fill('#asked', '0');
  // what it says of itself, however soon it says something else
  await page.evaluate(`globalThis.said = [];
    new MutationObserver(([{ target }]) => said.push(target.textContent)).observe(document.getElementById('status'), { childList: true });`);
  await page.click('#train');
  // the first step has been copied by then
  await status(page, 'step 2', 120_000);
  await (await several.newBrowserCDPSession()).send('Browser.crashGpuProcess');
  await status(page, 'done: 3 steps', 200_000);
  expect(await page.evaluate<string[]>('said')).toContainEqual(
    expect.stringMatching(/^the device was lost: going on from step [12] on another$/),
  );
  // a point a step, the one that was made twice included
  expect(
    await page.evaluate<number[]>(
      `[...document.querySelectorAll('#curve path[stroke-width="1.6"]')].map((p) => p.getAttribute('d').match(/[ML]/g).length)`,
    ),
  ).toEqual([3, 3, 3]);
  await several.close();
});

test.skipIf(!here)('a browser without WebGPU is told so', { timeout: 60_000 }, async () => {
  const without = await launch({ webgpu: false });
  const page = await without.newPage();
  await page.goto(url);
  await status(page, 'FV0307: ', 30_000);
  expect(await page.textContent('#status')).toMatch(/^FV0307: .* (https|driver)/);
  expect(await page.isDisabled('#stop')).toBe(true);
  await without.close();
});

test.skipIf(!here)('what a browser loads is small, and has nothing of Node', () => {
  const text = readFileSync(join(folder, 'worker.js'), 'utf8');
  expect(text).not.toMatch(/from ?["'](node:|sharp|webgpu)|require\(/);
  expect(statSync(join(folder, 'worker.js')).size).toBeLessThan(420_000);
  expect(gzipSync(text).length).toBeLessThan(160_000);
});
