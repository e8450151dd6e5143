/** The options that say how a step lies on ranks, of every command that has ranks, and the plan that they mean. */
import { type Command, Option } from 'commander';
import type { FloatType } from '../compiler/graph/types.ts';
import { reduceTypes, type ShardPlan, type Strategy, strategies } from '../index.ts';
import { reduceBy } from '../models/dinov2/ranks.ts';
import { whole } from './options.ts';

export interface ShardFlags {
  readonly group?: number;
  readonly strategy: Strategy;
  readonly reduce: FloatType;
  readonly prefetch: number;
  /** MiB. */
  readonly gathered?: number;
}

export const shardOptions = (command: Command, strategy: Strategy = 'SHARD_GRAD_OP'): Command =>
  command
    .option('--group <n>', 'ranks that share one copy of the parameters (default: all)', whole('--group', 1))
    .addOption(new Option('--strategy <how>', 'what is split over ranks, and when it is gathered').choices(strategies).default(strategy))
    .addOption(new Option('--reduce <type>', 'how gradients travel; those of heads always as f32').choices(reduceTypes).default('f32'))
    .option('--prefetch <n>', 'units that are gathered ahead of the one that computes', whole('--prefetch', 0), 1)
    .option(
      '--gathered <MiB>',
      'most parameters gathered at one time; fewer units are gathered ahead where they would not fit (default: no limit)',
      whole('--gathered', 1),
    );

/** All of a plan but where inputs lie. */
export const shardPlan = ({ group, strategy, reduce, prefetch, gathered }: ShardFlags): ShardPlan => ({
  strategy,
  reduce: reduceBy(reduce),
  prefetch,
  ...(group === undefined ? {} : { group }),
  ...(gathered === undefined ? {} : { gatheredBytes: gathered * 2 ** 20 }),
});

/** The plan as ranks compare it, and as it is told. */
export const shardText = ({ group, strategy, reduce, prefetch, gathered }: ShardFlags, ranks: number): string =>
  [
    `${strategy} in groups of ${group ?? ranks}`,
    `gradients as ${reduce}`,
    `${prefetch} gathered ahead`,
    ...(gathered === undefined ? [] : [`at most ${gathered} MiB gathered`]),
  ].join(', ');
