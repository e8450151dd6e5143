/** What notices one mutant: the laws on generated programs, in a child process with a time limit; where they do not, the test it names. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Found } from './laws.ts';
import type { Mutant } from './mutant.ts';
import type { Tree } from './tree.ts';

export interface Limits {
  readonly programs: number;
  readonly seed: number;
  /** Seconds for the laws, and again for a test. */
  readonly seconds: number;
  /** Folder of compiled kernels, which are found by their text. */
  readonly cache: string;
}
/** `law`: its name; `test/...`; 'time limit' and 'crash' where the process ended otherwise. */
export interface Kill extends Found {
  readonly seconds: number;
}

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly late: boolean;
}
const run = (tree: Tree, args: readonly string[], { seconds, cache }: Limits): Promise<Ended> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: tree.folder, env: { ...process.env, FOVEA_CACHE: cache } });
    let [out, err, late] = ['', '', false];
    child.stdout.on('data', (d) => {
      out += d;
    });
    child.stderr.on('data', (d) => {
      err += d;
    });
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, seconds * 1000);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, out, err, late });
    });
  });

const lawsOf = async (tree: Tree, limits: Limits): Promise<Found | undefined> => {
  const { code, out, err, late } = await run(
    tree,
    ['--import', 'tsx', join('test', 'mutants', 'laws.ts'), `${limits.programs}`, `${limits.seed}`],
    limits,
  );
  const unknown = { seed: limits.seed, programs: 0 };
  if (late) return { ...unknown, law: 'time limit', why: `no end after ${limits.seconds} s` };
  if (code !== 0) return { ...unknown, law: 'crash', why: err.trim().split('\n').slice(-3).join(' ') };
  return (JSON.parse(out.trim().split('\n').at(-1) as string) as Found | null) ?? undefined;
};

/** Whether the test fails. */
export const fails = async (tree: Tree, test: string, limits: Limits): Promise<Found | undefined> => {
  const { code, out, late } = await run(tree, [join('node_modules', 'vitest', 'vitest.mjs'), 'run', test, '--bail', '1'], limits);
  if (code === 0) return undefined;
  const why = out.split('\n').find((l) => l.includes('Error:')) ?? 'fails';
  return { law: test, seed: limits.seed, programs: 0, why: late ? `no end after ${limits.seconds} s` : why.trim() };
};

/** What notices the mutant, or the sources as they are; undefined where nothing does. */
export const kill = (tree: Tree, m: Mutant | undefined, limits: Limits): Promise<Kill | undefined> =>
  tree.with(m, async () => {
    const started = performance.now();
    const found = (await lawsOf(tree, limits)) ?? (m?.test === undefined ? undefined : await fails(tree, m.test, limits));
    return found && { ...found, seconds: (performance.now() - started) / 1000 };
  });
