/**
 * What happens to a page that trains, in the headless Chromium: it is put in the background and frozen, the process that owns its device crashes, and a
 * program is larger than the device. Nothing hangs and nothing is lost.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hidden, launch, serve } from './browser.ts';
import type { Told } from './training.ts';

const here = process.platform === 'linux' && process.arch === 'x64';
if (!here) console.warn('test/web/faults skipped: the Chromium from npm is for Linux on x64');

let [folder, url, stop, browser]: [string, string, (() => Promise<void>) | undefined, Browser | undefined] = ['', '', undefined, undefined];
beforeAll(async () => {
  if (!here) return;
  folder = mkdtempSync(join(tmpdir(), 'fovea-faults-'));
  await esbuild.build({
    entryPoints: [join(import.meta.dirname, 'training.ts')],
    outfile: join(folder, 'training.js'),
    bundle: true,
    format: 'esm',
    platform: 'browser',
    logLevel: 'error',
  });
  const script = `
    globalThis.told = [];
    globalThis.frames = 0;
    const frame = () => { frames++; requestAnimationFrame(frame); };
    frame();
    new Worker('training.js', { type: 'module' }).addEventListener('message', (e) => told.push(e.data));`;
  writeFileSync(join(folder, 'index.html'), `<!doctype html><script>${script}</script>`);
  ({ url, stop } = await serve(folder));
  browser = await launch({ processes: true });
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await stop?.();
  if (folder !== '') rmSync(folder, { recursive: true });
});

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** What the page has been told, once some of it says so, or 30 s later. */
const toldOf = async (page: { evaluate<T>(text: string): Promise<T> }, enough: (t: Told) => boolean): Promise<readonly Told[]> => {
  for (let tries = 0; ; tries++) {
    const all = await page.evaluate<readonly Told[]>('globalThis.told ?? []');
    if (tries === 300 || all.some((t) => enough(t) || t.failed !== undefined)) return all;
    await wait(100);
  }
};
const last = (all: readonly Told[]): Told | undefined => all.at(-1);

test.skipIf(!here)(
  'a page in the background pauses while it is frozen, longer than its patience is, and goes on though nobody sees it',
  { timeout: 90_000 },
  async () => {
    const page = await hidden(browser as Browser, url);
    await toldOf(page, (t) => t.step > 20);
    await page.become('frozen');
    const [seen, frames] = [await page.evaluate<readonly Told[]>('globalThis.told ?? []'), await page.evaluate<number>('frames')];
    await wait(3500);
    expect(await page.evaluate<readonly Told[]>('globalThis.told ?? []')).toHaveLength(seen.length);
    await page.become('active');
    expect(await page.evaluate<string>('document.visibilityState')).toBe('hidden');
    const all = await toldOf(page, (t) => t.end !== undefined);
    expect(last(all)).toMatchObject({ devices: 1, step: 150, end: [150, 150, 150, 150] });
    expect(last(all)?.failed).toBeUndefined();
    // the worker stood still, too; and no frame was drawn
    expect(Math.max(...all.map((t, i) => t.at - (all[i - 1] ?? t).at))).toBeGreaterThan(3000);
    expect(await page.evaluate<number>('frames')).toBe(frames);
    // a program that the device has no room for was refused before all this
    expect(last(all)?.refused).toMatch(/^FV0202 Largest buffers: .* 1024\.0 MiB/);
  },
);

test.skipIf(!here)(
  'a page goes on from its last copy, on another device, when the process that owns the device crashes',
  { timeout: 90_000 },
  async () => {
    const page = await hidden(browser as Browser, url);
    await toldOf(page, (t) => t.step > 25);
    const session = await (browser as Browser).newBrowserCDPSession();
    await session.send('Browser.crashGpuProcess');
    const all = await toldOf(page, (t) => t.end !== undefined);
    expect(last(all)).toMatchObject({ devices: 2, step: 150, end: [150, 150, 150, 150] });
    // the first step on the other device follows a copy, which may be as new as the crash
    const before = last(all.filter((t) => t.devices === 1)) as Told;
    const again = all.filter((t) => t.devices === 2)[1] as Told;
    expect(again.step % 10).toBe(1);
    expect(again.step).toBeGreaterThan(20);
    expect(again.step).toBeLessThanOrEqual(before.step + 1);
  },
);
