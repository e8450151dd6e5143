/**
 * `fovea fuzz`: the compiler's laws on generated programs. The first program that breaks one is shrunk and printed as IR with its
 * arguments and the commands that repeat it; exit status 1. Kernels are compiled into a folder that goes when the command ends.
 *
 *   fovea fuzz --programs 10000 --seed 1
 *   fovea fuzz --programs 1 --seed 417 --law vmap
 *   fovea fuzz --backend cuda --emulate --dtype bf16    contractions of bf16, as matrix units take them
 *   fovea fuzz --program found.txt --law vmap           a program that was printed, kept in a file
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { cpu, cpuTarget } from '../backends/cpu/index.ts';
import { cuda } from '../backends/cuda/index.ts';
import { FoveaError } from '../compiler/error.ts';
import type { FloatType } from '../compiler/graph/types.ts';
import {
  type Failure,
  type FuzzReport,
  fuzz,
  type Law,
  laws,
  type Program,
  parseProgram,
  printProgram,
  tryProgram,
  type Variants,
} from '../testing/index.ts';
import { backendNames, backendOf } from './backends.ts';
import { fuzzInJobs, parent } from './fuzz-jobs.ts';
import { interruptible } from './interrupt.ts';
import { emulateOption, path, whole } from './options.ts';
import { progressLine, seconds } from './progress.ts';

interface FuzzCommandOptions {
  readonly programs: number;
  readonly program?: string;
  readonly seed: number;
  readonly backend: string;
  readonly emulate?: boolean;
  readonly dtype: FloatType;
  readonly law?: string;
  readonly jobs?: number;
  readonly seconds: number;
}

/** Programs that are worth a process of their own, which takes seconds to start. */
const enough = 250;

/** NaN whose payload no program makes. */
const poison = 0x7fc0dead;
/** Kernels in one translation unit: two or three units a batch, as many as there are cores. */
const unit = 32;

/**
 * The backend as laws compare it. Of the emulator, orders of threads take the place of numbers of them. A backend that has neither threads nor an
 * arena to choose is compared with itself.
 */
const variantsOf = async (name: string, emulate = false): Promise<Variants> => {
  if (name === 'cuda') {
    const made = { emulate, unit: emulate ? unit : 4, plans: false };
    const plain = await cuda(made);
    return {
      plain,
      threads: emulate ? await cuda({ ...made, device: 2 }) : plain,
      poisoned: await cuda({ ...made, poison, device: emulate ? 1 : 0 }),
    };
  }
  const backend = await backendOf(name, { emulate });
  if (backend.name !== 'cpu') return { plain: backend, threads: backend, poisoned: backend };
  // a plan that is taken from the cache would hide what the compiler does
  const made = { unit, plans: false };
  const two = { threads: 2, shareAll: true, ...made };
  return { plain: cpu({ threads: 1, ...made }), threads: cpu(two), poisoned: cpu({ ...two, poison }) };
};

/** What the command works with; tests put a law that is broken, or a backend that is, in its place. */
interface Given {
  readonly laws: readonly Law[];
  variantsOf(backend: string, emulate?: boolean): Promise<Variants>;
}

const standard: Given = { laws, variantsOf };

export const fuzzCommand = (given: Given = standard): Command =>
  new Command('fuzz')
    .description("check the compiler's laws on generated programs")
    .option('--programs <n>', 'how many programs', whole('--programs', 1), 1000)
    .addOption(
      new Option('--program <file>', 'only the program in this file, as it was printed').argParser(path('--program')).conflicts('programs'),
    )
    .option('--seed <n>', 'of the first program; the next has the next seed', whole('--seed', 0), 1)
    .option('--backend <name>', `where to run: ${backendNames.join(' or ')}`, 'cpu')
    .addOption(emulateOption())
    .addOption(
      new Option('--dtype <name>', 'operands of contractions where programs run on the backend')
        .choices(['f32', 'bf16', 'f16'])
        .default('f32'),
    )
    .option('--law <name>', `only this law: ${given.laws.map((l) => l.name).join(', ')}`)
    .option('--jobs <n>', 'processes that share the programs (default: as many as there are processors)', whole('--jobs', 1))
    .option('--seconds <n>', 'that a job may spend on one law and program, or on a batch that compiles', whole('--seconds', 1), 300)
    .option('--debug', 'print the stack of an error')
    .action((options: FuzzCommandOptions) => runFuzz(options, given));

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** A failure as text: what is wrong, the program, how to see it again. */
const told = (f: Failure, { backend, emulate, dtype, program: file }: FuzzCommandOptions, known: readonly Law[]): string => {
  const [programs, seed] = f.beside ? [f.beside.programs, f.beside.seed] : [1, f.seed];
  const rest = `--backend ${backend}${emulate ? ' --emulate' : ''}${dtype === 'f32' ? '' : ` --dtype ${dtype}`}${known.some((l) => l.name === f.law) ? ` --law '${f.law}'` : ''}`;
  const drawn = f.beside ? ', beside others' : f.program ? ', shrunk' : '';
  const of = file === undefined ? `${f.program ? 'for the program of' : 'for'} seed ${f.seed}${drawn}` : `for the program in ${file}`;
  return [
    `\nlaw '${f.law}' does not hold ${of}:`,
    `  ${f.why}\n`,
    ...(f.program && file === undefined ? [printProgram(f.program)] : []),
    `Repeat with: fovea fuzz ${file === undefined ? `--programs ${programs} --seed ${seed}` : `--program ${file} --seed ${seed}`} ${rest}`,
    ...(f.program && file === undefined
      ? [`         or: fovea fuzz --program FILE --seed ${f.seed} ${rest}, where FILE has the program above`]
      : []),
  ].join('\n');
};

