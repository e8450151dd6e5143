/**
 * Runs a user's module in this process, for commands that need what it exports. It may end the process, wait for what never comes, or never end: then the
 * command would stop without a word, or not at all. `fovea check` runs modules in a process of their own (check/tracer.ts).
 *
 *   await guarded('/home/me/model.ts', () => load('/home/me/model.ts'))
 */
import { Worker } from 'node:worker_threads';
import { FoveaError } from '../compiler/error.ts';

/** A loop lets nothing else of its thread run, so another thread says it. */
const clock = `
const { workerData: [ms, text] } = require('node:worker_threads');
setTimeout(() => require('node:fs').writeSync(2, text), ms);
`;

/** FV0402, on standard error, where the process ends while it runs; after some seconds a word that it still does. */
export const guarded = async <R>(file: string, run: () => Promise<R>, seconds = 20): Promise<R> => {
  const told = (asked: number): void => {
    // where nothing is left to do but an await, Node's own listener says 13
    const status = process.exitCode ?? asked;
    const what = status === 13 ? 'waits for something that never comes' : `ends the process, with status ${status}`;
    const hint = 'Move what a program does, rather than exports, out of the module: under a condition, or to a file of its own.';
    console.error(`fovea: ${new FoveaError('FV0402', `${file}: the module ${what}`, { hint }).report()}`);
    process.exitCode = 1;
  };
  const text = `fovea: ${file} has run for ${seconds} s and has not ended: a loop that has no end? Ctrl-C ends it.\n`;
  const watch = new Worker(clock, { eval: true, execArgv: [], workerData: [1000 * seconds, text] });
  watch.unref();
  process.once('exit', told);
  try {
    return await run();
  } finally {
    process.off('exit', told);
    void watch.terminate();
  }
};
