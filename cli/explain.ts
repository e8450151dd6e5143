/**
 * `fovea explain FILE#export`: what becomes of a function, from the line that says it to the text that runs.
 *
 *   fovea explain examples/vit.ts#step                             the program at a glance: lines, launches, why each ends, memory
 *   fovea explain vit.ts#block --dims B=8,N=256 --at 42            all that line 42 became
 *   fovea explain vit.ts#block --stage source --backend webgpu     the kernels as WGSL
 *   fovea explain vit.ts#block --measure --html block.html         one page to look at, with measured times
 */
import { type Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { backendNames, backendOf } from './backends.ts';
import { factsOf, type PlanBackend } from './explain/facts.ts';
import { page } from './explain/page.ts';
import { type At, atOption, type Stage, stages, stageText } from './explain/text.ts';
import { path } from './options.ts';
import { type ProgramOptions, programCommand, userProgram, written } from './program.ts';

interface ExplainOptions extends ProgramOptions {
  readonly backend: string;
  readonly stage?: Stage;
  readonly at?: At;
  readonly measure?: true;
  readonly html?: string;
}

export const explainCommand = (): Command =>
  programCommand('explain', 'what the compiler makes of a function: lines, launches, why each ends, time, memory')
    .option('--backend <name>', `one of ${backendNames.join(', ')}`, 'cpu')
    .addOption(new Option('--stage <stage>', 'print one stage of the compiler in full').choices(stages))
    .option('--at <line>', 'only what comes from this line: 12, or layers.ts:12', atOption)
    .option('--measure', 'run it, and show measured times and peaks')
    .option('--html <file>', 'write one page to look at in a browser', path('--html'))
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
  written(html, page(facts));
  console.log(`written: ${html}`);
}
