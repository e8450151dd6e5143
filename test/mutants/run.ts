/**
 * `npm run mutants`: do the laws notice? Seeds the faults of table/ one at a time and says which law noticed each. First the sources as
 * they are must pass, for a law that fails anyway notices nothing. Exit status 1 where a mutant survives.
 *
 *   npm run mutants                              all mutants, two at a time
 *   npm run mutants -- --area jvp                those of an area; --name 'cos without its sign' for one
 *   npm run mutants -- --programs 1000 --json    more programs each; one JSON object instead of tables
 *   npm run mutants -- --write                   the tables also to docs/mutants.md
 *   npm run mutants -- --keep m.json --area jvp  results also to a file, in which those of earlier runs stay; tables of all
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { fails, type Kill, kill, type Limits } from './kill.ts';
import { areas, type Mutant } from './mutant.ts';
import { byArea, byLaw, fullTable, killer, page, type Result } from './report.ts';
import { mutants } from './table/index.ts';
import { tree } from './tree.ts';

interface Options {
  readonly name?: readonly string[];
  readonly area?: string;
  readonly programs: number;
  readonly seed: number;
  readonly jobs: number;
  readonly seconds: number;
  readonly json?: boolean;
  readonly write?: boolean;
  readonly keep?: string;
}

/** Results of f on all items, in order, `jobs` at a time. */
const inTurn = async <T, R>(items: readonly T[], jobs: number, f: (item: T, job: number) => Promise<R>): Promise<R[]> => {
  const out: R[] = [];
  let next = 0;
  const work = async (job: number): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) out[i] = await f(items[i] as T, job);
  };
  await Promise.all(Array.from({ length: jobs }, (_, job) => work(job)));
  return out;
};

/** What noticed each mutant, by its name; null: nothing. */
type Kept = Readonly<Record<string, Kill | null>>;
const keptIn = (file: string | undefined): Kept =>
  file !== undefined && existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Kept) : {};

const main = async (o: Options): Promise<void> => {
  const chosen = mutants.filter((m) => (o.name === undefined || o.name.includes(m.name)) && (o.area === undefined || m.area === o.area));
  if (chosen.length === 0) throw new Error('no such mutant');
  const say = (line: string): void => console.error(line);
  const started = performance.now();
  const cache = mkdtempSync(join(tmpdir(), 'fovea-mutants-'));
  const trees = Array.from({ length: Math.min(o.jobs, chosen.length) }, tree);
  const limits: Limits = { programs: o.programs, seed: o.seed, seconds: o.seconds, cache };
  try {
    const first = trees[0] as (typeof trees)[number];
    const broken = await kill(first, undefined, limits);
    if (broken) throw new Error(`law '${broken.law}' does not hold without a mutant, seed ${broken.seed}: ${broken.why}`);
    for (const test of new Set(chosen.flatMap((m) => m.test ?? [])))
      if (await fails(first, test, limits)) throw new Error(`${test} fails without a mutant`);
    say(`without a mutant all holds (${Math.round((performance.now() - started) / 1000)} s)`);
    const results = await inTurn(chosen, trees.length, async (mutant: Mutant, job): Promise<Result> => {
      const found = await kill(trees[job] as (typeof trees)[number], mutant, limits);
      const result: Result = found ? { mutant, kill: found } : { mutant };
      const how = found ? `${found.programs} programs, ${found.seconds.toFixed(1)} s` : '';
      say(`${mutant.area}: ${mutant.name} [${mutant.fault}] -> ${killer(result)} ${how}`);
      return result;
    });
    const known: Kept = { ...keptIn(o.keep), ...Object.fromEntries(results.map((r) => [r.mutant.name, r.kill ?? null])) };
    if (o.keep !== undefined) writeFileSync(o.keep, JSON.stringify(known));
    const all = mutants.flatMap((mutant): Result[] => {
      const kill = known[mutant.name];
      return kill === undefined ? [] : [kill === null ? { mutant } : { mutant, kill }];
    });
    const survivors = all.filter((r) => !r.kill);
    if (o.json) console.log(JSON.stringify(all, null, 2));
    else console.log(`${fullTable(all)}\n\n${byArea(all)}\n\n${byLaw(all)}\n`);
    if (o.write) writeFileSync(join(import.meta.dirname, '../../docs/mutants.md'), page(all, o));
    say(`${all.length} mutants, ${survivors.length} survive (${Math.round((performance.now() - started) / 1000)} s)`);
    if (survivors.length > 0) process.exitCode = 1;
  } finally {
    for (const t of trees) t.remove();
    rmSync(cache, { recursive: true, force: true });
  }
};

await new Command('mutants')
  .description('seed faults one at a time and say which law notices each')
  .option('--name <names...>', 'only these mutants')
  .addOption(new Option('--area <area>', 'only mutants of this area').choices(areas))
  .option('--programs <n>', 'programs a mutant at most', Number, 300)
  .option('--seed <n>', 'of the first program', Number, 1)
  .option('--jobs <n>', 'mutants at a time', Number, 2)
  .option('--seconds <n>', 'time limit of the laws on one mutant', Number, 240)
  .option('--json', 'the results as JSON')
  .option('--write', 'the tables also to docs/mutants.md')
  .option('--keep <file>', 'results also to this file, where those of other mutants from earlier runs stay')
  .action(main)
  .parseAsync();
