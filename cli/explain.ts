/**
 * `fovea explain FILE#export`: what becomes of a function, from the line that says it to the text that runs.
 *
 *   fovea explain examples/vit.ts#step                             the program at a glance: lines, launches, why each ends, memory
 *   fovea explain vit.ts#block --dims B=8,N=256 --at 42            all that line 42 became
 *   fovea explain vit.ts#block --stage source --backend webgpu     the kernels as WGSL
 *   fovea explain dinov2.ts#step --ranks 8 --timeline step.svg     the program of a rank, its transfers, and a picture of when they travel
 *   fovea explain vit.ts#block --measure --html block.html         one page to look at, with measured times
 */
import { type Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { svgBegins } from '../compiler/plan/timeline.ts';
import { backendNames } from './backends.ts';
import { type FactOptions, factsOf } from './explain/facts.ts';
import { page, pageBegins } from './explain/page.ts';
import { planBackend, shownBackend } from './explain/paper.ts';
import { picture } from './explain/ranks.ts';
import { type At, atOption, type Stage, stages, stageText } from './explain/text.ts';
import { warnOfImpure } from './impure.ts';
import { emulateOption, path, positive, whole } from './options.ts';
import { ownFile, type ProgramOptions, programCommand, type UserProgram, userProgram, written } from './program.ts';
import { type ShardFlags, shardOptions, shardPlan, shardText } from './sharding.ts';

interface ExplainOptions extends ProgramOptions, ShardFlags {
  readonly backend: string;
  readonly emulate?: boolean;
  readonly stage?: Stage;
  readonly at?: At;
  readonly measure?: true;
  readonly html?: string;
  readonly ranks?: number;
  readonly split?: readonly number[];
  readonly link: number;
  readonly latency: number;
  readonly timeline?: string;
}

/** `1,2` */
const positions = (text: string): readonly number[] => text.split(',').map(whole('--split', 0));

export const explainCommand = (): Command => {
  const command = programCommand('explain', 'what the compiler makes of a function: lines, launches, why each ends, time, memory')
    .option('--backend <name>', `one of ${backendNames.join(', ')}`, 'cpu')
    .addOption(emulateOption())
    .addOption(new Option('--stage <stage>', 'print one stage of the compiler in full').choices(stages))
    .option('--at <line>', 'only what comes from this line: 12, or layers.ts:12', atOption)
    .option('--measure', 'run it, and show measured times and peaks')
    .option('--html <file>', 'write one page to look at in a browser', path('--html'))
    .option('--ranks <n>', 'explain the program of one of n ranks, and draw its timeline', whole('--ranks', 1))
    .option('--split <arguments>', "arguments that are batches, as in 1,2 (default: what the function's place says)", positions)
    .option('--link <n>', 'bandwidth between ranks, in GB a second', positive('--link'), 10)
    .option('--latency <n>', 'microseconds that a transfer takes at least', whole('--latency', 0), 20)
    .option('--timeline <file>', 'the timeline as SVG', path('--timeline'));
  return shardOptions(command).action(runExplain);
};

/** What --ranks and the options with it mean for a program. FV0503: no such argument, nothing says what is a batch, options that do not go together. */
const shardsOf = (o: ExplainOptions, { declared }: UserProgram): FactOptions['shards'] => {
  if (o.ranks === undefined) {
    if (o.timeline === undefined && o.split === undefined) return undefined;
    throw new FoveaError('FV0503', '--timeline and --split: the program is that of one device', { hint: 'Say of how many: --ranks 8.' });
  }
  if (o.measure)
    throw new FoveaError('FV0503', '--measure: one rank alone waits for the others', { hint: 'Leave --measure or --ranks out.' });
  const { split } = o;
  const count = declared.args.length;
  const none = split?.find((n) => n >= count);
  if (none !== undefined)
    throw new FoveaError('FV0503', `--split ${none}: there is no argument ${none}`, {
      hint: `It has ${count} argument${count === 1 ? '' : 's'}, which count from 0.`,
    });
  const place = split ? (at: string) => (split.includes(Number(at.split('.')[0])) ? { split: 0 } : undefined) : declared.place;
  if (!place)
    throw new FoveaError('FV0503', '--ranks: nothing says which arguments are a batch, that ranks share', {
      hint: 'Give their numbers, as in --split 1,2 (the first is 0), or the function a property place.',
    });
  const plan = { ...shardPlan(o), place };
  return { ranks: o.ranks, plan, how: shardText(o, o.ranks), link: o.link * 1e9, latency: o.latency * 1e-6 };
};

async function runExplain(target: string, options: ExplainOptions): Promise<void> {
  const { backend: name, emulate = false, dims, stage, at, measure, html, precision, timeline } = options;
  if (html !== undefined && (stage !== undefined || at !== undefined))
    throw new FoveaError('FV0503', `--html has every stage and line on its page: ${stage ? '--stage' : '--at'} says nothing to it`, {
      hint: 'Leave it out, or leave out --html to have the text.',
    });
  if (html !== undefined) ownFile('--html', html, pageBegins);
  if (timeline !== undefined) ownFile('--timeline', timeline, svgBegins);
  const program = await userProgram(target, { dims });
  await warnOfImpure(program);
  const shards = shardsOf(options, program);
  const running = measure ? await planBackend(name, emulate) : undefined;
  const facts = await factsOf(program, running ?? (await shownBackend(name, emulate)), {
    precision,
    ...(running ? { measure: running } : {}),
    ...(shards ? { shards } : {}),
  });
  if (timeline !== undefined) {
    written(timeline, picture(facts));
    console.log(`written: ${timeline}`);
  }
  if (html === undefined) return console.log(stageText(facts, stage, at));
  written(html, page(facts));
  console.log(`written: ${html}`);
}
