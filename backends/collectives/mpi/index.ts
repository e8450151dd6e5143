/**
 * Ranks as processes that a launcher of MPI started, on one machine or many.
 *
 *   const launch = launchOf();
 *   const world = launch ? await mpiWorld(launch) : undefined;
 *   world.communicator.rank, world.communicator.size
 *   await world.finish();
 */
import { hostname } from 'node:os';
import type { Communicator } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import { patienceOf } from '../patience.ts';
import { watch } from '../watch.ts';
import { startMpi } from './bind.ts';
import { communicator, type Job } from './communicator.ts';
import type { Launch } from './launch.ts';
import { openLibrary } from './library.ts';

export { type Launch, launchOf } from './launch.ts';

export interface World {
  readonly communicator: Communicator;
  /** The library in words. */
  readonly library: string;
  /** Ranks on this machine. */
  readonly neighbours: number;
  /** This rank's number among them, from 0: which GPU is its own. */
  readonly local: number;
  /** Ranks whose death nobody would notice: they cannot be reached. */
  readonly unwatched: readonly number[];
  /** Why the job has failed, if it has. */
  failure(): string | undefined;
  /** Ends MPI: all ranks together, when nobody waits for anything. */
  finish(): Promise<void>;
  /** Ends all processes of the job, in a moment: long enough for the others to say what they know. */
  kill(): Promise<void>;
}

/**
 * Starts MPI in this process: once. FV0801: there is no library. FV0802: MPI fails. FV0803: the library knows of another number of processes than
 * the launcher has started, because it belongs to another launcher.
 */
export const mpiWorld = async (launch: Launch): Promise<World> => {
  const library = openLibrary(launch);
  // what is set wrong is told before anybody waits
  patienceOf();
  const mpi = startMpi(library);
  const { world } = mpi.handles;
  const size = mpi.size(world);
  if (size !== launch.size)
    throw new FoveaError('FV0803', `${launch.by} started ${launch.size} processes, but ${library.version} (${library.path}) sees ${size}`, {
      hint: 'The library belongs to another launcher: set FOVEA_MPI to the library of yours, or use the launcher of the library.',
    });
  let guard: Awaited<ReturnType<typeof watch>> | undefined;
  const job: Job = { mpi, failure: () => guard?.failure(), tell: (reason) => guard?.tell(reason), patience: patienceOf };
  const all = communicator(job, world, false);
  guard = await watch(all);
  const hosts = await all.exchange(hostname());
  return {
    communicator: all,
    library: library.version,
    neighbours: hosts.filter((h) => h === hostname()).length,
    local: hosts.slice(0, all.rank).filter((h) => h === hostname()).length,
    unwatched: guard.unwatched,
    failure: job.failure,
    finish: async () => {
      await all.close();
      guard?.close();
      mpi.finalize();
    },
    kill: async () => {
      await new Promise((r) => setTimeout(r, 300));
      mpi.abort(world);
    },
  };
};
