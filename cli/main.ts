#!/usr/bin/env node
/**
 * The `fovea` command. Each subcommand is one file; this one parses arguments and turns every failure into one message on standard
 * error and exit status 1. Of the subcommands only the one that is asked for is loaded, since loading all takes half a second.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { findPackageFile } from '../models/data/package.ts';
import { commands, type Load } from './commands.ts';
import { report } from './report.ts';

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
  const word = process.argv.slice(2).find((a) => !a.startsWith('-')) ?? '';
  // help and what is mistyped need them all
  const wanted = Object.hasOwn(commands, word) ? [commands[word] as Load] : Object.values(commands);
  for (const make of await Promise.all(wanted.map((load) => load()))) program.addCommand(make().copyInheritedSettings(program));
  await program.parseAsync();
} catch (e) {
  process.exitCode = e instanceof CommanderError ? refused(e) : report(e, debug);
}
