/**
 * `fovea gradcheck FILE[#export]`: checks the derivatives of exported functions and modules in float64, with random numbers for arguments of
 * small sizes, and prints how the laws of testing/gradients-check.ts hold.
 *
 *   fovea gradcheck losses.ts                       every exported fn and module that has a derivative; the others are listed with the reason
 *   fovea gradcheck losses.ts#koleoLoss --order 2 --dims B=4,D=3
 *   fovea gradcheck 'layers.ts#attention(8, 2)'     what an exported function returns for these arguments, which are JSON
 *
 * The exit status is 1 where a law fails or a function cannot be run, and 2 where none fails but of some export nothing could be decided:
 * a check that says nothing must not look like one that says yes. With --strict it is 2 for any law that could not be decided.
 */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { declared, isDeclared } from '../dsl/declared.ts';
import { checkDeclared, type DeclaredReport, declaredSizes, formatReport } from '../testing/index.ts';
import { atExport } from './export-place.ts';
import { type Exports, load, named, usersOwn } from './exports.ts';
import { guarded } from './guarded.ts';
import { sizesOption, whole } from './options.ts';

interface GradcheckOptions {
  readonly order: number;
  readonly seed: number;
  readonly directions: number;
  readonly dims: Readonly<Record<string, number>>;
  readonly range: readonly [number, number];
  readonly strict?: true;
}

const order = (text: string): number => {
  if (text !== '1' && text !== '2') throw new FoveaError('FV0503', `--order ${text}: expected 1 or 2`, { hint: 'For example: --order 2.' });
  return Number(text);
};
/** 0.1,2 */
const range = (text: string): readonly [number, number] => {
  const ends = text.split(',').map((t) => (t.trim() === '' ? Number.NaN : Number(t)));
  const [min, max] = ends as [number, number];
  if (ends.length !== 2 || !(Number.isFinite(min) && Number.isFinite(max) && min <= max))
    throw new FoveaError('FV0503', `--range ${text}: expected two numbers, the smaller first`, { hint: 'For example: --range 0.1,2.' });
  return [min, max];
};

export const gradcheckCommand = (): Command =>
  new Command('gradcheck')
    .description('check the derivatives of exported functions and modules')
    .argument('<file[#export]>', "a module of yours; '#name' for one export, '#name(1, 2)' for what it returns")
    .option('--order <n>', '2: also the derivatives of the gradient', order, 1)
    .option('--seed <n>', 'of the arguments and directions', whole('--seed', 0), 0)
    .option('--directions <n>', 'points and directions tried', whole('--directions', 1), 4)
    .option('--dims <sizes>', 'sizes by name, as in B=2,N=3; the others are from 2 to 5, never 0 or 1: try B=1', sizesOption('--dims'), {})
    .option('--range <min,max>', 'of the float arguments', range, [-2, 2])
    .option('--strict', 'exit with 2 where any law could not be decided')
    .option('--debug', 'print the stack of an error')
    .addHelpText(
      'after',
      '\nExit status: 0 all laws hold; 1 one fails, or an error; 2 none fails, but of an export nothing could be decided.',
    )
    .action(runGradcheck);

const titleOf = (name: string, { signature, dims }: DeclaredReport): string => {
  const drawn = Object.entries(dims).map(([n, d]) => `${n}=${d}`);
  return `${name} [${signature.join('], [')}]${drawn.length > 0 ? ` with ${drawn.join(', ')}` : ''}`;
};
const indented = (text: string): string => text.replace(/^(?=.)/gm, '  ');

const print = (name: string, report: DeclaredReport): void =>
  console.log(`${titleOf(name, report)}\n\n${indented(formatReport(report))}\n`);

/** The exit status of reports. */
const statusOf = (reports: readonly DeclaredReport[], strict: boolean): number => {
  if (reports.some((r) => r.verdict === 'fail')) return 1;
  return reports.some((r) => r.verdict === 'undecided' || (strict && r.undecided.length > 0)) ? 2 : 0;
};

