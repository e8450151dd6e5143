/**
 * The process that runs users' modules for `fovea check`. It is started ahead, loads Fovea, and waits for the word; it traces the files once, says
 * what it found, and ends. A check that goes on (`--watch`) starts the next one, since a module that was loaded stays what it was. What a module
 * prints goes to standard error, for standard output holds the findings.
 *
 *   const t = tracer(files);              // while TypeScript loads and reads
 *   await t.go();                         // from here on beside the check of the types
 *   const findings = await t.answer;
 */
import { fork } from 'node:child_process';
import type { Finding } from '../../compiler/frontend/findings.ts';

export interface Tracer {
  readonly go: () => Promise<void>;
  readonly answer: Promise<readonly Finding[]>;
  readonly end: () => void;
}

export const fileStart = (file: string) => ({ file, line: 1, col: 1, endLine: 1, endCol: 2 });

/** FV0402 where the process ends without an answer: a module ended it, or took all memory. */
export const tracer = (files: readonly string[]): Tracer => {
  const child = fork(process.argv[1] as string, ['check', '--only-trace', ...files], { stdio: ['ignore', 2, 2, 'ipc'] });
  const answer = new Promise<readonly Finding[]>((done) => {
    let found: readonly Finding[] | undefined;
    child.on('message', (m) => {
      found = m as readonly Finding[];
    });
    child.on('close', (status, signal) => {
      const message = `the process that loads and traces the files ended ${signal ? `by ${signal}` : `with status ${status}`} and gave no answer`;
      done(found ?? [{ ...fileStart(files[0] as string), code: 'FV0402', severity: 'error', message, related: [] }]);
    });
  });
  return {
    // the check of the types lets nothing else run, so the word has to be out before; of a process that has ended `answer` says so
    go: () => new Promise((sent) => child.send('go', () => sent())),
    answer,
    end: () => child.kill(),
  };
};
