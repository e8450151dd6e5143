/**
 * What TypeScript asks of the disk, and what it was told. A check of types depends on nothing else, so that its findings hold for as long as every
 * question has the same answer: not only the files that it read are in here, also those that were not where it looked for them.
 *
 *   const d = remembering(tsc.sys);
 *   d.disk.fileExists('/home/me/layers.ts');
 *   stillSo(d.answers())                         // in another process, without TypeScript
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';

export interface Disk {
  readonly fileExists: (file: string) => boolean;
  readonly directoryExists: (folder: string) => boolean;
  readonly getDirectories: (folder: string) => string[];
  readonly realpath: (path: string) => string;
  readonly readFile: (file: string) => string | undefined;
}

/** For each question its answers by path, as text. */
export type Answers = { readonly [Q in keyof Disk]: Readonly<Record<string, string>> };

const stat = (path: string): Stats | undefined => {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
};
const attempt = <T>(ask: () => T): T | undefined => {
  try {
    return ask();
  } catch {
    return undefined;
  }
};

/** The answers as they are now. */
const ask: { readonly [Q in keyof Disk]: (path: string) => string } = {
  fileExists: (file) => `${stat(file)?.isFile() === true}`,
  directoryExists: (folder) => `${stat(folder)?.isDirectory() === true}`,
  getDirectories: (folder) =>
    (attempt(() => readdirSync(folder)) ?? [])
      .filter((name) => stat(join(folder, name))?.isDirectory())
      .sort()
      .join('\n'),
  realpath: (path) => attempt(() => realpathSync.native(path)) ?? path,
  // bytes, which say more than the text that is made of them
  readFile: (file) => {
    const bytes = attempt(() => readFileSync(file));
    return bytes === undefined ? '' : createHash('sha256').update(bytes).digest('base64');
  },
};
const questions = Object.keys(ask) as readonly (keyof Disk)[];

/** A disk that answers as the given one does, and knows what it was asked. */
export const remembering = (given: Partial<Disk>): { readonly disk: Disk; readonly answers: () => Answers } => {
  const known: Record<keyof Disk, Record<string, string>> = {
    fileExists: {},
    directoryExists: {},
    getDirectories: {},
    realpath: {},
    readFile: {},
  };
  const told =
    <T>(question: keyof Disk, answer: (path: string) => T) =>
    (path: string): T => {
      known[question][path] ??= ask[question](path);
      return answer(path);
    };
  return {
    disk: {
      fileExists: told('fileExists', (f) => given.fileExists?.(f) ?? false),
      directoryExists: told('directoryExists', (f) => given.directoryExists?.(f) ?? false),
      getDirectories: told('getDirectories', (f) => given.getDirectories?.(f) ?? []),
      realpath: told('realpath', (f) => given.realpath?.(f) ?? f),
      readFile: told('readFile', (f) => given.readFile?.(f)),
    },
    answers: () => known,
  };
};

/** Whether every question would be answered the same. */
export const stillSo = (answers: Answers): boolean =>
  questions.every((q) => Object.entries(answers[q]).every(([path, answer]) => ask[q](path) === answer));
