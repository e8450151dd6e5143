/**
 * The process that runs users' modules for `fovea check`. It is started ahead, loads Fovea, and waits for the word; it traces the files once, says
 * what it found, and ends. A check that goes on (`--watch`) starts the next one, since a module that was loaded stays what it was. What a module
 * prints goes to standard error, for standard output holds the findings. A loop that does not end is ended with the process.
 *
 *   const t = tracer(targets, seconds);   // while TypeScript loads and reads
 *   await t.go();                         // from here on beside the check of the types
 *   const { findings } = await t.answer();
 */
import { fork } from 'node:child_process';
import type { Finding } from '../../compiler/frontend/findings.ts';
import { fileStart } from '../export-place.ts';
import type { Target } from './targets.ts';

/** What the trace of files says. */
export interface Traced {
  readonly findings: readonly Finding[];
  /** Exports by file: those that were traced, and functions that do not say what they take. */
  readonly files: readonly { readonly file: string; readonly traced: readonly string[]; readonly left: readonly string[] }[];
}
/** What the process is at, so that it can be told if it does not come back. */
export interface Doing {
  readonly file: string;
  readonly doing: string;
}
export interface Tracer {
  readonly go: () => Promise<void>;
  /** The time for it runs from here on. */
  readonly answer: () => Promise<Traced>;
  readonly end: () => void;
}

/** FV0402 where the process ends without an answer: a module ended it, took all memory, or came to no end. */
export const tracer = (targets: readonly Target[], seconds: number): Tracer => {
  const words = targets.map(({ file, name }) => (name === undefined ? file : `${file}#${name}`));
  const child = fork(process.argv[1] as string, ['check', '--only-trace', ...words], { stdio: ['ignore', 2, 2, 'ipc'] });
  let found: Traced | undefined;
  let last: Doing = { file: targets[0]?.file ?? '', doing: 'loading' };
  let late = false;
  const ended = new Promise<Traced>((done) => {
    child.on('message', (m: Traced | Doing) => {
      if ('doing' in m) last = m;
      else found = m;
    });
    child.on('close', (status, signal) => {
      const how = late
        ? `${last.doing} took more than ${seconds} s, and was ended: a loop that has no end? --timeout SECONDS gives it more`
        : `the process that loads and traces the files ended ${signal ? `by ${signal}` : `with status ${status}`} and gave no answer, ${last.doing}`;
      done(found ?? { findings: [{ ...fileStart(last.file), code: 'FV0402', severity: 'error', message: how, related: [] }], files: [] });
    });
  });
  return {
    // the check of the types lets nothing else run, so the word has to be out before; of a process that has ended `answer` says so
    go: () => new Promise((sent) => child.send('go', () => sent())),
    answer: async () => {
      const timer = setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, 1000 * seconds);
      const answer = await ended;
      clearTimeout(timer);
      return answer;
    },
    end: () => child.kill('SIGKILL'),
  };
};
