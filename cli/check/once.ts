/**
 * One check of files as they are: types and purity here, the trace beside them in its own process (tracer.ts). What does not parse is not run; where
 * types do not fit, they are all that is said.
 */
import { cacheFolder } from '../../backends/native/cache.ts';
import type { Checker } from '../../compiler/frontend/check.ts';
import { remembering } from '../../compiler/frontend/disk.ts';
import { errorsIn, type Finding } from '../../compiler/frontend/findings.ts';
import { ownTypes } from '../own-copy.ts';
import { typescriptCode } from './code.ts';
import { type Found, kept } from './kept.ts';
import type { Traced, Tracer } from './tracer.ts';

export interface Checked {
  /** Types and purity. */
  readonly found: Found;
  /** These, and what the trace says. */
  readonly findings: readonly Finding[];
  /** Undefined where nothing was traced, for types do not fit. */
  readonly traced: Traced | undefined;
  /** How long its parts took. */
  readonly time: string;
}

export const since = (from: number): string => `${(performance.now() - from).toFixed(0)} ms`;

/** With the trace's answer, where it counts. */
const withTrace = async (found: Found, { answer, end }: Tracer): Promise<Pick<Checked, 'findings' | 'traced'>> => {
  if (errorsIn(found.findings) === 0) {
    const traced = await answer();
    return { findings: [...found.findings, ...traced.findings], traced };
  }
  end();
  return { findings: found.findings, traced: undefined };
};

export const check = async ({ round }: Checker, tracer: Tracer): Promise<Checked> => {
  const from = performance.now();
  const { files, parses, findings: look } = round();
  const read = since(from);
  if (parses) await tracer.go();
  const looking = performance.now();
  const found = { files, parses, findings: look() };
  const looked = since(looking);
  const waiting = performance.now();
  const all = await withTrace(found, tracer);
  const time = `${files.length} files read in ${read}, types and purity ${looked}, trace beside them ${since(waiting)} longer`;
  return { found, ...all, time };
};

/** A checker; what it asked of the disk; and TypeScript's code to be kept for the next process. */
export const loadChecker = async (files: readonly string[]) => {
  const code = await typescriptCode(await cacheFolder());
  const [{ checker }, { tsc }] = await Promise.all([
    import('../../compiler/frontend/check.ts'),
    import('../../compiler/frontend/typescript.ts'),
  ]);
  const { disk, answers } = remembering(tsc.sys);
  return { checker: checker(files, { disk, standIn: ownTypes() }), answers, code };
};

const nothing = async (): Promise<void> => {};

/** In a process that checks once. `after` is to be done when all is printed: it keeps what the next process can use. */
export const checkOnce = async (files: readonly string[], tracer: Tracer): Promise<Checked & { readonly after: () => Promise<void> }> => {
  const from = performance.now();
  const before = await kept(await cacheFolder(), files);
  const known = since(from);
  if (before.found) {
    if (before.found.parses) await tracer.go();
    const waiting = performance.now();
    const all = await withTrace(before.found, tracer);
    const time = `types and purity of ${before.found.files.length} files are as they were, ${known}; trace ${since(waiting)}`;
    return { found: before.found, ...all, time, after: nothing };
  }
  const loading = performance.now();
  const { checker, answers, code } = await loadChecker(files);
  const loaded = since(loading);
  const checked = await check(checker, tracer);
  return {
    ...checked,
    time: `TypeScript ${loaded}, ${checked.time}`,
    after: async () => {
      await Promise.all([code.keep(), before.keep(checked.found, answers())]);
    },
  };
};
