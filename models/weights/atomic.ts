/**
 * Files that are whole or not there: written under a temporary name in the same folder, flushed to the disk, then renamed over the
 * target. A killed process leaves the old file; a full disk leaves the old file and an error with a code.
 *
 *   writeAtomic('runs/a/metrics.png', [png]);
 */
import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';

const hints: Readonly<Record<string, string>> = {
  EFBIG: 'The file would be larger than is allowed here: choose another folder.',
  ENOSPC: 'The disk is full: free some space or choose another folder.',
  EDQUOT: 'Your disk quota is used up: free some space or choose another folder.',
  EACCES: 'You may not write there: choose another folder.',
  EPERM: 'You may not write there: choose another folder.',
  EROFS: 'That file system is read-only: choose another folder.',
  ENOENT: 'The folder does not exist: create it first.',
  ENOTDIR: 'A part of the path is a file: choose another folder.',
};

/** Any failure to write `file` as FV0407, with a hint by the system's error code. */
export const cannotWrite = (file: string, e: unknown): FoveaError => {
  const code = e instanceof Error && 'code' in e ? String(e.code) : '';
  return new FoveaError('FV0407', `cannot write ${file}: ${e instanceof Error ? e.message : String(e)}`, { hint: hints[code], cause: e });
};

/** A file or folder onto the disk. Names are there only when the folder that holds them is; not every system can open a folder. */
const flush = (path: string): void => {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

export const flushFolder = (path: string): void => {
  if (process.platform !== 'win32') flush(path);
};

/**
 * Writes the concatenation of `parts` to `file`, each as soon as it is made, and stops after each for whoever wants to do something in
 * between, such as hear a signal. `return()` gives up: what is there stays, nothing is left behind. FV0407; an error with a code from a
 * part goes on as it is.
 */
export function* writingAtomic(file: string, parts: Iterable<Uint8Array>): Generator<void, void> {
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}.tmp`);
  let made = false;
  try {
    const fd = openSync(temporary, 'w');
    made = true;
    try {
      for (const part of parts) {
        for (let done = 0; done < part.length; ) done += writeSync(fd, part, done, part.length - done);
        yield;
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, file);
    made = false;
    flushFolder(dirname(file));
  } catch (e) {
    throw e instanceof FoveaError ? e : cannotWrite(file, e);
  } finally {
    if (made) {
      try {
        unlinkSync(temporary);
      } catch {
        // the first error is the one that matters
      }
    }
  }
}

/** To the end, without a stop. */
export const finish = (steps: Generator<void, void>): void => {
  while (!steps.next().done);
};

/** writingAtomic without stops. */
export const writeAtomic = (file: string, parts: Iterable<Uint8Array>): void => finish(writingAtomic(file, parts));
