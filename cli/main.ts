#!/usr/bin/env node
/**
 * The `fovea` command. Each subcommand is one file; this one parses arguments and turns failures into exit status 1.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { findPackageFile } from '../models/data/package.ts';
import { demoCommand } from './demo.ts';
import { report } from './report.ts';

const { version } = JSON.parse(readFileSync(findPackageFile('package.json'), 'utf8')) as { version: string };

const program = new Command('fovea')
  .description('A functional tensor language in TypeScript and the compiler behind it.')
  .version(version)
  .option('--debug', 'print the stack of an error')
  .exitOverride();

program.addCommand(demoCommand());

try {
  await program.parseAsync();
} catch (e) {
  // commander has printed its own message already; asking for help or the version is no failure
  process.exitCode = e instanceof CommanderError ? (e.exitCode === 0 ? 0 : 1) : report(e, process.argv.includes('--debug'));
}
