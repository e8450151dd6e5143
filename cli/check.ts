/**
 * `fovea check FILE...`: is this a model? Types with the language's own sentences, then what a traced body may not do, then a trace of every
 * export over named sizes. Findings are printed as tsc prints, or for machines.
 *
 *   fovea check models/dinov2.ts models/losses.ts
 *   fovea check model.ts --format sarif > check.sarif          exit status 1 where there is an error
 *   fovea check 'layers.ts#attention(8, 2)'                     what a function returns for these arguments
 *   fovea check model.ts --watch
 */
import { Command, Option } from 'commander';
import { errorsIn } from '../compiler/frontend/findings.ts';
import { checkOnce, since } from './check/once.ts';
import { type PrintOptions, printer } from './check/print.ts';
import { filesOf, targetsOf } from './check/targets.ts';
import { tracer } from './check/tracer.ts';
import { whole } from './options.ts';

interface CheckOptions extends PrintOptions {
  readonly watch?: true;
  readonly time?: true;
  /** Seconds for each step of the trace, after the types. */
  readonly timeout: number;
  /** Of the process that traces. */
  readonly onlyTrace?: true;
}

export const checkCommand = (): Command =>
  new Command('check')
    .description('check shapes, purity and a symbolic trace of models, without running them')
    .argument('<file[#export]...>', "modules of yours; '#name(1, 2)' for what a function returns")
    .addOption(new Option('--format <format>', 'how findings are printed').choices(['text', 'json', 'sarif', 'github']).default('text'))
    .option('--pretty', 'with frames and colours; the default on a terminal')
    .option('--no-pretty', 'one line a finding')
    .option('--watch', 'check again whenever a file changes')
    .option('--timeout <seconds>', 'how long loading a file, or tracing an export, may take', whole('--timeout', 1), 60)
    .option('--time', 'say how long each part took, on standard error')
    .addOption(new Option('--only-trace').hideHelp())
    .option('--debug', 'print the stack of an error')
    .addHelpText('after', '\nExit status: 0 no error, 1 an error.')
    .action(runCheck);

async function runCheck(texts: readonly string[], options: CheckOptions): Promise<void> {
  const started = performance.now();
  const targets = targetsOf(texts);
  if (options.onlyTrace) return (await import('./check/trace.ts')).traceWhenTold(targets);
  const print = printer(options);
  if (options.watch) return (await import('./check/watch.ts')).checkAgain(targets, options.timeout, print);
  const tracing = tracer(targets, options.timeout);
  try {
    const { after, ...checked } = await checkOnce(filesOf(targets), tracing);
    print(checked);
    if (options.time) console.error(`${checked.time}, in all ${since(started)}`);
    if (errorsIn(checked.findings) > 0) process.exitCode = 1;
    await after();
  } finally {
    // it waits for a word that never comes where something was thrown, and this process would wait for it
    tracing.end();
  }
}
