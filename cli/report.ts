/**
 * How the command speaks about failure: a FoveaError prints its report and exits with 1; a system error that a user can
 * mend (no space, no permission) is told in a sentence; anything else is a bug of Fovea and asks for `--debug`.
 */
import { readFileSync } from 'node:fs';
import { FoveaError, type Loc } from '../compiler/error.ts';

/** The user's source line with a mark under the column; empty if the file cannot be read. */
const frame = (loc: Loc): string => {
  try {
    const line = readFileSync(loc.file, 'utf8').split('\n')[loc.line - 1];
    // a place of a generated text, which the file is not
    return line === undefined || loc.col > line.length
      ? ''
      : `\n\n${String(loc.line).padStart(5)} | ${line}\n      | ${' '.repeat(loc.col - 1)}^`;
  } catch {
    return '';
  }
};

const system: Readonly<Record<string, readonly [code: 'FV0501' | 'FV0502', what: string]>> = {
  ENOSPC: ['FV0501', 'the disk is full'],
  EDQUOT: ['FV0501', 'the disk quota is used up'],
  EFBIG: ['FV0501', 'the file would be larger than the system allows'],
  EACCES: ['FV0502', 'permission denied'],
  EPERM: ['FV0502', 'permission denied'],
  EROFS: ['FV0502', 'the file system is read-only'],
  ENOTDIR: ['FV0502', 'a part of the path is a file, not a folder'],
  EEXIST: ['FV0502', 'a file with this name is in the way'],
  EISDIR: ['FV0502', 'a folder with this name is in the way'],
};

/** A failure as a FoveaError, if it is one that the user can mend. */
export const explained = (e: unknown): FoveaError | undefined => {
  if (e instanceof FoveaError) return e;
  const { code, path, dest } = e as NodeJS.ErrnoException & { dest?: string };
  const known = code === undefined ? undefined : system[code];
  if (!known) return undefined;
  const where = dest ?? path;
  return new FoveaError(known[0], `${known[1]}${where ? `: ${where}` : ''}`, {
    cause: e,
    hint: known[0] === 'FV0501' ? 'Free some space there and run again.' : 'Choose a place that you may read and write.',
  });
};

/** Prints the failure to standard error; returns the exit status. */
export const report = (e: unknown, debug: boolean): number => {
  const known = explained(e);
  if (debug) console.error(e);
  if (known) console.error(`fovea: ${known.report()}${known.loc ? frame(known.loc) : ''}`);
  else if (!debug)
    console.error(
      `fovea: internal error: ${e instanceof Error ? e.message : String(e)}\n  This is a bug of Fovea. Run again with --debug for the stack.`,
    );
  return 1;
};
