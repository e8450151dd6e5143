/**
 * Laws on many generated programs. Program k of a run with seed S is the program of seed S + k, so any one can be repeated alone. Programs
 * run on the backend in batches, whose kernels are compiled together while the laws that need no backend look at the batch before. What
 * fails is tried alone, and shrunk to the smallest program that fails in the same law; `tryProgram` tries it again from its text.
 *
 *   const { failures } = await fuzz({ programs: 1000, seed: 1, variants, target });
 *   failures[0]  ->  { law: 'vmap', seed: 17, why: 'example 1: result 0, ...', program: { graph, inputs } }
 */
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import type { Target } from '../compiler/target.ts';
import { rounded } from './host.ts';
import { laws } from './laws/index.ts';
import type { Context, Law } from './laws/law.ts';
import { type Observation, observe, type Variants } from './observe.ts';
import { type ArbitraryOptions, arbitraryProgram, type Program } from './program.ts';
import { exposed } from './transforms.ts';

export interface FuzzOptions {
  readonly programs: number;
  readonly seed: number;
  readonly variants: Variants;
  /** What plans and kernels are made for, also where the backend runs graphs. */
  readonly target: Target;
  /** Default: all of them. */
  readonly laws?: readonly Law[];
  /** Programs compiled together. Default 50. */
  readonly batch?: number;
  /** Failures after which the run ends. Default 1. */
  readonly most?: number;
  /** Seconds that shrinking one failure may take. Default 120. */
  readonly shrinkSeconds?: number;
  /** Called after every batch. */
  readonly progress?: (done: number, failures: number) => void;
  /** Called before a law looks at the program of a seed, and before programs are compiled (`compiles`): what may not end. */
  readonly at?: (seed: number, law: string) => void;
  readonly signal?: AbortSignal;
}

export interface Failure {
  readonly law: string;
  /** Of the program before it shrank; the shrunk one is found again from it. */
  readonly seed: number;
  readonly why: string;
  /** What the law looked at; absent where it looks at the seed alone. */
  readonly program?: Program;
  /** Set where the program fails only beside the others of its batch: the first seed and the number of programs. */
  readonly beside?: { readonly seed: number; readonly programs: number };
}

export interface FuzzReport {
  readonly programs: number;
  readonly failures: readonly Failure[];
  /** What laws counted, such as elements held against a bound. */
  readonly notes: ReadonlyMap<string, number>;
}

const drawn: ArbitraryOptions = { transforms: true, maxNodes: 16 };
const arbitrary: fc.Arbitrary<Program> = arbitraryProgram(drawn).map(({ graph, inputs }) => ({ graph, inputs: inputs.map(rounded) }));
/** Seeds of the generator are 32-bit. */
const parameters = (seed: number) => ({ seed: seed | 0, numRuns: 1, unbiased: true });

/** The program of a seed. */
export const programOf = (seed: number): Program => fc.sample(arbitrary, parameters(seed))[0] as Program;

/**
 * The programs of half of the seeds with all of their values as results, so that no pass removes them; the others as they are. Two of
 * four seeds, so that laws that are due at every second or third see both.
 */
const shown = (p: Program, seed: number): Program => ((seed >> 1) % 2 === 0 ? p : { graph: exposed(p.graph), inputs: p.inputs });
/** Whether a law looks at what is `shown`; without a law, it is compiled. */
const ofKernels = (law: Law | undefined): boolean => law === undefined || law.runs === true || law.kernels === true;
const due = ({ every = 1 }: Law, seed: number): boolean => seed % every === 0;

/** The name under which a backend that throws is reported: it compiles every program. */
const compiles = 'compiles';
const nothing: Observation = { once: [], again: [], threads: [], poisoned: [], shared: 0, precision: 'f32', arithmetic: 'f32' };

const thrown = (e: unknown): string =>
  `throws ${e instanceof Error ? `${e.message}\n${e.stack?.split('\n').slice(1, 4).join('\n')}` : String(e)}`;
const check = (law: Law, p: Program, c: Context): string | undefined => {
  try {
    return law.check(p, c);
  } catch (e) {
    return thrown(e);
  }
};

/** Holds one program to the laws that look at programs, as it is. The seed is for what laws draw. Throws nothing for what fails. */
export const tryProgram = async (
  p: Program,
  { seed, variants, target, laws: chosen = laws }: Pick<FuzzOptions, 'seed' | 'variants' | 'target' | 'laws'>,
): Promise<FuzzReport> => {
  const notes = new Map<string, number>();
  const note = (what: string, n: number): unknown => notes.set(what, (notes.get(what) ?? 0) + n);
  const failures: Failure[] = [];
  const fail = (law: string, why: string): unknown => failures.push({ law, seed, why, program: p });
  const hold = (runs: boolean, seen: Observation): void => {
    for (const law of chosen) {
      const why = law.seedOnly || (law.runs ?? false) !== runs ? undefined : check(law, p, { seed, target, seen, note });
      if (why !== undefined) fail(law.name, why);
    }
  };
  hold(false, nothing);
  if (chosen.some((l) => l.runs)) {
    const seen = await observe([p], variants).catch((e: unknown) => fail(compiles, thrown(e)));
    if (Array.isArray(seen)) hold(true, seen[0] as Observation);
  }
  return { programs: 1, failures, notes };
};

