/** A headless Chromium with WebGPU in software, from npm; and the example page, bundled and served. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import chromium from '@sparticuz/chromium';
import * as esbuild from 'esbuild';
import { type Browser, chromium as driver, type Page } from 'playwright-core';

const root = join(import.meta.dirname, '../..');

/** A folder of files on a port of this machine, as `npm run web` serves it; `stop` ends that. */
export const serve = async (folder: string): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> => {
  const context = await esbuild.context({});
  const { port } = await context.serve({ servedir: folder, host: '127.0.0.1', port: 0 });
  return { url: `http://localhost:${port}/`, stop: () => context.dispose() };
};

/** Waits until what the page says of itself starts so. What runs in a page is text: it has types of its own. */
export const status = (page: Page, start: string, timeout: number): Promise<unknown> =>
  page.waitForFunction(`document.getElementById('status').textContent.startsWith(${JSON.stringify(start)})`, undefined, { timeout });

/** The example page as `npm run web -- --out` writes it. */
export const bundled = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-web-'));
  execFileSync(process.execPath, [join(root, 'examples/web/serve.mjs'), '--out', folder], { stdio: 'pipe' });
  return folder;
};

/** `webgpu: false` gives a browser without it. The package's Chromium is for Linux on x64. */
export const launch = async (webgpu = true): Promise<Browser> =>
  driver.launch({
    executablePath: await chromium.executablePath(),
    args: [
      ...chromium.args.filter((a) => !a.includes('gl=')),
      ...(webgpu
        ? ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-dawn-features=disable_workgroup_init']
        : ['--disable-features=WebGPU,WebGPUService']),
    ],
  });
