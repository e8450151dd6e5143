/**
 * Runs recorded cases: each group of cases has a runner, which makes the inputs of a case, computes everything the case
 * recorded, and hands it over by name. What comes back is compared output by output; nothing is left out in silence.
 *
 *   for await (const o of parity(catalogue.entries, { backend })) console.log(o.id, o.status, o.worst?.ratio);
 *
 * A failure of any kind, a malformed case, a group without a runner, an error inside a runner, is an outcome like a wrong number.
 */
import { FoveaError } from '../../compiler/error.ts';
import type { Backend } from '../../index.ts';
import { type Entry, recorded } from './catalogue.ts';
import { compare, type Verdict } from './compare.ts';
import { type Context, contextOf, type Runner } from './context.ts';
import { groups } from './groups.ts';

/** Groups that a backend which interprets graphs does not run. */
const slow: Readonly<Record<string, string>> = {
  real_size: 'real sizes take hours in the float64 interpreter; --backend cpu runs them',
};

export interface Outcome {
  readonly id: string;
  readonly group: string;
  readonly status: 'pass' | 'fail' | 'skipped';
  /** One for each output of the case; empty if the case could not be run. */
  readonly verdicts: readonly Verdict[];
  /** The output with the largest error over tolerance; one that fails, if there is one. */
  readonly worst?: Verdict;
  /** Why it could not be run, or was skipped. */
  readonly reason?: string;
  readonly seconds: number;
}

const reasonOf = (e: unknown): string => {
  if (e instanceof FoveaError) return `${e.code}: ${e.message}`;
  return `internal error: ${e instanceof Error ? e.message : String(e)}`;
};

const runCase = async (entry: Entry, runner: Runner, context: Context): Promise<Pick<Outcome, 'status' | 'verdicts' | 'worst'>> => {
  const c = entry.read();
  const want = recorded(c);
  const got = await runner(c, context);
  // `recorded` holds every output of the index or throws
  const verdicts = c.outputs.map((o) => compare(o, want.get(o.name)!, got.get(o.name)));
  const worst = verdicts.reduce((a, b) => (b.ratio > a.ratio ? b : a));
  return { status: verdicts.every((v) => v.pass) ? 'pass' : 'fail', verdicts, worst };
};

export interface ParityOptions {
  readonly backend: Backend;
  /** Runner by group. */
  readonly table?: Readonly<Record<string, Runner>>;
}

/** The outcome of each case, in order, as soon as it is known. */
export async function* parity(
  entries: readonly Entry[],
  { backend, table = groups }: ParityOptions,
): AsyncGenerator<Outcome, void, undefined> {
  const context = contextOf(backend);
  for (const entry of entries) {
    const { id, group } = entry;
    const started = performance.now();
    const done = (o: Omit<Outcome, 'id' | 'group' | 'seconds'>): Outcome => ({
      id,
      group,
      ...o,
      seconds: (performance.now() - started) / 1000,
    });
    const runner = Object.hasOwn(table, group) ? table[group] : undefined;
    if (!runner) yield done({ status: 'fail', verdicts: [], reason: `no runner for group ${group}` });
    else if (backend.kind === 'graph' && slow[group]) yield done({ status: 'skipped', verdicts: [], reason: slow[group] });
    else
      try {
        yield done(await runCase(entry, runner, context));
      } catch (e) {
        yield done({ status: 'fail', verdicts: [], reason: reasonOf(e) });
      }
  }
}
