/**
 * Other systems on WebGPU, where they run: in a browser, all on the same numbers (peers/page.js). They have a package.json of their own, which nothing of Fovea
 * needs:
 *
 *   npm ci --prefix bench/gpu/peers
 *
 * The browser is one of this machine (`chrome`), with its GPU through Vulkan, or the headless Chromium of the tests with a software adapter.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import { type Browser, chromium as driver, type Page } from 'playwright-core';
import { launch, serve } from '../../test/web/browser.ts';

export interface PeerRow {
  readonly name: string;
  readonly ms?: number;
  readonly gflops?: number;
  /** Largest difference from float64, over the largest value. */
  readonly error?: number;
  /** Why there is no figure. */
  readonly failed?: string;
}
export interface PeerCase {
  readonly what: 'gemm' | 'attention';
  readonly shape: readonly number[];
}

const here = join(import.meta.dirname, 'peers');
export const installed = (): boolean => existsSync(join(here, 'node_modules'));

const over = Symbol('over');
const flags = ['--enable-unsafe-webgpu', '--enable-features=Vulkan', '--use-angle=vulkan', '--headless=new', '--no-sandbox'];

/**
 * Runs the cases one after another, each peer in turn; a peer that fails, or has no figure after `seconds`, says so, and the others go on. Without `chrome` all
 * of it is computed by the processor.
 */
export const runPeers = async (
  cases: readonly PeerCase[],
  { runs, seconds, chrome }: { readonly runs: number; readonly seconds: number; readonly chrome?: string | undefined },
): Promise<{ readonly device: string; readonly rows: readonly (readonly PeerRow[])[] }> => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-peers-'));
  const ort = join(here, 'node_modules/onnxruntime-web/dist');
  mkdirSync(join(folder, 'ort'));
  for (const f of readdirSync(ort))
    if (/^ort-wasm-simd-threaded\.(asyncify|jsep)?\.?(mjs|wasm)$/.test(f)) copyFileSync(join(ort, f), join(folder, 'ort', f));
  await esbuild.build({
    entryPoints: [join(here, 'page.js')],
    outfile: join(folder, 'page.js'),
    bundle: true,
    format: 'esm',
    platform: 'browser',
    logLevel: 'error',
  });
  writeFileSync(join(folder, 'index.html'), '<!doctype html><script type="module" src="page.js"></script>');
  const { url, stop } = await serve(folder);
  let open: { readonly browser: Browser; readonly page: Page } | undefined;
  const opened = async () => {
    if (open) return open;
    const browser = chrome === undefined ? await launch() : await driver.launch({ executablePath: chrome, args: flags });
    const page = await browser.newPage();
    await page.goto(url);
    await page.waitForFunction('globalThis.race', undefined, { timeout: 60_000 });
    open = { browser, page };
    return open;
  };
  const close = async (): Promise<void> => {
    const closing = open?.browser.close();
    open = undefined;
    await closing;
  };
  /** A page that does not answer in time goes, with its browser: what it waits for may hold the device. */
  const bounded = async <T>(text: string, late: T): Promise<T> => {
    const { page } = await opened();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = new Promise<typeof over>((resolve) => {
      timer = setTimeout(resolve, 1000 * seconds, over);
    });
    const asked = page.evaluate<T>(text);
    asked.catch(() => {});
    const answer = await Promise.race([asked, end]).finally(() => clearTimeout(timer));
    if (answer !== over) return answer;
    await close();
    return late;
  };
  try {
    const names = await bounded<readonly string[]>('names', []);
    const rows: (readonly PeerRow[])[] = [];
    for (const { what, shape } of cases) {
      const row: PeerRow[] = [];
      for (const name of names) {
        const late = { name, failed: `no figure after ${seconds} s` };
        row.push(await bounded<PeerRow>(`race(${JSON.stringify(name)}, '${what}', ${JSON.stringify(shape)}, ${runs})`, late));
      }
      rows.push(row);
    }
    return { device: await bounded('adapter()', 'a browser'), rows };
  } finally {
    await close();
    await stop();
    rmSync(folder, { recursive: true });
  }
};
