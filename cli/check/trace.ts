/**
 * The dynamic half of `fovea check`: every export that says what it takes is traced over named sizes, as `compile` would, and what the tracer
 * refuses becomes a finding at the user's line. It sees what types cannot: sizes from options, unknown shapes, claims of `.as`.
 */
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import type { Finding } from '../../compiler/frontend/findings.ts';
import { declared, graphSizes, isDeclared } from '../../dsl/declared.ts';
import { placeIn } from '../../dsl/location.ts';
import { FoveaError, trace } from '../../index.ts';
import { leavesOfProgram } from '../../program.ts';
import { load, readyFor, usersOwn } from '../exports.ts';
import { fileStart } from './tracer.ts';

/** Where a file exports a name, for errors that do not know their place; its start where that is not plain to see. */
const exportPlace = (file: string, name: string | undefined) => {
  if (name === undefined) return fileStart(file);
  const own = `(?:async )?(?:const|let|var|function\\*?) ${name.replaceAll('$', '\\$')}(?![\\w$])`;
  const start = new RegExp(`^export ${name === 'default' ? 'default\\b' : own}`);
  const lines = readFileSync(file, 'utf8').split(/\r?\n/);
  const at = lines.findIndex((l) => start.test(l));
  if (at < 0) return fileStart(file);
  return { file, line: at + 1, col: 1, endLine: at + 1, endCol: (lines[at] as string).length + 1 };
};

/** A finding, whatever was thrown: the other exports are to be heard of too. */
const findingOf = (e: unknown, file: string, name: string | undefined): Finding => {
  const known = e instanceof FoveaError ? e : undefined;
  const loc = known ? known.loc : e instanceof Error ? placeIn(e.stack ?? '') : undefined;
  const spot = loc ? { file: loc.file, line: loc.line, col: loc.col, endLine: loc.line, endCol: loc.col + 1 } : exportPlace(file, name);
  const [where, hint] = [name === undefined ? '' : ` (tracing ${name})`, known?.hint ? `. ${known.hint}` : ''];
  const message = known?.message ?? `Fovea itself fails: ${e instanceof Error ? e.message : inspect(e)}`;
  return { ...spot, code: known?.code ?? 'FV0596', severity: 'error', message: `${message}${hint}${where}`, related: [] };
};

/** Names of what was traced, and what is wrong. */
export const traceFile = async (file: string): Promise<{ readonly findings: readonly Finding[]; readonly traced: readonly string[] }> => {
  const findings: Finding[] = [];
  const traced: string[] = [];
  const attempt = <T>(name: string | undefined, f: () => T): T | undefined => {
    try {
      return f();
    } catch (e) {
      findings.push(findingOf(e, file, name));
      return undefined;
    }
  };
  let exports: Readonly<Record<string, unknown>> = {};
  try {
    exports = await load(file);
  } catch (e) {
    findings.push(findingOf(e, file, undefined));
  }
  for (const [name, value] of Object.entries(exports)) {
    if (!isDeclared(value)) continue;
    attempt(name, () => {
      const { run, args, dims } = declared(value);
      // leaves with one name are refused by whoever compiles it
      return leavesOfProgram(
        usersOwn(name, file, () => trace(run as (...xs: unknown[]) => unknown, args as unknown[], { dims: graphSizes(dims) })),
      );
    }) && traced.push(name);
  }
  return { findings, traced };
};

/** The tracing process itself: gets ready, waits for the word, says what it found, and ends. */
export const traceWhenTold = async (files: readonly string[]): Promise<void> => {
  await readyFor(files[0] as string);
  // whoever started this process has ended
  process.on('disconnect', () => process.exit());
  await new Promise((told) => process.once('message', told));
  try {
    const found: Finding[] = [];
    for (const f of files) found.push(...(await traceFile(f)).findings);
    await new Promise((sent) => process.send?.(found, sent));
  } finally {
    process.disconnect?.();
  }
};
