/**
 * `fovea gradcheck FILE[#export]`: checks the derivatives of exported functions and modules in float64, with random numbers for arguments of
 * small sizes, and prints how the laws of testing/gradients.ts hold. Exit status 1 if one fails.
 *
 *   fovea gradcheck losses.ts                       every exported fn and module
 *   fovea gradcheck losses.ts#koleoLoss --order 2 --dims B=4,D=3
 *   fovea gradcheck 'layers.ts#attention(8, 2)'     what an exported function returns for these arguments, which are JSON
 *
 * A TypeScript file is loaded as it is where Node runs one, else through tsx if the project or Fovea has it.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { checkDeclared, formatReport, isDeclared } from '../testing/index.ts';
import { whole } from './options.ts';

interface GradcheckOptions {
  readonly order: number;
  readonly seed: number;
  readonly directions: number;
  readonly dims: Readonly<Record<string, number>>;
}

const cause = (e: unknown): string => (e instanceof Error ? e.message : String(e));

/** B=2,N=3 */
const sizes = (text: string): Record<string, number> =>
  Object.fromEntries(
    text.split(',').map((part) => {
      const [, name, n] = part.trim().match(/^([A-Za-z_]\w*)=(\d+)$/) ?? [];
      if (name === undefined)
        throw new FoveaError('FV0503', `--dims ${text}: '${part}' is no size`, { hint: 'For example: --dims B=2,N=3.' });
      return [name, Number(n)];
    }),
  );
const order = (text: string): number => {
  if (text !== '1' && text !== '2') throw new FoveaError('FV0503', `--order ${text}: expected 1 or 2`, { hint: 'For example: --order 2.' });
  return Number(text);
};

export const gradcheckCommand = (): Command =>
  new Command('gradcheck')
    .description('check the derivatives of exported functions and modules')
    .argument('<file[#export]>', "a module of yours; '#name' for one export, '#name(1, 2)' for what it returns")
    .option('--order <n>', '2: also the derivatives of the gradient', order, 1)
    .option('--seed <n>', 'of the arguments and directions', whole('--seed', 0), 0)
    .option('--directions <n>', 'points and directions tried', whole('--directions', 1), 4)
    .option('--dims <sizes>', 'sizes by name, as in B=2,N=3; the others are from 2 to 5', sizes, {})
    .option('--debug', 'print the stack of an error')
    .action(runGradcheck);

/** Lets Node load TypeScript, if tsx is in the project of the file or in Fovea's. */
const withTsx = async (file: string): Promise<void> => {
  for (const from of [file, import.meta.filename]) {
    try {
      // `require` finds the CommonJS build, whose hooks do not load; the other one lies beside it
      const found = pathToFileURL(
        createRequire(from)
          .resolve('tsx/esm/api')
          .replace(/\.cjs$/, '.mjs'),
      ).href;
      ((await import(found)) as { readonly register: () => unknown }).register();
      return;
    } catch {
      // not installed there
    }
  }
};

const load = async (file: string): Promise<Readonly<Record<string, unknown>>> => {
  if (!existsSync(file)) throw new FoveaError('FV0402', `there is no file ${file}`, { hint: 'Give a .js or .ts module.' });
  // before the first import: Node remembers that one failed
  const typed = /\.[cm]?tsx?$/.test(file) && !(process.features as { readonly typescript?: unknown }).typescript;
  if (typed) await withTsx(file);
  try {
    return await import(pathToFileURL(file).href);
  } catch (e) {
    if (e instanceof FoveaError) throw e;
    const untold = (e as NodeJS.ErrnoException).code === 'ERR_UNKNOWN_FILE_EXTENSION';
    throw new FoveaError('FV0402', `cannot load ${file}: ${untold ? `this Node does not run ${extname(file)} files` : cause(e)}`, {
      hint: untold ? 'Install tsx (npm install --save-dev tsx), or give the built .js file.' : 'Run it alone to see the whole error.',
      cause: e,
    });
  }
};

/** What the part after # names: an export, or what an exported function returns for JSON arguments. */
const chosen = (
  exports: Readonly<Record<string, unknown>>,
  name: string | undefined,
  file: string,
): readonly (readonly [string, unknown])[] => {
  const names = Object.keys(exports).filter((n) => isDeclared(exports[n]));
  const hint =
    names.length > 0 ? `It exports ${names.join(', ')}.` : "Export a fn(['B D'], ...), a module, or a function with args: [spec(...)].";
  if (name === undefined) {
    if (names.length === 0) throw new FoveaError('FV0503', `${file} exports nothing that says what its arguments are`, { hint });
    return names.map((n) => [n, exports[n]]);
  }
  const [, key = '', args] = name.match(/^([\w$]+)\s*(?:\((.*)\))?$/s) ?? [];
  const value = exports[key];
  if (value === undefined) throw new FoveaError('FV0503', `${file} has no export '${name}'`, { hint });
  if (args === undefined) return [[name, value]];
  if (typeof value !== 'function') throw new FoveaError('FV0503', `${file}: the export ${key} is no function`, { hint });
  let given: unknown[];
  try {
    given = JSON.parse(`[${args}]`);
  } catch (e) {
    throw new FoveaError('FV0503', `#${name}: the arguments are not JSON: ${cause(e)}`, {
      hint: `For example: '#${key}(8, {"bias": true})'.`,
    });
  }
  return [[name, value(...given)]];
};

async function runGradcheck(target: string, { order, seed, directions, dims }: GradcheckOptions): Promise<void> {
  const at = target.indexOf('#');
  const file = resolve(at < 0 ? target : target.slice(0, at));
  let failed = false;
  for (const [name, f] of chosen(await load(file), at < 0 ? undefined : target.slice(at + 1), file)) {
    const report = checkDeclared(f, { dims, order: order === 2 ? 2 : 1, seed, directions });
    failed ||= !report.ok;
    const drawn = Object.entries(report.dims).map(([n, d]) => `${n.replace(/^_axis/, '...')}=${d}`);
    console.log(`${name} [${report.signature.join('], [')}]${drawn.length > 0 ? ` with ${drawn.join(', ')}` : ''}\n`);
    console.log(`${formatReport(report).replace(/^(?=.)/gm, '  ')}\n`);
  }
  if (failed) process.exitCode = 1;
}
