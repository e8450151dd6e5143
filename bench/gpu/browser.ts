/**
 * Other systems on WebGPU, where they run: in a browser, all on the same numbers (peers/page.js). They have a package.json of their own, which nothing of Fovea
 * needs:
 *
 *   npm ci --prefix bench/gpu/peers
 *
 * The browser is the headless Chromium of the tests with a software adapter, or one of this machine (`chrome`) with its own GPU through Vulkan.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import { chromium as driver } from 'playwright-core';
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

const flags = ['--enable-unsafe-webgpu', '--enable-features=Vulkan', '--use-angle=vulkan', '--headless=new', '--no-sandbox'];

/** Runs the cases one after another, each peer in turn; a peer that fails says why and the others go on. */
export const runPeers = async (cases: readonly PeerCase[], runs: number, chrome?: string): Promise<readonly (readonly PeerRow[])[]> => {
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
  const browser = chrome === undefined ? await launch() : await driver.launch({ executablePath: chrome, args: flags });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(600_000);
    await page.goto(url);
    await page.waitForFunction('globalThis.race');
    const out: (readonly PeerRow[])[] = [];
    for (const c of cases) out.push(await page.evaluate(`race('${c.what}', ${JSON.stringify(c.shape)}, ${runs})`));
    return out;
  } finally {
    await browser.close();
    await stop();
    rmSync(folder, { recursive: true });
  }
};
