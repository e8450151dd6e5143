/**
 * The process that runs users' modules for `fovea check`. It is started ahead, loads Fovea, and waits for the word; then it loads the files, traces
 * one export after the other, says of each what it found, and ends. A check that goes on (`--watch`) starts the next one, since a module that was
 * loaded stays what it was. What a module prints goes to standard error, for standard output holds the findings.
 *
 * A step that comes to no end, or ends the process, is a finding at its export and hides none of the others: a new process goes on without it.
 *
 *   const t = tracer(targets, seconds);   // while TypeScript loads and reads
 *   await t.go();                         // from here on beside the check of the types
 *   const { findings } = await t.answer();
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { Finding } from '../../compiler/frontend/findings.ts';
import { exportPlace } from '../export-place.ts';
import type { Target } from './targets.ts';

/** What the trace of files says. */
export interface Traced {
  readonly findings: readonly Finding[];
  /** Exports by file: those that were traced, and functions that do not say what they take. */
  readonly files: readonly { readonly file: string; readonly traced: readonly string[]; readonly left: readonly string[] }[];
}
/** The load of a file, or the trace of one export of it. */
export interface Step {
  readonly file: string;
  readonly name?: string | undefined;
}
export const keyOf = ({ file, name = '' }: Step): string => `${file}#${name}`;
/** What the process says. */
export type Said =
  | { readonly about: 'before'; readonly step: Step }
  | { readonly about: 'after'; readonly step: Step; readonly findings: readonly Finding[] }
  | { readonly about: 'left'; readonly file: string; readonly names: readonly string[] }
  | { readonly about: 'end' };
export interface Tracer {
  readonly go: () => Promise<void>;
  /** From here on no step may take longer than the seconds. */
  readonly answer: () => Promise<Traced>;
  readonly end: () => void;
}

/** Of a timer, in milliseconds: a longer one ends at once. */
const longest = 2 ** 31 - 1;

const start = (targets: readonly Target[]): ChildProcess => {
  const words = targets.map(({ file, name }) => (name === undefined ? file : `${file}#${name}`));
  return fork(process.argv[1] as string, ['check', '--only-trace', ...words], { stdio: ['ignore', 2, 2, 'ipc'] });
};

/** FV0402 where a step has no end, or ends the process: a loop, a call of process.exit, no memory left. */
export const tracer = (targets: readonly Target[], seconds: number): Tracer => {
  const found = new Map<string, { readonly step: Step; readonly findings: readonly Finding[] }>();
  const left = new Map<string, readonly string[]>();
  /** Steps that need not be taken again. A file that was loaded is loaded again by a new process, unless that ended the last one. */
  const known = new Set<string>();
  let child = start(targets);
  let [last, late, waiting, over] = [undefined as Step | undefined, false, false, false];
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    clearTimeout(timer);
    if (!waiting || !last) return;
    timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, Math.min(1000 * seconds, longest));
  };
  const hear = (m: Said): void => {
    if (m.about === 'before') last = m.step;
    else if (m.about === 'after') {
      last = undefined;
      found.set(keyOf(m.step), m);
      if (m.step.name !== undefined) known.add(keyOf(m.step));
    } else if (m.about === 'left') left.set(m.file, m.names);
    else over = true;
    wait();
  };
  /** The process ended in the middle of it. */
  const lost = (step: Step, status: number | null, signal: string | null): void => {
    const doing = step.name === undefined ? 'loading it' : `tracing ${step.name}`;
    const message = late
      ? `${doing} took more than ${seconds} s, and was ended: a loop that has no end? --timeout SECONDS gives it more`
      : `the process that loads and traces the files ended ${signal ? `by ${signal}` : `with status ${status}`}, ${doing}`;
    const finding: Finding = { ...exportPlace(step.file, step.name), code: 'FV0402', severity: 'error', message, related: [] };
    found.set(keyOf(step), { step, findings: [finding] });
    known.add(keyOf(step));
  };
  // the check of the types lets nothing else run, so the word has to be out before; of a process that has ended `answer` says so
  const go = (): Promise<void> => new Promise((sent) => child.send([...known], () => sent()));
  const ended = new Promise<void>((done) => {
    const follow = (): void => {
      const before = known.size;
      child.on('message', hear);
      child.on('close', (status, signal) => {
        clearTimeout(timer);
        if (over) return done();
        // one that gets nowhere would do so again
        const again = last !== undefined || known.size > before;
        if (last || !again) lost(last ?? { file: targets[0]?.file ?? '' }, status, signal);
        if (!again) return done();
        [last, late] = [undefined, false];
        child = start(targets);
        follow();
        void go();
      });
    };
    follow();
  });
  return {
    go,
    answer: async () => {
      waiting = true;
      wait();
      await ended;
      const all = [...found.values()];
      const files = [...new Set(targets.map((t) => t.file))].map((file) => ({
        file,
        traced: all.flatMap(({ step: { file: of, name }, findings }) =>
          of === file && name !== undefined && findings.length === 0 ? [name] : [],
        ),
        left: left.get(file) ?? [],
      }));
      return { findings: all.flatMap((f) => f.findings), files };
    },
    end: () => {
      over = true;
      child.kill('SIGKILL');
    },
  };
};
