/**
 * `fovea check FILE...`: is this a model? Types with the language's own sentences, then what a traced body may not do, then a trace of every
 * export over named sizes. Findings are printed as tsc prints, or for machines.
 *
 *   fovea check models/dinov2.ts models/losses.ts
 *   fovea check model.ts --format sarif > check.sarif          exit status 1 where there is an error
 *   fovea check model.ts --watch
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { errorsIn } from '../compiler/frontend/findings.ts';
import { checkOnce, since } from './check/once.ts';
import { type PrintOptions, printer } from './check/print.ts';
import { tracer } from './check/tracer.ts';

interface CheckOptions extends PrintOptions {
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

async function runCheck(targets: readonly string[], options: CheckOptions): Promise<void> {
  const started = performance.now();
  const files = targets.map((t) => resolve(t));
  const missing = files.find((f) => !existsSync(f));
  if (missing !== undefined) throw new FoveaError('FV0402', `there is no file ${missing}`, { hint: 'Give .ts modules.' });
  if (options.onlyTrace) return (await import('./check/trace.ts')).traceWhenTold(files);
  const print = printer(options);
  if (options.watch) return (await import('./check/watch.ts')).checkAgain(files, print);
  const { findings, time, after } = await checkOnce(files, tracer(files));
  print(findings);
  if (options.time) console.error(`${time}, in all ${since(started)}`);
  if (errorsIn(findings) > 0) process.exitCode = 1;
  await after();
}
