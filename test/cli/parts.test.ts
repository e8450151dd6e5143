/** The parts of the command that a spawned process cannot show: a terminal, a full device, a small disk. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { outputFolder } from '../../cli/output.ts';
import { progressLine, seconds } from '../../cli/progress.ts';
import { explained } from '../../cli/report.ts';
import { FoveaError } from '../../compiler/error.ts';
import { metricsLog } from '../../models/train/keep.ts';
import type { StepMetrics } from '../../models/train/run.ts';
import { scratch } from './command.ts';

/** A stream as progressLine sees it, and what it was given. */
const stream = (isTTY: boolean, columns = 30) => {
  const written: string[] = [];
  const to = { isTTY, columns, write: (s: string) => written.push(s) > 0 };
  return { to: to as unknown as NodeJS.WriteStream, written }; // the two properties and the method that are used
};

test('progress: one line drawn over on a terminal, chosen lines elsewhere', () => {
  const terminal = stream(true);
  const line = progressLine(terminal.to);
  line.show('one');
  line.show('x'.repeat(50));
  line.clear();
  // \x1b[2K empties the line; text is cut so that it never wraps
  expect(terminal.written).toEqual(['\r\x1b[2Kone', `\r\x1b[2K${'x'.repeat(29)}`, '\r\x1b[2K']);
  const file = stream(false);
  const plain = progressLine(file.to);
  plain.show('one');
  plain.show('two', true);
  plain.clear();
  expect(file.written).toEqual(['two\n']);
});

test('durations', () => {
  expect([0, 0.2, 59, 59.5, 60, 75, 3600].map(seconds)).toEqual([
    '0 s',
    '1 s',
    '59 s',
    '1 min 0 s',
    '1 min 0 s',
    '1 min 15 s',
    '60 min 0 s',
  ]);
});

const metrics = (step: number): StepMetrics => ({
  step,
  losses: { loss: 1, dino_local_crops_loss: 1, dino_global_crops_loss: 1, koleo_loss: 1, ibot_loss: 1 },
  lr: 0.1,
  seconds: 1,
});
const codeOf = (f: () => unknown): string => {
  try {
    f();
  } catch (e) {
    if (e instanceof FoveaError) return `${e.code} ${e.message} | ${e.hint}`;
    throw e;
  }
  return 'nothing thrown';
};

test.runIf(existsSync('/dev/full'))('metrics on a full disk (where there is a /dev/full)', () => {
  const log = metricsLog('/dev/full');
  expect(codeOf(() => log.add(metrics(1)))).toMatch(/^FV0407 cannot write \/dev\/full: ENOSPC.*The disk is full/);
  expect(log.all).toEqual([]);
  log.close();
});

test('metrics of every finished step are in the file at once', () => {
  const file = join(scratch(), 'metrics.jsonl');
  writeFileSync(file, 'old');
  const log = metricsLog(file);
  log.add(metrics(1));
  log.add(metrics(2));
  expect(readFileSync(file, 'utf8')).toBe(`${JSON.stringify(metrics(1))}\n${JSON.stringify(metrics(2))}\n`);
  log.close();
});

test('a run that goes on keeps the metrics up to its step, whole lines of them, and then appends', () => {
  const file = join(scratch(), 'metrics.jsonl');
  const lines = (...steps: readonly number[]): string => steps.map((s) => `${JSON.stringify(metrics(s))}\n`).join('');
  const before = `${lines(1, 2, 3)}{"step":4,"los`;
  writeFileSync(file, before);
  // where the new file cannot be written the old one is as it was
  const blocked = join(dirname(file), `.metrics.jsonl.${process.pid}.tmp`);
  mkdirSync(blocked);
  expect(codeOf(() => metricsLog(file, 2))).toMatch(/^FV0407 cannot write .*metrics\.jsonl: EISDIR/);
  expect(readFileSync(file, 'utf8')).toBe(before);
  rmSync(blocked, { recursive: true });
  const log = metricsLog(file, 2);
  expect(log.all.map((m) => m.step)).toEqual([1, 2]);
  expect(readFileSync(file, 'utf8')).toBe(lines(1, 2));
  log.add(metrics(3));
  log.close();
  expect(readFileSync(file, 'utf8')).toBe(lines(1, 2, 3));
});

test('the output folder is tried out before the run', () => {
  const dir = scratch();
  expect(codeOf(() => outputFolder(join(dir, 'a/b'), ['x.png'], 2 ** 60))).toMatch(
    /^FV0501 .* MiB are free, and the run will write 1099511627776\.0 MiB/,
  );
  expect(readdirSync(dir)).toEqual([]);
  const out = outputFolder(join(dir, 'a/b'), ['x.png'], 1);
  expect(readdirSync(join(dir, 'a/b'))).toEqual([]);
  writeFileSync(out.file('x.png'), 'old');
  writeFileSync(join(dir, 'a/b/mine.txt'), 'of the user');
  out.begin();
  expect(readdirSync(join(dir, 'a/b'))).toEqual(['mine.txt']);
  out.abandon();
  // it is not empty, so it stays
  expect(readdirSync(join(dir, 'a/b'))).toEqual(['mine.txt']);
  mkdirSync(join(dir, 'c/x.png'), { recursive: true });
  expect(codeOf(() => outputFolder(join(dir, 'c'), ['x.png'], 1))).toMatch(/^FV0502 a folder stands where a file is to be written/);
});

test('errors of the system are told as such, errors of ours are not', () => {
  const enospc = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', path: '/disk/a' });
  expect(explained(enospc)?.report()).toBe('FV0501: the disk is full: /disk/a\n  Free some space there and run again.');
  const eacces = Object.assign(new Error('EACCES'), { code: 'EACCES', path: '/a', dest: '/b' });
  expect(explained(eacces)?.report()).toBe('FV0502: permission denied: /b\n  Choose a place that you may read and write.');
  expect(explained(new TypeError('x is not a function'))).toBeUndefined();
});
