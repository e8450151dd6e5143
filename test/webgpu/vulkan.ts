/**
 * A Vulkan driver in software, SwiftShader, from the npm package of a headless Chromium: tests of WebGPU run where there is neither a graphics
 * card nor a driver. The loader of shared libraries looks for it when a process starts, so this has to be called before workers are.
 *
 *   FOVEA_TEST_ADAPTER=system npm test      the machine's own driver instead
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

const folder = join(import.meta.dirname, '../../node_modules/.cache/swiftshader');

/** The folder with the driver and its description, unpacked once. Undefined where the package has none for this machine. */
const unpacked = (): string | undefined => {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  if (existsSync(folder)) return folder;
  const main = createRequire(import.meta.url).resolve('@sparticuz/chromium');
  const archive = join(main.slice(0, main.lastIndexOf('/build/')), 'bin/swiftshader.tar.br');
  mkdirSync(dirname(folder), { recursive: true });
  const made = mkdtempSync(`${folder}-`);
  execFileSync('tar', ['xf', '-', '-C', made], { input: brotliDecompressSync(readFileSync(archive)) });
  try {
    renameSync(made, folder);
  } catch (e) {
    // another process was quicker
    rmSync(made, { recursive: true });
    if (!existsSync(folder)) throw e;
  }
  return folder;
};

/** Environment with which Dawn finds the driver; empty where the machine's own is to be taken. */
export const softwareVulkan = (): Readonly<Record<string, string>> => {
  const at = process.env['FOVEA_TEST_ADAPTER'] === 'system' ? undefined : unpacked();
  if (at === undefined) return {};
  const paths = [at, process.env['LD_LIBRARY_PATH']].filter(Boolean).join(':');
  return { LD_LIBRARY_PATH: paths, VK_ICD_FILENAMES: join(at, 'vk_swiftshader_icd.json') };
};
