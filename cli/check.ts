/**
 * `fovea check FILE...`: is this a model? Types with the language's own sentences, then what a traced body may not do, then a trace of every
 * export over named sizes. Findings are printed as tsc prints, or for machines.
 *
 *   fovea check models/dinov2.ts models/losses.ts
 *   fovea check model.ts --format sarif > check.sarif          exit status 1 where there is an error
 *   fovea check model.ts --watch
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, watch } from 'node:fs';
import { basename, dirname, relative, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import type { Finding, Format } from '../compiler/frontend/findings.ts';
import { findPackageFile } from '../models/data/package.ts';
import { traceFile } from './check/trace.ts';

interface CheckOptions {
  readonly format: Format;
  readonly pretty?: boolean;
  readonly watch?: true;
  readonly time?: true;
  /** Of the process that a watching one starts: its modules are new ones. */
  readonly onlyTrace?: true;
}

export const checkCommand = (): Command =>
  new Command('check')
    .description('check shapes, purity and a symbolic trace of models, without running them')
    .argument('<file...>', 'modules of yours')
    .addOption(new Option('--format <format>', 'how findings are printed').choices(['text', 'json', 'sarif', 'github']).default('text'))
    .option('--pretty', 'with frames and colours; the default on a terminal')
    .option('--no-pretty', 'one line a finding')
    .option('--watch', 'check again whenever a file changes')
    .option('--time', 'say how long each part took, on standard error')
    .addOption(new Option('--only-trace').hideHelp())
    .option('--debug', 'print the stack of an error')
    .addHelpText('after', '\nExit status: 0 no error, 1 an error.')
    .action(runCheck);

const ms = (from: number): string => `${(performance.now() - from).toFixed(0)} ms`;

/** The trace of the files as they are now, by a process whose modules nobody has loaded before. */
const freshTrace = (files: readonly string[]): Promise<readonly Finding[]> =>
  new Promise((done, failed) => {
    const child = spawn(
      process.execPath,
      [...process.execArgv, process.argv[1] as string, 'check', '--only-trace', '--format', 'json', ...files],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    let text = '';
    child.stdout.on('data', (d: Buffer) => {
      text += d.toString();
    });
    child.on('error', failed);
    child.on('close', () =>
      done(
        text
          .split('\n')
          .filter(Boolean)
          .map((l) => ({ ...(JSON.parse(l) as Finding), file: resolve((JSON.parse(l) as Finding).file) })),
      ),
    );
  });

async function runCheck(targets: readonly string[], options: CheckOptions): Promise<void> {
  const files = targets.map((t) => resolve(t));
  const missing = files.find((f) => !existsSync(f));
  if (missing !== undefined) throw new FoveaError('FV0402', `there is no file ${missing}`, { hint: 'Give .ts modules.' });
  const { errorsIn, inOrder, printFindings } = await import('../compiler/frontend/findings.ts');
  const { version } = JSON.parse(readFileSync(findPackageFile('package.json'), 'utf8')) as { version: string };
  const print = (found: readonly Finding[]): void => {
    const texts = new Map<string, readonly string[]>();
    const lines = (file: string): readonly string[] => {
      const known = texts.get(file) ?? (existsSync(file) ? readFileSync(file, 'utf8').split(/\r?\n/) : []);
      texts.set(file, known);
      return known;
    };
    const show = (file: string): string => relative(process.cwd(), file).replaceAll('\\', '/');
    const text = printFindings(inOrder(found), options.format, {
      show,
      lines,
      pretty: options.pretty ?? process.stdout.isTTY === true,
      version,
    });
    if (text !== '') console.log(text);
  };
  const traces = async (): Promise<readonly Finding[]> => {
    const out: Finding[] = [];
    for (const f of files) out.push(...(await traceFile(f)).findings);
    return out;
  };
  if (options.onlyTrace) return print(await traces());

  const started = performance.now();
  const { checker } = await import('../compiler/frontend/check.ts');
  const c = checker(files);
  const loaded = ms(started);
  const checking = performance.now();
  const first = c.check();
  const checked = ms(checking);
  const tracing = performance.now();
  // what does not parse or type-check is not run
  const failed = (found: readonly Finding[]): boolean => errorsIn(found) > 0;
  const all = failed(first.findings) ? first.findings : [...first.findings, ...(await traces())];
  print(all);
  if (options.time)
    console.error(
      `TypeScript ${loaded}, types and purity of ${first.files.length} files ${checked}, trace ${ms(tracing)}, in all ${ms(started)}`,
    );
  if (failed(all)) process.exitCode = 1;
  if (!options.watch) return;

  process.exitCode = 0;
  let [pending, run]: [NodeJS.Timeout | undefined, number] = [undefined, 0];
  const again = async (): Promise<void> => {
    const mine = ++run;
    const from = performance.now();
    const { findings } = c.check();
    const took = ms(from);
    const found = failed(findings) ? findings : [...findings, ...(await freshTrace(files))];
    // a newer edit has its own answer
    if (mine !== run) return;
    print(found);
    console.error(`${new Date().toLocaleTimeString()}: types and purity ${took}, with trace ${ms(from)}`);
  };
  const folders = new Map<string, Set<string>>();
  for (const f of first.files) folders.set(dirname(f), (folders.get(dirname(f)) ?? new Set()).add(basename(f)));
  for (const [folder, names] of folders)
    watch(folder, (_, name) => {
      if (name === null || !names.has(name)) return;
      c.changed(resolve(folder, name));
      clearTimeout(pending);
      pending = setTimeout(() => void again(), 30);
    });
  console.error(`watching ${first.files.length} files`);
}
