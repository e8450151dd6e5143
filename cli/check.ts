/**
 * `fovea check FILE...`: is this a model? Types with the language's own sentences, then what a traced body may not do, then a trace of every
 * export over named sizes. Findings are printed as tsc prints, or for machines.
 *
 *   fovea check models/dinov2.ts models/losses.ts
 *   fovea check model.ts --format sarif > check.sarif          exit status 1 where there is an error
 *   fovea check model.ts --watch
 */
import { existsSync, readFileSync, watch } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import type { Checker } from '../compiler/frontend/check.ts';
import { errorsIn, type Finding, type Format, inOrder, printFindings } from '../compiler/frontend/findings.ts';
import { findPackageFile } from '../models/data/package.ts';
import { type Tracer, tracer, traceWhenTold } from './check/tracer.ts';

interface CheckOptions {
  readonly format: Format;
  readonly pretty?: boolean;
  readonly watch?: true;
  readonly time?: true;
  /** Of the process that traces. */
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

const since = (from: number): string => `${(performance.now() - from).toFixed(0)} ms`;

/** Prints findings in the form that was asked for. */
const printer = (options: CheckOptions): ((found: readonly Finding[]) => void) => {
  const { version } = JSON.parse(readFileSync(findPackageFile('package.json'), 'utf8')) as { version: string };
  return (found) => {
    const texts = new Map<string, readonly string[]>();
    const lines = (file: string): readonly string[] => {
      const known = texts.get(file) ?? (existsSync(file) ? readFileSync(file, 'utf8').split(/\r?\n/) : []);
      texts.set(file, known);
      return known;
    };
    const show = (file: string): string => relative(process.cwd(), file).replaceAll('\\', '/');
    const pretty = options.pretty ?? process.stdout.isTTY === true;
    const text = printFindings(inOrder(found), options.format, { show, lines, pretty, version });
    if (text !== '') console.log(text);
  };
};

interface Checked {
  readonly findings: readonly Finding[];
  readonly files: readonly string[];
  readonly time: string;
}

/** Types and purity and, beside them in its process, the trace. What does not parse is not run; where types do not fit, they are all that is said. */
const check = async ({ round }: Checker, { go, answer, end }: Tracer): Promise<Checked> => {
  const from = performance.now();
  const { files, parses, findings: look } = round();
  const read = since(from);
  if (parses) await go();
  const looking = performance.now();
  const found = look();
  const looked = since(looking);
  const waiting = performance.now();
  const clean = errorsIn(found) === 0;
  const traced = clean ? await answer : [];
  if (!clean) end();
  const time = `${files.length} files read in ${read}, types and purity ${looked}, trace beside them ${since(waiting)} longer`;
  return { findings: [...found, ...traced], files, time };
};

async function runCheck(targets: readonly string[], options: CheckOptions): Promise<void> {
  const started = performance.now();
  const files = targets.map((t) => resolve(t));
  const missing = files.find((f) => !existsSync(f));
  if (missing !== undefined) throw new FoveaError('FV0402', `there is no file ${missing}`, { hint: 'Give .ts modules.' });
  if (options.onlyTrace) {
    const [{ traceFile }, { readyFor }] = await Promise.all([import('./check/trace.ts'), import('./exports.ts')]);
    await readyFor(files[0] as string);
    return traceWhenTold(async () => {
      const out: Finding[] = [];
      for (const f of files) out.push(...(await traceFile(f)).findings);
      return out;
    });
  }
  const first = tracer(files);
  const { checker } = await import('../compiler/frontend/check.ts');
  const c = checker(files);
  const loaded = since(started);
  const print = printer(options);
  const { findings, files: own, time } = await check(c, first);
  print(findings);
  if (options.time) console.error(`TypeScript ${loaded}, ${time}, in all ${since(started)}`);
  if (!options.watch) {
    if (errorsIn(findings) > 0) process.exitCode = 1;
    return;
  }

  let [next, pending, running] = [tracer(files), undefined as NodeJS.Timeout | undefined, false];
  const folders = new Set<string>();
  const again = async (): Promise<void> => {
    pending = undefined;
    running = true;
    const [from, mine] = [performance.now(), next];
    try {
      const round = await check(c, mine);
      print(round.findings);
      console.error(`${new Date().toLocaleTimeString()}: ${round.time}, in all ${since(from)}`);
      follow(round.files);
    } catch (e) {
      // the next edit may be one that can be checked
      console.error(e instanceof FoveaError ? e.report() : e);
    }
    mine.end();
    next = tracer(files);
    running = false;
    // what changed while it ran
    if (pending) schedule();
  };
  const schedule = (): void => {
    clearTimeout(pending);
    pending = setTimeout(() => {
      if (!running) void again();
    }, 20);
  };
  const follow = (all: readonly string[]): void => {
    for (const folder of new Set(all.map(dirname))) {
      if (folders.has(folder)) continue;
      folders.add(folder);
      watch(folder, (_, name) => {
        // files that are not there yet count too: an import may be waiting for one
        if (name === null || !/\.(?:[cm]?[jt]sx?|json)$/.test(name)) return;
        c.changed(resolve(folder, name));
        schedule();
      });
    }
  };
  follow(own);
  c.learn();
  console.error(`watching ${own.length} files`);
}
