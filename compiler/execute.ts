/**
 * Runs the plan of one rank: the launches up to the next event in one call of the backend, then a start or a wait, and so on. It knows neither what
 * the backend is nor who carries the bytes.
 *
 *   const one = await onRanks(await backend.prepare(plan), plan, communicators);      an executable like any other
 */
import type { Collective, Communicators, Ticket } from './collectives.ts';
import { FoveaError } from './error.ts';
import { printPlan } from './plan/serialise.ts';
import type { Plan } from './plan/types.ts';
import type { Executable } from './target.ts';

/** The text of a plan in 16 digits: equal plans only. Two ranks that run different ones would wait for each other for ever. */
const nameOf = (plan: Plan): string => printPlan({ plan, key: '', nodes: 0 }).slice(0, 'fovea plan 2 0123456789abcdef'.length);

/**
 * The last input of the plan is the number of the rank, which is written here. Throws FV0704 where another rank has another plan, FV0305 where the
 * backend cannot run a part of a plan.
 */
export const onRanks = async (executable: Executable, plan: Plan, ranks: Communicators): Promise<Executable> => {
  const { memory, runSome } = executable;
  if (!memory || !runSome)
    throw new FoveaError('FV0305', 'this backend cannot run a plan between collectives', { hint: 'Use the cpu backend.' });
  const mine = nameOf(plan);
  const names = await ranks.world.exchange(mine);
  const other = names.findIndex((n) => n !== names[0]);
  if (other >= 0)
    throw new FoveaError('FV0704', `rank ${other} runs another program than rank 0`, {
      hint: 'Start every rank with the same options, the same version and the same kind of machine (or FOVEA_TARGET).',
    });
  const last = executable.inputs.length - 1;
  executable.write(last, Int32Array.of(ranks.world.rank));
  let running = false;
  /** Why a run has ended early. Transfers may still be under way then, and what peers write to must stay memory of this process. */
  let failure: unknown;
  const idle = (what: string): void => {
    if (running) throw new FoveaError('FV0305', `${what}: a run is in progress; await it first`);
    if (failure !== undefined) throw failure;
  };
  const step = async (): Promise<void> => {
    const open = new Map<number, Ticket>();
    let at = 0;
    const upTo = async (end: number): Promise<void> => {
      if (end > at) await runSome(at, end - at);
      at = end;
      if (open.size > 0 && !ranks.world.caps.asyncProgress) for (const c of new Set(Object.values(ranks))) c.progress();
    };
    for (const { what, collective, before } of plan.events) {
      await upTo(before);
      const c = plan.collectives[collective] as Collective;
      if (what === 'start') open.set(collective, ranks[c.group].start(c, memory));
      else {
        await ranks[c.group].wait(open.get(collective) as Ticket);
        open.delete(collective);
      }
    }
    await upTo(plan.launches.length);
  };
  const { outputs, aliases } = executable;
  return {
    inputs: executable.inputs.slice(0, last),
    outputs,
    aliases,
    memory,
    write: (i, data) => {
      idle('write');
      executable.write(i, data);
    },
    read: (o) => {
      idle('read');
      return executable.read(o);
    },
    run: async () => {
      idle('run');
      running = true;
      try {
        await step();
      } catch (e) {
        failure = e;
        ranks.world.abort(e instanceof Error ? e.message : String(e));
        throw e;
      } finally {
        running = false;
      }
    },
    dispose: () => {
      if (running) idle('dispose');
      // the arena of a run that has failed goes with the process, as the job does
      if (failure === undefined) executable.dispose();
    },
  };
};

const split = async (world: Communicators['world'], shard: number): Promise<Communicators> => ({
  world,
  shard: shard === world.size ? world : await world.split(Math.floor(world.rank / shard), world.rank),
  replica: shard === world.size ? await world.split(world.rank, 0) : await world.split(world.rank % shard, world.rank),
});
/** Of each world, by the size of its groups: libraries have few communicators to give, so programs share them. */
const groups = new WeakMap<Communicators['world'], Map<number, Promise<Communicators>>>();

/**
 * The communicators of a mesh whose ranks share parameters in groups of `shard` neighbours. All ranks call it together. They are closed with the world.
 */
export const groupsOf = (world: Communicators['world'], shard: number): Promise<Communicators> => {
  const known = groups.get(world) ?? new Map<number, Promise<Communicators>>();
  groups.set(world, known);
  const made = known.get(shard) ?? split(world, shard);
  known.set(shard, made);
  return made;
};
