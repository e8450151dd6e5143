/**
 * A bound for calls of NCCL that hold this thread until all ranks have come: the first connection, init and split. Ranks meet just before, so it is a rank that
 * dies in that moment who is waited for, for ever. No code of this thread can run meanwhile, so another one looks at the clock; when time is up it says what was
 * waited for and ends the process, which the others hear of.
 *
 *   within(60, 'NCCL to connect 8 ranks', () => nccl.init(id, 8, rank))
 */
import { Worker } from 'node:worker_threads';

/** Seconds, however patient a job is: a connection takes some, for a thousand ranks some tens. */
const most = 120;

// woken when the call is over
const watch = `
const { workerData: { over, seconds, text } } = require('node:worker_threads');
if (Atomics.wait(over, 0, 0, 1e3 * seconds) === 'timed-out') {
  require('node:fs').writeSync(2, text);
  process.kill(process.pid, 'SIGKILL');
}`;

/** What `call` returns or throws. After `patience` seconds, at most two minutes, the process ends with a message on its standard error (FV0802). */
export const within = <T>(patience: number, what: string, call: () => T): T => {
  const over = new Int32Array(new SharedArrayBuffer(4));
  const seconds = Math.min(patience, most);
  const text = `fovea: FV0802: waited ${seconds} s for ${what}, which not all ranks have come to\n  Start the job again with --resume: the last checkpoint is whole.\n`;
  const worker = new Worker(watch, { eval: true, workerData: { over, seconds, text } });
  worker.unref();
  try {
    return call();
  } finally {
    Atomics.store(over, 0, 1);
    Atomics.notify(over, 0);
  }
};
