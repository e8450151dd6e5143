/** Plans that a browser keeps, in the headless Chromium: the second visit takes them, a new version does not, damaged ones are made again. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import { expect, test } from 'vitest';
import { launch, serve } from './browser.ts';
import type { Kept } from './kept.ts';

const here = process.platform === 'linux' && process.arch === 'x64';
if (!here) console.warn('test/web/plans skipped: the Chromium from npm is for Linux on x64');

test.skipIf(!here)('a second visit starts with the plan of the first', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-kept-'));
  const browser = await launch();
  const { url, stop } = await serve(folder);
  try {
    await esbuild.build({
      entryPoints: [join(import.meta.dirname, 'kept.ts')],
      outfile: join(folder, 'kept.js'),
      bundle: true,
      format: 'esm',
      platform: 'browser',
      logLevel: 'error',
    });
    writeFileSync(join(folder, 'index.html'), '<!doctype html><script type="module" src="kept.js"></script>');
    const page = await browser.newPage();
    const visit = async (version: string): Promise<Kept> => {
      await page.goto(url);
      await page.waitForFunction('globalThis.visit');
      return page.evaluate(`visit('${version}')`);
    };
    const result = [2, 8, 18, 32, 50];
    expect(await visit('a')).toEqual({ kept: false, result, caches: ['fovea plans a'] });
    expect(await visit('a')).toEqual({ kept: true, result, caches: ['fovea plans a'] });
    // what another compiler has made is not taken, and goes
    expect(await visit('b')).toEqual({ kept: false, result, caches: ['fovea plans b'] });
    await page.evaluate('damage()');
    expect(await visit('b')).toMatchObject({ kept: false, result });
    expect(await visit('b')).toMatchObject({ kept: true, result });
  } finally {
    await browser.close();
    await stop();
    rmSync(folder, { recursive: true });
  }
});
