/**
 * `npm run web`: bundles the page and its worker, and serves them on this machine. `npm run web -- --out DIR` writes them to a folder instead, which
 * any web server can serve. `--sizes` also tells how large parts of fovea/web are, bundled.
 */
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import * as esbuild from 'esbuild';

const here = import.meta.dirname;
const { values } = parseArgs({
  options: { out: { type: 'string' }, port: { type: 'string', default: '8000' }, sizes: { type: 'boolean' } },
});
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
const told = (name, text) => console.log(`${name}: ${text.length} bytes, ${gzipSync(text).length} gzipped`);
for (const name of ['page.js', 'worker.js']) told(name, readFileSync(join(outdir, name)));
// what other pages take of fovea/web
if (values.sizes)
  for (const names of ['*', '{ compile, webgpu, spec }', '{ spec }']) {
    const stdin = { contents: `export ${names} from './web.ts'`, resolveDir: join(here, '../..'), loader: 'ts' };
    const { outputFiles } = await esbuild.build({ ...options, entryPoints: undefined, stdin, sourcemap: false, write: false });
    told(`fovea/web, ${names}`, outputFiles[0].contents);
  }
if (values.out !== undefined) console.log(`written to ${outdir}`);
else {
  const context = await esbuild.context({});
  const { port } = await context.serve({ servedir: outdir, host: '127.0.0.1', port: Number(values.port) });
  console.log(`http://localhost:${port}`);
}
