/**
 * `fovea shard`: what a training step of DINOv2 costs on ranks, before there are any. The step is traced, placed on the ranks, compiled and planned as
 * for a run; bytes are counted in the plan, seconds follow from the rates of a machine that is given.
 *
 *   fovea shard --arch vit_giant2 --ranks 1,8,64 --strategy FULL_SHARD
 *   fovea shard --arch vit_small --ranks 8 --timeline step.svg
 */
import { Command, Option } from 'commander';
import { cpu, cpuTarget } from '../backends/cpu/index.ts';
import { ringBytes } from '../compiler/collectives.ts';
import { compileGraph } from '../compiler/compile.ts';
import { FoveaError } from '../compiler/error.ts';
import { bytesOf } from '../compiler/graph/types.ts';
import { type StepCost, stepCost } from '../compiler/plan/cost.ts';
import { svgBegins, timelineSvg, timelineText } from '../compiler/plan/timeline.ts';
import { checkMesh } from '../compiler/shard/placement.ts';
import { type Executable, trace } from '../index.ts';
import { batchPlacement } from '../models/dinov2/ranks.ts';
import { batchSpec, hyperSpec, stateSpec, trainStep } from '../models/dinov2.ts';
import { stepPrecision } from '../models/precision.ts';
import { geometry } from '../models/recipes/geometry.ts';
import { type Recipe, recipes } from '../models/recipes.ts';
import { architectures } from '../models/vit/presets.ts';
import { path, positive, whole } from './options.ts';
import { ownFile, writable, written } from './program.ts';
import { type ShardFlags, shardOptions, shardPlan } from './sharding.ts';

interface ShardOptions extends ShardFlags {
  readonly arch: keyof typeof architectures;
  readonly ranks: readonly number[];
  readonly batch: number;
  readonly dropPath?: number;
  readonly tflops: number;
  readonly memory: number;
  readonly link: number;
  readonly latency: number;
  readonly timeline?: string;
}

/** From 0 to less than 1. FV0503. */
const rate = (text: string): number => {
  const x = text.trim() === '' ? Number.NaN : Number(text);
  if (x >= 0 && x < 1) return x;
  throw new FoveaError('FV0503', `--drop-path ${text || "''"}: expected a number from 0 to less than 1`, {
    hint: 'For example: --drop-path 0.4.',
  });
};

/** `1,8,64` */
const counts = (text: string): readonly number[] => text.split(',').map(whole('--ranks', 1));

/** DINOv2's ViT-g recipe with the backbone of an architecture, or another share of branches that stochastic depth leaves out. */
const recipeOf = ({ arch, batch, dropPath: rate = recipes.vitg14.dropPath.rate }: ShardOptions, ranks: number): Recipe => ({
  ...recipes.vitg14,
  name: arch,
  model: { ...recipes.vitg14.model, ...architectures[arch] },
  shards: ranks,
  batch: batch * ranks,
  dropPath: { ...recipes.vitg14.dropPath, rate },
});

/** Elements of a network's parameters in its backbone and in its heads. */
interface Elements {
  readonly backbone: number;
  readonly heads: number;
}

/**
 * Bytes that a rank must send for the parameters alone: its part of each gather, as bf16, and of each scatter of gradients, those of heads as float32.
 */
const least = (n: Elements, o: Pick<ShardOptions, 'strategy' | 'reduce'>, group: number, ranks: number): number => {
  const all = n.backbone + n.heads;
  const gradients = bytesOf[o.reduce] * n.backbone + 4 * n.heads;
  if (o.strategy === 'NO_SHARD') return ringBytes('all-reduce', ranks, gradients);
  // the student's, once or for each phase, and the teacher's
  const gathers = (o.strategy === 'FULL_SHARD' ? 3 : 2) * 2 * all;
  return (
    ringBytes('all-gather', group, gathers / group) +
    ringBytes('reduce-scatter', group, gradients) +
    ringBytes('all-reduce', ranks / group, gradients / group)
  );
};

/** A group is at most all ranks, so one option can go with a list of numbers. */
const groupOf = ({ group }: ShardOptions, ranks: number): number => Math.min(group ?? ranks, ranks);

interface Row {
  readonly ranks: number;
  readonly cost: StepCost;
  readonly least: number;
}

