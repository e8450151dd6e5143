#!/usr/bin/env node
/**
 * The `fovea` command. Each subcommand is one file; this one parses arguments and turns every failure into one message on standard
 * error and exit status 1.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { findPackageFile } from '../models/data/package.ts';
import { benchCommand } from './bench.ts';
import { checkCommand } from './check.ts';
import { compileCommand } from './compile.ts';
import { convertCommand } from './convert.ts';
import { demoCommand } from './demo.ts';
import { explainCommand } from './explain.ts';
import { featuresCommand } from './features.ts';
import { fuzzCommand } from './fuzz.ts';
import { gradcheckCommand } from './gradcheck.ts';
import { parityCommand } from './parity.ts';
import { profileCommand } from './profile.ts';
import { report } from './report.ts';
import { shardCommand } from './shard.ts';
import { trainCommand } from './train.ts';

const debug = process.argv.includes('--debug');
const fatal = (e: unknown): never => process.exit(report(e, debug));
process.on('uncaughtException', fatal);
const unheard = (e: NodeJS.ErrnoException): void => {
  if (e.code !== 'EPIPE')
    fatal(new FoveaError('FV0501', `cannot print: ${e.message}`, { hint: 'Free some space where the output goes.', cause: e }));
  // whoever read our output has gone, as in `fovea ... | head`, or in `| tee log` on Ctrl-C. A run goes on, for its files are what matters
  if (process.listenerCount('SIGINT') === 0) process.exit(128 + 13);
};
process.stdout.on('error', unheard);
process.stderr.on('error', unheard);

/** Help and version are printed by commander; what it refuses becomes a message like any other. */
const refused = (e: CommanderError): number => {
  if (e.exitCode === 0) return 0;
  // `fovea` alone: the help is on standard error already
  if (e.code === 'commander.help') return 1;
  const hint = 'fovea --help lists the commands, fovea demo --help the options of demo, and so for the others.';
  return report(new FoveaError('FV0503', e.message.replace(/^error: /, ''), { hint }), debug);
};

try {
  const { version } = JSON.parse(readFileSync(findPackageFile('package.json'), 'utf8')) as { version: string };
  const program = new Command('fovea')
    .description('A functional tensor language in TypeScript and the compiler behind it.')
    .version(version)
    .option('--debug', 'print the stack of an error')
    .configureOutput({ outputError: () => {} })
    .exitOverride();
  program.addCommand(demoCommand().copyInheritedSettings(program));
  program.addCommand(trainCommand().copyInheritedSettings(program));
  program.addCommand(featuresCommand().copyInheritedSettings(program));
  program.addCommand(parityCommand().copyInheritedSettings(program));
  program.addCommand(fuzzCommand().copyInheritedSettings(program));
  program.addCommand(convertCommand().copyInheritedSettings(program));
  program.addCommand(gradcheckCommand().copyInheritedSettings(program));
  program.addCommand(checkCommand().copyInheritedSettings(program));
  program.addCommand(compileCommand().copyInheritedSettings(program));
  program.addCommand(profileCommand().copyInheritedSettings(program));
  program.addCommand(explainCommand().copyInheritedSettings(program));
  program.addCommand(benchCommand().copyInheritedSettings(program));
  program.addCommand(shardCommand().copyInheritedSettings(program));
  await program.parseAsync();
} catch (e) {
  process.exitCode = e instanceof CommanderError ? refused(e) : report(e, debug);
}
