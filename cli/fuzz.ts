/**
 * `fovea fuzz`: the compiler's laws on generated programs. The first program that breaks one is shrunk and printed as IR with its
 * arguments and the command that repeats it; exit status 1. Kernels are compiled into a folder that goes when the command ends.
 *
 *   fovea fuzz --programs 10000 --seed 1
 *   fovea fuzz --programs 1 --seed 417 --law vmap
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { cpu, cpuTarget } from '../backends/cpu/index.ts';
import { FoveaError } from '../compiler/error.ts';
import { type Failure, fuzz, laws, printProgram, type Variants } from '../testing/index.ts';
import { backendNames, backendOf } from './backends.ts';
import { interruptible } from './interrupt.ts';
import { whole } from './options.ts';
import { progressLine, seconds } from './progress.ts';

interface FuzzCommandOptions {
  readonly programs: number;
  readonly seed: number;
  readonly backend: string;
  readonly law?: string;
}

export const fuzzCommand = (): Command =>
  new Command('fuzz')
    .description("check the compiler's laws on generated programs")
    .option('--programs <n>', 'how many programs', whole('--programs', 1), 1000)
    .option('--seed <n>', 'of the first program; the next has the next seed', whole('--seed', 0), 1)
    .option('--backend <name>', `where to run: ${backendNames.join(' or ')}`, 'cpu')
    .option('--law <name>', `only this law: ${laws.map((l) => l.name).join(', ')}`)
    .option('--debug', 'print the stack of an error')
    .action(runFuzz);

/** NaN whose payload no program makes. */
const poison = 0x7fc0dead;
/** Kernels in one translation unit: two or three units a batch, as many as there are cores. */
const unit = 32;

/** The backend as laws compare it. A backend that runs graphs has neither threads nor an arena: it is compared with itself. */
const variantsOf = async (name: string): Promise<Variants> => {
  const backend = await backendOf(name);
  if (backend.name !== 'cpu') return { plain: backend, threads: backend, poisoned: backend };
  const two = { threads: 2, unit, shareAll: true };
  return { plain: cpu({ threads: 1, unit }), threads: cpu(two), poisoned: cpu({ ...two, poison }) };
};

const told = (f: Failure, backend: string): string => {
  const [programs, seed] = f.beside ? [f.beside.programs, f.beside.seed] : [1, f.seed];
  const known = laws.some((l) => l.name === f.law);
  return [
    `\nlaw '${f.law}' does not hold for the program of seed ${f.seed}${f.beside ? ', beside others' : ', shrunk'}:`,
    `  ${f.why}\n`,
    printProgram(f.program),
    `Repeat with: fovea fuzz --programs ${programs} --seed ${seed} --backend ${backend}${known ? ` --law '${f.law}'` : ''}`,
  ].join('\n');
};

async function runFuzz(options: FuzzCommandOptions): Promise<void> {
  const chosen = options.law === undefined ? laws : laws.filter((l) => l.name === options.law);
  if (chosen.length === 0)
    throw new FoveaError('FV0503', `--law ${options.law}: no such law`, { hint: `There are: ${laws.map((l) => l.name).join(', ')}.` });
  const cache = mkdtempSync(join(tmpdir(), 'fovea-fuzz-'));
  const clean = (): void => rmSync(cache, { recursive: true, force: true });
  const interrupt = interruptible(clean);
  process.env['FOVEA_CACHE'] = cache;
  const started = performance.now();
  const took = (): number => (performance.now() - started) / 1000;
  const line = progressLine();
  const stop = interrupt.allow(() => console.error('\nstopping after this batch; once more to stop at once'));
  let kept = 0;
  try {
    const report = await fuzz({
      programs: options.programs,
      seed: options.seed,
      variants: await variantsOf(options.backend),
      target: cpuTarget(2),
      laws: chosen,
      signal: stop,
      progress: (done) => {
        const left = (took() / done) * (options.programs - done);
        // where lines cannot be drawn over, one every tenth of the run
        const tenth = Math.floor((10 * done) / options.programs);
        line.show(`${done} of ${options.programs} programs, ${(done / took()).toFixed(1)} a second, ${seconds(left)} left`, tenth > kept);
        kept = tenth;
      },
    });
    line.clear();
    for (const f of report.failures) console.log(told(f, options.backend));
    const rate = (report.programs / took()).toFixed(1);
    console.log(
      `${report.programs} programs from seed ${options.seed}, ${chosen.length} laws on ${options.backend}: ${report.failures.length === 0 ? 'all hold' : 'one does not hold'} (${took().toFixed(1)} s, ${rate} programs a second)`,
    );
    for (const [what, n] of report.notes) console.log(`  ${what}: ${n}`);
    if (report.failures.length > 0) process.exitCode = 1;
    else process.exitCode = interrupt.status();
  } finally {
    interrupt.release();
    clean();
  }
}