/** FV0402: no such file. FV0102, FV0101: no program. */
const programIn = (file: string): Program => {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (e) {
    throw new FoveaError('FV0402', `cannot read the program ${file}: ${e instanceof Error ? e.message : String(e)}`, {
      hint: 'Give a file with a program as fovea fuzz prints it.',
      cause: e,
    });
  }
  return parseProgram(text);
};

async function runFuzz(options: FuzzCommandOptions, given: Given): Promise<void> {
  const chosen = options.law === undefined ? given.laws : given.laws.filter((l) => l.name === options.law);
  if (chosen.length === 0)
    throw new FoveaError('FV0503', `--law ${options.law}: no such law`, {
      hint: `There are: ${given.laws.map((l) => l.name).join(', ')}.`,
    });
  const program = options.program === undefined ? undefined : programIn(options.program);
  // one that is asked for is held to every program, however dear
  const due = options.law === undefined ? chosen : chosen.map((l): Law => ({ ...l, every: 1 }));
  const held = program ? due.filter((l) => !l.seedOnly) : due;
  if (held.length === 0)
    throw new FoveaError('FV0503', `--law ${options.law}: it looks at a seed, and at no program`, {
      hint: 'Give --seed without --program.',
    });
  const cache = mkdtempSync(join(tmpdir(), 'fovea-fuzz-'));
  const clean = (): void => rmSync(cache, { recursive: true, force: true });
  const interrupt = interruptible(clean);
  process.env['FOVEA_CACHE'] = cache;
  const started = performance.now();
  const took = (): number => (performance.now() - started) / 1000;
  const line = progressLine();
  const above = parent();
  const stop = interrupt.allow(() => {
    if (!above) console.error('\nstopping after this batch; once more to stop at once');
  });
  let kept = 0;
  try {
    const common = {
      seed: options.seed,
      variants: { ...(await given.variantsOf(options.backend, options.emulate)), precision: options.dtype },
      target: cpuTarget(2),
      laws: held,
    };
    const progress = (done: number): void => {
      const left = (took() / done) * (options.programs - done);
      // where lines cannot be drawn over, one every tenth of the run
      const tenth = Math.floor((10 * done) / options.programs);
      line.show(`${done} of ${options.programs} programs, ${(done / took()).toFixed(1)} a second, ${seconds(left)} left`, tenth > kept);
      kept = tenth;
    };
    const { programs, seed, backend, emulate, dtype, law } = options;
    const jobs = options.jobs ?? Math.min(availableParallelism(), Math.ceil(programs / enough));
    // jobs know the laws and backends of the command alone
    const alone = program !== undefined || jobs === 1 || given !== standard;
    const args = ['--backend', backend, ...(emulate ? ['--emulate'] : []), '--dtype', dtype, ...(law ? ['--law', law] : [])];
    const report: FuzzReport = program
      ? await tryProgram(program, common)
      : alone
        ? await fuzz({ programs, signal: stop, progress: above?.done ?? progress, ...(above && { at: above.at }), ...common })
        : await fuzzInJobs({ programs, seed, jobs, args, progress, limit: options.seconds, signal: stop });
    if (above) return above.report(report);
    line.clear();
    for (const f of report.failures) console.log(told(f, options, given.laws));
    const rate = (report.programs / took()).toFixed(1);
    const what = options.program ?? `${count(report.programs, 'program')} from seed ${options.seed}`;
    const bad = new Set(report.failures.map((f) => f.law)).size;
    const verdict = bad === 0 ? (held.length === 1 ? 'it holds' : 'all hold') : `${count(bad, 'law')} broken`;
    console.log(
      `${what}, ${count(held.length, 'law')} on ${options.backend}: ${verdict} (${took().toFixed(1)} s, ${rate} programs a second)`,
    );
    for (const [noted, n] of report.notes) console.log(`  ${noted}: ${n}`);
    if (report.failures.length > 0) process.exitCode = 1;
    else process.exitCode = interrupt.status();
  } finally {
    interrupt.release();
    clean();
  }
}