const rowOf = async (o: ShardOptions, ranks: number): Promise<Row> => {
  const r = recipeOf(o, ranks);
  const { sizes } = geometry(r);
  const traced = trace(trainStep(r), [stateSpec(r), batchSpec(r), hyperSpec()], { dims: sizes });
  // the new state is written over the old one
  const donated = traced.outputs.map(({ path: p }) =>
    traced.inputs.findIndex((i) => p.startsWith('state.') && i.path === `0.${p.slice(6)}`),
  );
  const backend = {
    kind: 'plan',
    name: 'paper',
    target: cpuTarget(1),
    plans: cpu({ threads: 1 }).plans,
    prepare: (): Promise<Executable> => Promise.resolve({ inputs: [], outputs: [], aliases: [] } as unknown as Executable),
  } as const;
  const group = groupOf(o, ranks);
  const plan = {
    ...shardPlan({ ...o, group }),
    place: (p: string) => (p.startsWith('1.') ? batchPlacement(r, p.slice(2)) : undefined),
  };
  const { report } = await compileGraph(traced.graph, {
    backend,
    dims: new Map(Object.entries(sizes)),
    donated,
    precision: stepPrecision('bf16'),
    shards: { ranks, plan },
  });
  if (!report.plan) throw new Error('internal: the step has no plan');
  const machine = { flops: o.tflops * 1e12, memory: o.memory * 1e9, link: o.link * 1e9, latency: o.latency * 1e-6 };
  const elements = (path: RegExp): number =>
    traced.inputs
      .filter((i) => path.test(i.path))
      .reduce((n, i) => n + i.shape.reduce<number>((m, d) => m * (typeof d === 'number' ? d : 1), 1), 0);
  const parameters = { backbone: elements(/^0\.student\.backbone\./), heads: elements(/^0\.student\..*_head\./) };
  return {
    ranks,
    cost: stepCost(report.plan, { world: ranks, shard: group, replica: ranks / group }, machine),
    least: least(parameters, o, group, ranks),
  };
};

const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(2);
const columns = ['ranks', 'GiB held', 'GiB sent', 'at least', 'transfers', 'compute ms', 'transfer ms', 'stalled ms', 'hidden'];
const cells = ({ ranks, cost, least: min }: Row): readonly string[] => {
  const { compute, transfer, stalled } = cost.seconds;
  const sent = Object.values(cost.sent).reduce((a, b) => a + b, 0);
  const hidden = transfer === 0 ? '-' : `${(100 * (1 - stalled / transfer)).toFixed(0)} %`;
  return [
    `${ranks}`,
    gib(cost.peak),
    gib(sent),
    gib(min),
    `${cost.transfers}`,
    ...[compute, transfer, stalled].map((s) => (s * 1e3).toFixed(0)),
    hidden,
  ];
};
const line = (row: readonly string[]): string => row.map((c, i) => c.padStart((columns[i] ?? '').length)).join('  ');

async function run(o: ShardOptions): Promise<void> {
  if (o.timeline !== undefined && o.ranks.length > 1)
    throw new FoveaError('FV0503', '--timeline: one picture shows one number of ranks', { hint: 'Give one number: --ranks 8.' });
  for (const ranks of o.ranks) checkMesh({ ranks, shard: groupOf(o, ranks) });
  if (o.timeline !== undefined) {
    ownFile('--timeline', o.timeline, svgBegins);
    writable(o.timeline);
  }
  const sizes = o.ranks.map((ranks) => groupOf(o, ranks));
  const largest = Math.max(...sizes);
  const group = o.group === undefined ? '' : `, groups of ${sizes.every((n) => n === largest) ? '' : 'at most '}${largest}`;
  const gathered = o.gathered === undefined ? '' : `, at most ${o.gathered} MiB gathered`;
  const ahead = o.prefetch === 1 ? '' : `, ${o.prefetch} gathered ahead`;
  console.log(
    `${o.arch}, ${o.batch} images a rank, ${o.strategy}${group}, bf16${o.reduce === 'f32' ? '' : ` (gradients ${o.reduce})`}${ahead}${gathered}; ${o.tflops} TFLOP/s, memory ${o.memory} GB/s, link ${o.link} GB/s, ${o.latency} us a transfer`,
  );
  console.log(line(columns));
  for (const ranks of o.ranks) {
    const row = await rowOf(o, ranks);
    console.log(line(cells(row)));
    if (o.timeline === undefined) continue;
    console.log(`\n${timelineText(row.cost)}`);
    written(o.timeline, timelineSvg(row.cost, `${o.arch} on ${ranks} ranks, ${o.strategy}`));
  }
}

export const shardCommand = (): Command => {
  const command = new Command('shard')
    .description('what a training step costs on many ranks: bytes held, bytes sent, and how much of the sending hides')
    .addOption(new Option('--arch <name>', 'the backbone').choices(Object.keys(architectures)).default('vit_giant2'))
    .option('--ranks <list>', 'numbers of ranks', counts, [1, 8, 64])
    .option('--batch <n>', 'images of each rank', whole('--batch', 2), 12)
    .option('--drop-path <rate>', "share of branches that stochastic depth leaves out (default: the recipe's)", rate)
    .option('--tflops <n>', 'arithmetic of a rank, in 10^12 operations a second', positive('--tflops'), 400)
    .option('--memory <n>', 'bandwidth of its memory, in GB a second', positive('--memory'), 3000)
    .option('--link <n>', 'bandwidth between ranks, in GB a second', positive('--link'), 50)
    .option('--latency <n>', 'microseconds that a transfer takes at least', whole('--latency', 0), 20)
    .option('--timeline <file>', 'a picture of the schedule as SVG, and one as text below the table', path('--timeline'));
  return shardOptions(command, 'FULL_SHARD').option('--debug', 'print the stack of an error').action(run);
};
