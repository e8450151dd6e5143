/**
 * `fovea parity`: runs the recorded cases of a folder (index.json and a file of tensors for each case) on a backend and prints, for each
 * case, how far its worst output is from the recorded one, in units of the recorded tolerance. Exit status 1 if any case fails,
 * cannot be read, or belongs to a group without a runner.
 *
 *   fovea parity --goldens goldens --group loss,knn
 *
 *   case       group  tensors  of tolerance  result  seconds  worst tensor
 *   loss_dino  loss         7         0.041  pass       0.62  grad/student2
 */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { type Entry, openCatalogue } from '../models/parity/catalogue.ts';
import { type Outcome, parity } from '../models/parity/run.ts';
import { backendNames, backendOf } from './backends.ts';
import { emulateOption, path } from './options.ts';
import { progressLine } from './progress.ts';

interface ParityCommandOptions {
  readonly goldens: string;
  readonly backend: string;
  readonly emulate?: boolean;
  readonly group?: readonly string[];
  readonly case?: readonly string[];
}

/** `--x a,b --x c` */
const listed = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  ...text
    .split(',')
    .map((t) => t.trim())
    .filter((t) => t !== ''),
];

export const parityCommand = (): Command =>
  new Command('parity')
    .description('compare with recorded numbers of the original DINOv2')
    .requiredOption('--goldens <dir>', 'folder of recorded cases: index.json and a safetensors file for each case', path('--goldens'))
    .option('--backend <name>', `where to run: ${backendNames.join(' or ')}`, 'cpu')
    .addOption(emulateOption())
    .option('--group <names...>', 'only these groups, separated by commas or spaces', listed)
    .option('--case <ids...>', 'only these cases, separated by commas or spaces', listed)
    .option('--debug', 'print the stack of an error')
    .action(runParity);

/** The entries that were asked for. FV0503 names what exists where something does not. */
const chosen = (entries: readonly Entry[], { group, case: ids }: Pick<ParityCommandOptions, 'group' | 'case'>): readonly Entry[] => {
  const check = (option: string, wanted: readonly string[] | undefined, known: readonly string[], where: string): void => {
    const unknown = wanted?.filter((w) => !known.includes(w)) ?? [];
    if (unknown.length > 0 || wanted?.length === 0)
      throw new FoveaError('FV0503', `${option} ${unknown.join(', ') || "''"}: no such name in ${where}`, {
        hint: `There are: ${known.join(', ')}.`,
      });
  };
  const all = [...new Set(entries.map((e) => e.group))];
  check('--group', group, all, 'the folder');
  const inside = group ? entries.filter((e) => group.includes(e.group)) : entries;
  const known = inside.map((e) => e.id);
  check('--case', ids, known, group ? `group ${group.join(', ')}` : 'the folder');
  return ids ? inside.filter((e) => ids.includes(e.id)) : inside;
};

const columns = ['case', 'group', 'tensors', 'of tolerance', 'result', 'seconds', 'worst tensor'] as const;
const right: readonly string[] = ['tensors', 'of tolerance', 'seconds'];

const ratio = (r: number): string =>
  r === 0 ? '0' : !Number.isFinite(r) ? '-' : r >= 1000 || r < 0.001 ? r.toExponential(1) : r.toFixed(3);

const cells = (o: Outcome): readonly string[] => [
  o.id,
  o.group,
  String(o.verdicts.length),
  o.worst ? ratio(o.worst.ratio) : '-',
  o.status,
  o.status === 'skipped' ? '-' : o.seconds.toFixed(2),
  o.worst?.name ?? o.reason ?? '',
];

/** Failing outputs of a case that are told one by one. */
const most = 10;

async function runParity(options: ParityCommandOptions): Promise<void> {
  const started = performance.now();
  const folder = resolve(options.goldens);
  const entries = chosen(openCatalogue(folder).entries, options);
  const backend = await backendOf(options.backend, options);
  const widths = columns.map((c, i) =>
    Math.max(c.length, ...entries.map((e) => (i === 0 ? e.id.length : i === 1 ? e.group.length : i === 4 ? 'skipped'.length : 8))),
  );
  const row = (texts: readonly string[]): string =>
    texts
      .map((t, i) => (i === columns.length - 1 ? t : right.includes(columns[i]!) ? t.padStart(widths[i]!) : t.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  console.log(row(columns));
  const line = progressLine();
  const waiting = (done: number): void => {
    const next = entries[done];
    if (next) line.show(`case ${done + 1} of ${entries.length}: ${next.id}`);
  };
  const outcomes: Outcome[] = [];
  waiting(0);
  for await (const o of parity(entries, { backend })) {
    outcomes.push(o);
    line.clear();
    console.log(row(cells(o)));
    const wrong = o.verdicts.filter((v) => !v.pass);
    for (const v of wrong.slice(0, most)) console.log(`  ${v.name}: ${v.why}`);
    if (wrong.length > most) console.log(`  and ${wrong.length - most} more outputs`);
    waiting(outcomes.length);
  }
  const count = (s: Outcome['status']): number => outcomes.filter((o) => o.status === s).length;
  const [pass, fail, skipped] = [count('pass'), count('fail'), count('skipped')];
  const tensors = outcomes.reduce((n, o) => n + o.verdicts.length, 0);
  const took = ((performance.now() - started) / 1000).toFixed(1);
  const parts = [`${pass} pass`, `${fail} fail`, ...(skipped > 0 ? [`${skipped} skipped`] : [])];
  console.log(`\n${outcomes.length} cases: ${parts.join(', ')}; ${tensors} tensors compared in ${took} s on ${backend.name}`);
  if (fail > 0) process.exitCode = 1;
}