type Check = (name: string, f: unknown, dims: Readonly<Record<string, number>>) => DeclaredReport;

/** That there is nothing to differentiate. An FV0103 with a place comes from a gradient that the function itself takes. */
const underivable = ({ code, loc }: FoveaError): boolean => code === 'FV0103' && loc === undefined;

/** Every export that says what its arguments are. One that cannot be run is told, and does not keep the others from being checked. */
const checkAll = (
  exports: Exports,
  file: string,
  dims: Readonly<Record<string, number>>,
  check: Check,
): readonly [DeclaredReport[], boolean] => {
  const names = Object.keys(exports).filter((n) => isDeclared(exports[n]));
  // one that is wrong itself is told below
  const sizesOf = (f: unknown): readonly string[] => {
    try {
      return declaredSizes(f);
    } catch (e) {
      if (e instanceof FoveaError) return Object.keys(dims);
      throw e;
    }
  };
  const knows = new Map(names.map((n) => [n, sizesOf(exports[n])]));
  const extra = Object.keys(dims).find((d) => ![...knows.values()].some((own) => own.includes(d)));
  if (names.length > 0 && extra !== undefined)
    throw new FoveaError('FV0005', `--dims: no export of ${file} has a size ${extra}`, {
      hint: `Sizes are ${[...new Set([...knows.values()].flat())].join(', ')}.`,
    });
  const reports: DeclaredReport[] = [];
  const left: string[] = [];
  let broken = 0;
  for (const name of names) {
    try {
      const own = Object.fromEntries(Object.entries(dims).filter(([d]) => knows.get(name)?.includes(d)));
      const report = check(name, exports[name], own);
      print(name, report);
      reports.push(report);
    } catch (e) {
      if (!(e instanceof FoveaError)) throw e;
      if (underivable(e)) left.push(`${name}: ${e.message}`);
      else {
        broken++;
        // as in main.ts: the program takes the option, whichever side of the command it stands on
        if (process.argv.includes('--debug')) console.error(e);
        console.log(`${name}\n\n${indented(`ERROR ${e.report()}`)}\n`);
      }
    }
  }
  for (const [name, f] of Object.entries(exports))
    if (typeof f === 'function' && !isDeclared(f))
      left.push(`${name}: it does not say what its arguments are; if it returns a fn or a module, '#${name}(...)' checks that`);
  if (reports.length + broken === 0)
    throw new FoveaError('FV0503', `${file} exports nothing that can be checked${left.map((l) => `\n    ${l}`).join('')}`, {
      hint: "Export a fn(['B D'], ...), a module, or a function with args: [spec(...)].",
    });
  if (left.length > 0) console.log(`Not checked:\n${left.map((l) => `  ${l}\n`).join('')}`);
  const count = (verdict: DeclaredReport['verdict']): number => reports.filter((r) => r.verdict === verdict).length;
  const counts = [`${count('pass')} pass`, `${count('fail')} fail`, `${count('undecided')} undecided`, `${broken} with an error`];
  console.log(`${counts.join(', ')}, ${left.length} not checked`);
  return [reports, broken > 0];
};

async function runGradcheck(target: string, options: GradcheckOptions): Promise<void> {
  const { seed, directions, dims, range: drawn, strict = false } = options;
  const at = target.indexOf('#');
  const file = resolve(at < 0 ? target : target.slice(0, at));
  const exports = await guarded(file, () => load(file));
  const check: Check = (name, f, own) => {
    // what it says of itself is wrong at its own place; an error of a derivative without a place says that there is none
    atExport(name, file, () => declared(f));
    return usersOwn(name, file, () => checkDeclared(f, { dims: own, order: options.order === 2 ? 2 : 1, seed, directions, range: drawn }));
  };
  if (at < 0) {
    const [reports, broken] = checkAll(exports, file, dims, check);
    process.exitCode = broken ? 1 : statusOf(reports, strict);
    return;
  }
  const name = target.slice(at + 1);
  const report = check(name, named(exports, name, file), dims);
  print(name, report);
  process.exitCode = statusOf([report], strict);
}
