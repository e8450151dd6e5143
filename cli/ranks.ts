/**
 * The ranks of a command: one process by itself, or what a launcher of MPI has started. Work that may fail is done by all ranks and then compared,
 * so that a failure of one is known to all before they go on, and is told once.
 */
import { availableParallelism } from 'node:os';
import { launchOf, mpiWorld, type World } from '../backends/collectives/mpi/index.ts';
import { FoveaError } from '../compiler/error.ts';
import type { Backend, Communicator, ShardPlan } from '../index.ts';
import { alone, type Peers } from '../models/checkpoint/index.ts';
import { carrierOf } from './backends.ts';
import { explained } from './report.ts';

export interface Job extends Peers {
  readonly world: World | undefined;
  /** Threads for each rank: ranks on one machine share its processors. */
  readonly threads: number | undefined;
  /** Does work on every rank. What fails on one rank fails on all, with the first rank's message. */
  together<T>(work: () => T | Promise<T>): Promise<T>;
}

/** A failure that all ranks know of: rank 0 tells it, and the job ends in order. */
export class Shared extends Error {}

/** This process's place among the ranks. FV0801 to FV0803. */
export const jobOf = async (): Promise<Job> => {
  const launch = launchOf();
  const world = launch && (await mpiWorld(launch));
  return jobOn(world?.communicator ?? alone, world);
};

export const jobOn = (peers: Peers, world?: World): Job => {
  const { rank, size } = peers;
  const exchange = (text: string) => peers.exchange(text);
  const together = async <T>(work: () => T | Promise<T>): Promise<T> => {
    if (size === 1) return work();
    let outcome: { readonly done: T } | { readonly cause: unknown };
    try {
      outcome = { done: await work() };
    } catch (cause) {
      outcome = { cause };
    }
    const told = 'cause' in outcome ? (explained(outcome.cause)?.report() ?? `internal error: ${String(outcome.cause)}`) : '';
    const all = await exchange(told);
    const failed = all.findIndex((text) => text !== '');
    if (failed >= 0) {
      const everywhere = all.every((text) => text === all[0]);
      throw new Shared(everywhere ? (all[0] as string) : `rank ${failed}: ${all[failed]}`);
    }
    return (outcome as { readonly done: T }).done;
  };
  return {
    rank,
    size,
    exchange,
    world,
    together,
    threads: world && world.neighbours > 1 ? Math.max(1, Math.floor(availableParallelism() / world.neighbours)) : undefined,
  };
};

/** FV0803: ranks differ in one of the facts, by their names. */
export const agree = async (job: Job, facts: Readonly<Record<string, string>>): Promise<void> => {
  const all = (await job.exchange(JSON.stringify(facts))).map((text) => JSON.parse(text) as Record<string, string>);
  await job.together(() => {
    for (const name of Object.keys(all[0] ?? {})) {
      const other = all.findIndex((f) => f[name] !== all[0]?.[name]);
      if (other < 0) continue;
      throw new FoveaError(
        'FV0803',
        `ranks were started differently: ${name} is ${all[0]?.[name]} on rank 0 and ${all[other]?.[name]} on rank ${other}`,
        {
          hint: 'Start all ranks by one command, from one installation, with the same files.',
        },
      );
    }
  });
};

/** Rank 0 compiles; ranks that share its cache find the kernels there. */
const inTurn = (backend: Backend & { readonly kind: 'plan' }, job: Job): Backend => ({
  ...backend,
  prepare: async (...args: Parameters<typeof backend.prepare>) => {
    if (job.rank === 0) {
      const first = await backend.prepare(...args);
      await job.exchange('');
      return first;
    }
    await job.exchange('');
    return backend.prepare(...args);
  },
});

/** What a run needs to know of the ranks, and the backend that it is to use. FV0305: a backend without ranks. */
export const onJob = async (
  job: Job,
  backend: Backend,
  plan: ShardPlan,
): Promise<{ readonly backend: Backend; readonly shards?: { readonly world: Communicator; readonly plan: ShardPlan } }> => {
  const { world } = job;
  if (!world) return { backend };
  if (backend.kind === 'graph')
    throw new FoveaError('FV0305', `the backend ${backend.name} has no ranks`, { hint: 'Use --backend cpu, or one process.' });
  return { backend: inTurn(backend, job), shards: { world: await carrierOf(backend.name, world.communicator), plan } };
};
