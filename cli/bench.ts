/**
 * `fovea bench`: times a program or a kernel on a backend, beside the measured peaks of the machine and the error against float64. With
 * `--json` every case is one object on a line, to be set beside a peer's figures; the fields are in docs/benchmarks.md.
 *
 *   fovea bench forward --model vits14 --batch 8 --size 224 --json
 *   fovea bench gemm --shape 2056x1152x384 --layout NT --threads 1
 *   fovea bench step --model vits14 --batch 4 --profile
 */
import { Argument, Command } from 'commander';
import { reference } from '../backends/reference/index.ts';
import { FoveaError } from '../compiler/error.ts';
import type { FloatType } from '../compiler/graph/types.ts';
import type { Progress, Tune } from '../index.ts';
import { backendNames, backendOf } from './backends.ts';
import { measure } from './bench/measure.ts';
import { type Asked, casesOf } from './bench/options.ts';
import { peaks } from './bench/peaks.ts';
import { lineTable, notes, profileTable } from './bench/print.ts';
import { profile } from './bench/profile.ts';
import { serve } from './bench/serve.ts';
import { type Bench, benches, type Line } from './bench/types.ts';
import { emulateOption, tuneOption, whole } from './options.ts';
import { progressLine } from './progress.ts';

interface BenchOptions extends Omit<Asked, 'bench' | 'dtype'> {
  readonly dtype: FloatType;
  readonly threads?: number;
  readonly runs?: number;
  readonly tune: Tune;
  readonly backend: string;
  readonly emulate?: boolean;
  readonly check: boolean;
  readonly profile?: boolean;
  readonly serve?: boolean;
  readonly json?: boolean;
}

/** FV0503. */
const dtype = (text: string): FloatType => {
  if (text === 'f32' || text === 'bf16' || text === 'f16') return text;
  throw new FoveaError('FV0503', `--dtype ${text || "''"}: expected f32, bf16 or f16`, { hint: 'For example: --dtype bf16.' });
};

export const benchCommand = (): Command =>
  new Command('bench')
    .description('time programs and kernels beside the measured peaks of this machine')
    .addArgument(new Argument('<what>', 'what is timed').choices(benches))
    .option('--model <name>', 'the model whose sizes count: vits14 unless given; demo for the step of the demo')
    .option('--batch <n>', 'images: 8 unless given, 4 for step, 32 for that of the demo', whole('--batch', 1))
    .option('--size <pixels>', 'of an image, 224 or 224x448; for step of global and local crops, 224+98')
    .option('--shape <sizes>', 'gemm MxNxK, attention IMAGESxHEADSxTOKENSxWIDTH, map and reduce ROWSxWIDTH')
    .option('--layout <name>', 'gemm: NT (x W^T), NN (dy W) or TN (dy^T x)')
    .option('--backward', 'attention: the gradients')
    .option('--dtype <name>', 'operands of contractions: f32, bf16 or f16', dtype, 'f32')
    .option('--threads <n>', 'threads of the cpu backend: all processors unless given', whole('--threads', 1))
    .option('--runs <n>', 'runs that are timed: 5 unless given, 20 for kernels', whole('--runs', 1))
    .option('--backend <name>', `where to run: ${backendNames.join(' or ')}`, 'cpu')
    .addOption(emulateOption())
    .addOption(tuneOption())
    .option('--no-check', 'do not compare with float64')
    .option('--profile', 'every kernel with its time, arithmetic and bytes')
    .option('--serve', 'answer each number on standard input by the times of as many runs')
    .option('--json', 'one JSON object a line')
    .option('--debug', 'print the stack of an error')
    .action(runBench);

async function runBench(bench: Bench, options: BenchOptions): Promise<void> {
  const { model, batch, size, shape, layout, backward, dtype, threads, json } = options;
  const asked = Object.fromEntries(Object.entries({ model, batch, size, shape, layout, backward }).filter(([, v]) => v !== undefined));
  const cases = casesOf({ bench, dtype, ...asked });
  const backend = await backendOf(options.backend, { ...(threads === undefined ? {} : { threads }), emulate: options.emulate === true });
  const { tune } = options;
  const runs = options.runs ?? (bench === 'forward' || bench === 'step' ? 5 : 20);
  if (options.serve) {
    const [only, ...others] = cases;
    if (!only || others.length > 0)
      throw new FoveaError('FV0503', `--serve: one program, and ${bench} has ${cases.length} here`, { hint: 'Give its --shape.' });
    return serve(only, backend, dtype, { tune });
  }
  const roof = peaks(backend);
  const line = progressLine(process.stderr);
  const lines: Line[] = [];
  for (const [i, c] of cases.entries()) {
    const name = `case ${i + 1} of ${cases.length}: ${c.name} ${c.shape}`;
    line.show(name);
    const progress: Progress = (done, total, stage) => {
      if (stage === 'measured') line.show(`${name}: schedules of ${done} of ${total} kernels measured`);
    };
    if (options.profile) {
      const found = await profile(c, { backend, dtype, tune, progress, peaks: roof, runs });
      line.clear();
      if (!found)
        throw new FoveaError('FV0503', `--profile: the backend ${backend.name} has no kernels`, { hint: 'It goes with --backend cpu.' });
      if (json) for (const k of found.kernels) console.log(JSON.stringify({ bench, case: c.name, shape: c.shape, ...k }));
      else console.log(`${c.name} ${c.shape}: ${profileTable(found)}\n`);
      continue;
    }
    const measured = await measure(c, {
      bench,
      dtype,
      tune,
      progress,
      backend,
      peaks: roof,
      threads: backend.kind === 'graph' ? 1 : backend.device === undefined ? backend.target.workers : undefined,
      runs,
      reference: options.check ? reference : undefined,
    });
    lines.push(measured);
    line.clear();
    if (json) console.log(JSON.stringify(measured));
  }
  if (!json && lines.length > 0) console.log(`${lineTable(lines)}\n${notes(lines)}`);
}
