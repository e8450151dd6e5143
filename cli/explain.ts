/**
 * `fovea explain FILE#export`: what becomes of a function, from the line that says it to the text that runs.
 *
 *   fovea explain examples/quickstart.ts#step                      the program at a glance: lines, launches, why each ends, memory
 *   fovea explain vit.ts#block --dims B=8,N=256 --at 42            all that line 42 became
 *   fovea explain vit.ts#block --stage source --backend webgpu     the kernels as WGSL
 *   fovea explain vit.ts#block --measure --html block.html         one page to look at, with measured times
 */
import { type Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { backendNames } from './backends.ts';
import { factsOf } from './explain/facts.ts';
import { page } from './explain/page.ts';
import { planBackend, shownBackend } from './explain/paper.ts';
import { type At, atOption, type Stage, stages, stageText } from './explain/text.ts';
import { emulateOption, path } from './options.ts';
import { type ProgramOptions, programCommand, userProgram, written } from './program.ts';

interface ExplainOptions extends ProgramOptions {
  readonly backend: string;
  readonly emulate?: boolean;
  readonly stage?: Stage;
  readonly at?: At;
  readonly measure?: true;
  readonly html?: string;
}

export const explainCommand = (): Command =>
  programCommand('explain', 'what the compiler makes of a function: lines, launches, why each ends, time, memory')
    .option('--backend <name>', `one of ${backendNames.join(', ')}`, 'cpu')
    .addOption(emulateOption())
    .addOption(new Option('--stage <stage>', 'print one stage of the compiler in full').choices(stages))
    .option('--at <line>', 'only what comes from this line: 12, or layers.ts:12', atOption)
    .option('--measure', 'run it, and show measured times and peaks')
    .option('--html <file>', 'write one page to look at in a browser', path('--html'))
    .action(runExplain);

async function runExplain(target: string, options: ExplainOptions): Promise<void> {
  const { backend: name, emulate = false, dims, stage, at, measure, html, precision } = options;
  if (html !== undefined && (stage !== undefined || at !== undefined))
    throw new FoveaError('FV0503', `--html has every stage and line on its page: ${stage ? '--stage' : '--at'} says nothing to it`, {
      hint: 'Leave it out, or leave out --html to have the text.',
    });
  const program = await userProgram(target, { dims });
  const running = measure ? await planBackend(name, emulate) : undefined;
  const facts = await factsOf(program, running ?? (await shownBackend(name, emulate)), {
    precision,
    ...(running ? { measure: running } : {}),
  });
  if (html === undefined) return console.log(stageText(facts, stage, at));
  written(html, page(facts));
  console.log(`written: ${html}`);
}