/**
 * Draws the programs and holds the laws to them. A program that fails, or makes a law or the backend throw, is in the report; nothing is
 * thrown for it. An aborted run reports the programs that it came to.
 */
export const fuzz = async (options: FuzzOptions): Promise<FuzzReport> => {
  const { programs, seed: first, variants, target, batch = 50, most = 1, shrinkSeconds = 120, progress, at, signal } = options;
  const chosen = options.laws ?? laws;
  const alone = chosen.filter((l) => !l.runs);
  const running = chosen.filter((l) => l.runs);
  const notes = new Map<string, number>();
  const note = (what: string, n: number): unknown => notes.set(what, (notes.get(what) ?? 0) + n);
  const failures: Failure[] = [];
  const context = (seed: number, seen: Observation): Context => ({ seed, target, seen });

  /** Why a program fails a law when it is compiled by itself. */
  const fails = async (law: Law | undefined, p: Program, seed: number): Promise<string | undefined> => {
    at?.(seed, law?.name ?? compiles);
    if (law && !law.runs) return check(law, p, context(seed, nothing));
    try {
      const [seen] = (await observe([p], variants)) as [Observation];
      return law && check(law, p, context(seed, seen));
    } catch (e) {
      return law ? undefined : thrown(e);
    }
  };
  const shrink = async (law: Law | undefined, seed: number): Promise<Failure | undefined> => {
    const deadline = performance.now() + 1000 * shrinkSeconds;
    const found: { why?: string } = {};
    const given = (p: Program): Program => (ofKernels(law) ? shown(p, seed) : p);
    const holds = async (drawn: Program): Promise<boolean> => {
      if (performance.now() > deadline) return true;
      const p = given(drawn);
      const why = await fails(law, p, seed);
      if (why !== undefined) found.why = why;
      return why === undefined;
    };
    const { counterexample } = await fc.check(fc.asyncProperty(arbitrary, holds), parameters(seed));
    return counterexample ? { law: law?.name ?? compiles, seed, why: found.why as string, program: given(counterexample[0]) } : undefined;
  };
  const fail = async (law: Law | undefined, seed: number, why: string, p: Program, beside: Failure['beside']): Promise<void> => {
    if (failures.length >= most) return;
    if (law?.seedOnly) failures.push({ law: law.name, seed, why });
    else failures.push((await shrink(law, seed)) ?? { law: law?.name ?? compiles, seed, why, program: p, ...(beside && { beside }) });
  };

  interface Batch {
    readonly seed: number;
    readonly programs: readonly Program[];
    /** The same, as they run. */
    readonly shown: readonly Program[];
    readonly seen: Promise<readonly Observation[] | { readonly error: unknown }>;
  }
  const start = (at: number): Batch => {
    const own = Array.from({ length: Math.min(batch, programs - at) }, (_, k) => programOf(first + at + k));
    const open = own.map((p, k) => shown(p, first + at + k));
    const seen =
      running.length === 0 ? Promise.resolve(own.map(() => nothing)) : observe(open, variants).catch((error: unknown) => ({ error }));
    return { seed: first + at, programs: own, shown: open, seen };
  };
  const finish = async ({ seed, programs: own, shown: open, seen }: Batch): Promise<void> => {
    for (const [k, drawn] of own.entries()) {
      for (const law of alone) {
        if (!due(law, seed + k)) continue;
        const p = ofKernels(law) ? (open[k] as Program) : drawn;
        at?.(seed + k, law.name);
        const why = check(law, p, { ...context(seed + k, nothing), note });
        if (why !== undefined) await fail(law, seed + k, why, p, undefined);
      }
      // lets compilers start and end
      await setImmediate();
    }
    at?.(seed, compiles);
    const all = await seen;
    const beside = { seed, programs: own.length };
    if ('error' in all) {
      const before = failures.length;
      for (const [k, p] of open.entries()) {
        const why = await fails(undefined, p, seed + k);
        if (why !== undefined) await fail(undefined, seed + k, why, p, beside);
      }
      if (failures.length === before && failures.length < most)
        failures.push({ law: compiles, seed, why: thrown(all.error), program: open[0] as Program, beside });
      return;
    }
    for (const [k, p] of open.entries())
      for (const law of running) {
        if (!due(law, seed + k)) continue;
        at?.(seed + k, law.name);
        const why = check(law, p, { ...context(seed + k, all[k] as Observation), note });
        if (why !== undefined) await fail(law, seed + k, why, p, beside);
      }
  };

  let done = 0;
  let next = start(0);
  while (done < programs) {
    const now = next;
    const after = done + now.programs.length;
    if (after < programs) next = start(after);
    await finish(now);
    done = after;
    progress?.(done, failures.length);
    if (failures.length >= most || signal?.aborted) break;
  }
  await next.seen;
  return { programs: done, failures, notes };
};
