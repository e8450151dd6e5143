/**
 * `npm run build`, which installing runs: the sources to dist/, and the command where npx looks first. npm links the bins of
 * dependencies but not those of the package itself; without the link, npx would install the package into its own cache.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { stdio: 'inherit', cwd: import.meta.dirname });

const command = `${import.meta.dirname}/dist/cli/main.js`;
const bin = `${import.meta.dirname}/node_modules/.bin`;
chmodSync(command, 0o755);
// Windows needs a special right for links, and has npx's own way to fall back on
if (existsSync(bin) && process.platform !== 'win32') {
  rmSync(`${bin}/fovea`, { force: true });
  symlinkSync('../../dist/cli/main.js', `${bin}/fovea`);
}
