/**
 * A run of fuzz on several processors: each process takes a part of the seeds, so that a program has the same seed however many there are.
 * What they find is put together; the first failure ends all of them.
 *
 *   10,000 programs from seed 1, 2 jobs     ->     fovea fuzz --programs 5000 --seed 1, and --seed 5001
 */
import { type ChildProcess, fork } from 'node:child_process';
import { FoveaError } from '../compiler/error.ts';
import { type FuzzReport, parseProgram, printProgram } from '../testing/index.ts';

/** What a job tells the process that started it. */
type Message = { readonly done: number } | { readonly at: At } | { readonly report: Plain };
/** What it is working on, until it says something else. */
interface At {
  readonly seed: number;
  readonly law: string;
}
/** A report that survives JSON: programs as text. */
interface Plain extends Omit<FuzzReport, 'failures' | 'notes'> {
  readonly failures: readonly (Omit<FuzzReport['failures'][number], 'program'> & { readonly program?: string })[];
  readonly notes: readonly (readonly [string, number])[];
}

const plain = ({ programs, failures, notes }: FuzzReport): Plain => ({
  programs,
  failures: failures.map(({ program, ...f }) => (program ? { ...f, program: printProgram(program) } : f)),
  notes: [...notes],
});
const read = ({ programs, failures, notes }: Plain): FuzzReport => ({
  programs,
  failures: failures.map(({ program, ...f }) => (program === undefined ? f : { ...f, program: parseProgram(program) })),
  notes: new Map(notes),
});

/** In a job: tells how far it is, and what it found. Undefined in a process that nobody waits for. */
export const parent = (): { done(n: number): void; at(seed: number, law: string): void; report(r: FuzzReport): void } | undefined => {
  const send = process.send?.bind(process);
  if (!send || process.env['FOVEA_FUZZ_JOB'] === undefined) return undefined;
  // nobody waits any more: as two interrupts, of which the second leaves at once
  const left = (): void => {
    for (let i = 0; i < 2; i++) process.kill(process.pid, 'SIGTERM');
  };
  process.once('disconnect', left);
  return {
    done: (done) => void send({ done } satisfies Message),
    at: (seed, law) => void send({ at: { seed, law } } satisfies Message),
    report: (report) => {
      process.off('disconnect', left);
      send({ report: plain(report) } satisfies Message, undefined, undefined, () => process.disconnect());
    },
  };
};

export interface JobsOptions {
  readonly programs: number;
  readonly seed: number;
  readonly jobs: number;
  /** Further arguments of the command: the backend, a law. */
  readonly args: readonly string[];
  readonly progress: (done: number) => void;
  /** Seconds without a word from a job after which it is ended: a law that runs for ever answers nobody. */
  readonly limit: number;
  readonly signal?: AbortSignal;
}

/** FV0598. Laws are told by their names; other work has one that `--law` does not know. */
const endless = ({ seed, law }: At, limit: number, args: readonly string[]): FoveaError =>
  new FoveaError('FV0598', `the program of seed ${seed} has not ended within ${limit} s: ${law}`, {
    hint: `Repeat with: fovea fuzz --programs 1 --seed ${seed} --jobs 1 ${args.join(' ')}.`,
  });

/** Runs the parts and puts their reports together. FV0597: a job that ended without a report. FV0598: one that does not end. */
export const fuzzInJobs = async ({ programs, seed, jobs, args, progress, limit, signal }: JobsOptions): Promise<FuzzReport> => {
  const each = Math.ceil(programs / jobs);
  const done = new Array<number>(jobs).fill(0);
  const running = new Set<ChildProcess>();
  const stop = (): void => {
    for (const child of running) child.kill('SIGINT');
  };
  signal?.addEventListener('abort', stop);
  const part = (i: number): Promise<FuzzReport> =>
    new Promise((resolve, reject) => {
      const from = seed + i * each;
      const count = Math.min(each, programs - i * each);
      const command = ['fuzz', '--programs', `${count}`, '--seed', `${from}`, '--jobs', '1', ...args];
      // a group of its own: an interrupt at the keyboard comes to it through this process
      const child = fork(process.argv[1] as string, command, {
        detached: true,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        env: { ...process.env, FOVEA_FUZZ_JOB: `${i}` },
      });
      running.add(child);
      let report: FuzzReport | undefined;
      let at: At = { seed: from, law: 'compiles' };
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, 1000 * limit);
      child.on('message', (m: Message) => {
        timer.refresh();
        if ('at' in m) at = m.at;
        else if ('report' in m) {
          report = read(m.report);
          if (report.failures.length > 0) stop();
        } else {
          done[i] = m.done;
          progress(done.reduce((a, b) => a + b, 0));
        }
      });
      child.on('error', reject);
      child.on('exit', (status, killed) => {
        running.delete(child);
        clearTimeout(timer);
        if (report) resolve(report);
        else if (late) {
          stop();
          reject(endless(at, limit, args));
        } else {
          stop();
          reject(
            new FoveaError(
              'FV0597',
              `the job for seeds ${from} to ${from + count - 1} ended without a report (${killed ?? `status ${status}`})`,
              {
                hint: `Run its seeds alone to see why: --programs ${count} --seed ${from} --jobs 1.`,
              },
            ),
          );
        }
      });
    });
  const reports = await Promise.all(Array.from({ length: Math.ceil(programs / each) }, (_, i) => part(i)));
  signal?.removeEventListener('abort', stop);
  const notes = new Map<string, number>();
  for (const r of reports) for (const [what, n] of r.notes) notes.set(what, (notes.get(what) ?? 0) + n);
  return { programs: reports.reduce((n, r) => n + r.programs, 0), failures: reports.flatMap((r) => r.failures), notes };
};
