/**
 * What `FILE#name` on the command line means: a module of the user's, loaded, and an export of it, or what an exported function returns
 * for arguments that are JSON.
 *
 *   named(await load('/home/me/layers.ts'), 'attention(8, 2)', '/home/me/layers.ts')      attention(8, 2) of that file
 *
 * A TypeScript file is loaded as it is where Node runs one, else through tsx if the project of the file or Fovea has it.
 */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { FoveaError, type Loc } from '../compiler/error.ts';
import { isDeclared } from '../dsl/declared.ts';
import { placeIn } from '../dsl/location.ts';
import { oneCopy } from './own-copy.ts';

export type Exports = Readonly<Record<string, unknown>>;

const cause = (e: unknown): string => (e instanceof Error ? e.message : String(e));

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

/** Why a file does not load, where a sentence helps. */
const advice = (file: string, e: unknown): readonly [what: string, hint: string] => {
  // a module may throw anything
  const code = (e as Partial<NodeJS.ErrnoException> | null | undefined)?.code;
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION')
    return [
      `this Node does not run ${extname(file)} files`,
      'Install tsx (npm install --save-dev tsx), take Node 22.18 or newer, or give the built .js file.',
    ];
  if (code === 'ERR_MODULE_NOT_FOUND' && cause(e).includes("package 'fovea'"))
    return [cause(e), 'Install Fovea in the project of the file: npm install fovea.'];
  const asCommonJs =
    code === 'ERR_REQUIRE_CYCLE_MODULE' || code === 'ERR_REQUIRE_ESM' || /import statement outside a module/.test(cause(e));
  if (asCommonJs)
    return ['it is loaded as CommonJS', 'Add "type": "module" to the package.json of its project, or name the file .mts or .mjs.'];
  return [cause(e), 'Run it alone to see the whole error.'];
};

/** Where a file does not parse, as the loader or Node says it, or where it threw while it was loaded. */
const loadPlace = (e: unknown): Loc | undefined => {
  const text = e instanceof Error ? `${e.message}\n${e.stack ?? ''}` : '';
  const [, file, line, col] = /^(\S.*\.[cm]?[jt]sx?):(\d+)(?::(\d+))?(?:: ERROR|$)/m.exec(text.replaceAll('file://', '')) ?? [];
  if (file !== undefined && existsSync(file)) return { file, line: Number(line), col: Number(col ?? 0) + 1 };
  const found = e instanceof Error ? placeIn(e.stack ?? '') : undefined;
  // a loader of Node may be a text that is no file
  return found && existsSync(found.file) ? found : undefined;
};

/** What has to be in place before a module is loaded. */
export const readyFor = async (file: string): Promise<void> => {
  // before the first import: Node remembers that one failed
  const typed = /\.[cm]?tsx?$/.test(file) && !(process.features as { readonly typescript?: unknown }).typescript;
  if (typed) await withTsx(file);
  oneCopy();
};

/** FV0402: there is no such file, or it cannot be loaded. */
export const load = async (file: string): Promise<Exports> => {
  if (!existsSync(file)) throw new FoveaError('FV0402', `there is no file ${file}`, { hint: 'Give a .js or .ts module.' });
  if (statSync(file).isDirectory()) throw new FoveaError('FV0402', `${file} is a folder`, { hint: 'Give one of the modules in it.' });
  await readyFor(file);
  try {
    return await import(pathToFileURL(file).href);
  } catch (e) {
    if (e instanceof FoveaError) throw e;
    const [what, hint] = advice(file, e);
    throw new FoveaError('FV0402', `cannot load ${file}: ${what}`, { loc: loadPlace(e), hint, cause: e });
  }
};

/** Runs code of the user's: what it throws is theirs to mend, and told as such. FV0596. */
export const usersOwn = <R>(name: string, file: string, run: () => R): R => {
  try {
    return run();
  } catch (e) {
    if (e instanceof FoveaError) throw e;
    // no stack says where
    if (!(e instanceof Error))
      throw new FoveaError('FV0596', `${name} throws ${inspect(e)}`, { hint: 'Throw an Error, which knows its place.', cause: e });
    // the stack names the file itself, not a link to it, as a path or as the path of a URL
    const own = realpathSync(file);
    if (![own, pathToFileURL(own).pathname].some((name) => e.stack?.includes(name))) throw e;
    throw new FoveaError('FV0596', `${name} throws ${e.name}: ${e.message}`, {
      loc: placeIn(e.stack ?? ''),
      hint: 'With --debug the stack is printed.',
      cause: e,
    });
  }
};

/**
 * FV0503: there is no such export, it does not say what its arguments are or is given some although it does, or those given are not JSON.
 */
export const named = (exports: Exports, name: string, file: string): unknown => {
  const known = Object.keys(exports).filter((n) => isDeclared(exports[n]));
  const hint =
    known.length > 0 ? `It exports ${known.join(', ')}.` : "Export a fn(['B D'], ...), a module, or a function with args: [spec(...)].";
  const [, key = '', args] = name.match(/^([\w$]+)\s*(?:\((.*)\))?$/s) ?? [];
  const value = exports[key];
  if (value === undefined) throw new FoveaError('FV0503', `${file} has no export '${name}'`, { hint });
  if (typeof value !== 'function' && !isDeclared(value))
    throw new FoveaError('FV0503', `${file}: the export ${key} is no function and no module`, { hint });
  if (args === undefined) {
    if (!isDeclared(value))
      throw new FoveaError('FV0503', `${file}: the export ${key} does not say what its arguments are`, {
        hint: `If it returns a fn or a module, say for which arguments, as in '#${key}(8, {"bias": true})'.`,
      });
    return value;
  }
  if (isDeclared(value) || typeof value !== 'function')
    throw new FoveaError('FV0503', `${file}: the export ${key} says what its arguments are`, { hint: `Write #${key}.` });
  let given: unknown[];
  try {
    given = JSON.parse(`[${args}]`);
  } catch (e) {
    throw new FoveaError('FV0503', `#${name}: the arguments are not JSON: ${cause(e)}`, {
      hint: `For example: '#${key}(8, {"bias": true})'.`,
    });
  }
  return usersOwn(name, file, () => value(...given));
};
