/**
 * Runs the laws until one does not hold, in a process of its own inside a copy of the sources: `laws.ts PROGRAMS SEED`. The first few
 * programs go through all laws before the many go through any, because most faults show at once and compiling is dear. Prints a
 * line of JSON: what was found, as `Found`, or null.
 */
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { type Failure, fuzz } from '../../testing/fuzz.ts';
import { laws } from '../../testing/laws/index.ts';

export interface Found {
  readonly law: string;
  readonly seed: number;
  /** How many programs it took. */
  readonly programs: number;
  readonly why: string;
}

const few = 40;
const made = { unit: 16, plans: false };
const poison = 0x7fc0dead;
const two = { threads: 2, shareAll: true, ...made };
const variants = { plain: cpu({ threads: 1, ...made }), threads: cpu(two), poisoned: cpu({ ...two, poison }) };
const [running, alone] = [laws.filter((l) => l.runs), laws.filter((l) => !l.runs)];

/** The first failure among programs [from, to) of those from `first` on; a program that cannot even be drawn is one, too. */
const look = async (first: number, from: number, to: number, compiled: boolean): Promise<Found | undefined> => {
  if (from >= to) return undefined;
  const found = ({ law, seed, why }: Pick<Failure, 'law' | 'seed' | 'why'>): Found => ({ law, seed, why, programs: seed - first + 1 });
  let done = from;
  try {
    const { failures } = await fuzz({
      programs: to - from,
      seed: first + from,
      variants,
      target: cpuTarget(2),
      laws: compiled ? running : alone,
      batch: compiled ? few : 4,
      shrinkSeconds: 0,
      progress: (n) => {
        done = from + n;
      },
    });
    return failures[0] && found(failures[0]);
  } catch (e) {
    // the transformations that a program is drawn with throw
    return found({ law: 'programs', seed: first + done, why: e instanceof Error ? e.message : String(e) });
  }
};

const [programs, first] = process.argv.slice(2).map(Number) as [number, number];
const ranges = [
  [0, Math.min(few, programs)],
  [few, programs],
] as const;
let found: Found | undefined;
for (const [from, to] of ranges) for (const compiled of [false, true]) found ??= await look(first, from, to, compiled);
console.log(JSON.stringify(found ?? null));
