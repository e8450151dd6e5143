/**
 * `fovea explain FILE#export`: what becomes of a function, from the line that says it to the text that runs.
 *
 *   fovea explain examples/quickstart.ts#step                      the program at a glance: lines, launches, why each ends, memory
 *   fovea explain vit.ts#block --dims B=8,N=256 --at 42            all that line 42 became
 *   fovea explain vit.ts#block --stage source --backend webgpu     the kernels as WGSL
 *   fovea explain vit.ts#block --measure --html block.html         one page to look at, with measured times
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { cannotWrite } from '../models/weights/index.ts';
import { backendNames, backendOf } from './backends.ts';
import { factsOf, type PlanBackend } from './explain/facts.ts';
import { page } from './explain/page.ts';
import { type At, atOption, type Stage, stages, stageText } from './explain/text.ts';
import { path, sizesOption } from './options.ts';
import { userProgram } from './program.ts';

interface ExplainOptions {
  readonly backend: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly stage?: Stage;
  readonly at?: At;
  readonly measure?: true;
  readonly html?: string;
  readonly precision: 'f32' | 'bf16' | 'f16';
}

export const explainCommand = (): Command =>
  new Command('explain')
    .description('what the compiler makes of a function: lines, launches, why each ends, time, memory')
    .argument('<file[#export]>', "a module of yours; '#name' for one export, '#name(1, 2)' for what it returns")
    .option('--backend <name>', `one of ${backendNames.join(', ')}`, 'cpu')
    .option('--dims <sizes>', 'sizes by name, as in B=8,N=256', sizesOption('--dims'), {})
    .addOption(new Option('--precision <type>', 'operands of contractions').choices(['f32', 'bf16', 'f16']).default('f32'))
    .addOption(new Option('--stage <stage>', 'print one stage of the compiler in full').choices(stages))
    .option('--at <line>', 'only what comes from this line: 12, or layers.ts:12', atOption)
    .option('--measure', 'run it, and show measured times and peaks')
    .option('--html <file>', 'write one page to look at in a browser', path('--html'))
    .option('--debug', 'print the stack of an error')
    .action(runExplain);

/** FV0503: a backend that interprets the graph makes no kernels to look at. */
export const planBackend = async (name: string): Promise<PlanBackend> => {
  const backend = await backendOf(name);
  if (backend.kind === 'plan') return backend;
  throw new FoveaError('FV0503', `--backend ${name}: it interprets the graph and makes no kernels`, { hint: 'Take --backend cpu.' });
};

async function runExplain(target: string, { backend: name, dims, stage, at, measure, html, precision }: ExplainOptions): Promise<void> {
  const program = await userProgram(target, { dims });
  const facts = await factsOf(program, await planBackend(name), { precision, ...(measure ? { measure } : {}) });
  if (html === undefined) return console.log(stageText(facts, stage, at));
  const file = resolve(html);
  try {
    writeFileSync(file, page(facts));
  } catch (e) {
    throw cannotWrite(file, e);
  }
  console.log(`written: ${html}`);
}
