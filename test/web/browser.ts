/** A headless Chromium with WebGPU in software, from npm; and the example page, bundled and served. */
import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, mkdtempSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import chromium from '@sparticuz/chromium';
import { type Browser, chromium as driver } from 'playwright-core';

const root = join(import.meta.dirname, '../..');
const types: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.map': 'application/json' };

/** A folder of files on a port of this machine. */
export const serve = (folder: string): Promise<{ readonly url: string; readonly server: Server }> =>
  new Promise((resolve) => {
    const server = createServer((request, answer) => {
      const name = new URL(request.url ?? '/', 'http://localhost').pathname;
      const file = join(folder, name === '/' ? 'index.html' : name);
      if (!file.startsWith(folder) || !existsSync(file)) {
        answer.writeHead(404).end();
        return;
      }
      answer.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' });
      createReadStream(file).pipe(answer);
    });
    server.listen(0, '127.0.0.1', () => resolve({ url: `http://localhost:${(server.address() as AddressInfo).port}/`, server }));
  });

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
