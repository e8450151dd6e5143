/**
 * `npm run web`: bundles the page and its worker, and serves them on this machine. `npm run web -- --out DIR` writes them to a folder instead, which
 * any web server can serve.
 */
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import * as esbuild from 'esbuild';

const here = import.meta.dirname;
const { values } = parseArgs({ options: { out: { type: 'string' }, port: { type: 'string', default: '8000' } } });
const outdir = resolve(values.out ?? join(here, '../../runs/web'));
const options = {
  entryPoints: [join(here, 'page.ts'), join(here, 'worker.ts')],
  outdir,
  bundle: true,
  minify: true,
  sourcemap: true,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  loader: { '.gz': 'file' },
  logLevel: 'warning',
};
mkdirSync(outdir, { recursive: true });
copyFileSync(join(here, 'index.html'), join(outdir, 'index.html'));
await esbuild.build(options);
const kib = (bytes) => `${(bytes / 1024).toFixed(0)} KiB`;
for (const name of ['page.js', 'worker.js']) {
  const text = readFileSync(join(outdir, name));
  console.log(`${name}: ${kib(text.length)}, ${kib(gzipSync(text).length)} gzipped`);
}
if (values.out !== undefined) console.log(`written to ${outdir}`);
else {
  const context = await esbuild.context({});
  const { port } = await context.serve({ servedir: outdir, host: '127.0.0.1', port: Number(values.port) });
  console.log(`http://localhost:${port}`);
}
