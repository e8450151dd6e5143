/**
 * Whether this process is one of several, by the variables that launchers set for the processes they start. Rank and size come from MPI itself;
 * the variables only decide whether MPI is loaded at all, which library is tried first, and what to say where the two do not agree.
 *
 *   mpirun -n 2 npx fovea train     OMPI_COMM_WORLD_SIZE=2 (Open MPI) or PMI_SIZE=2 (MPICH)
 *   srun -n 2 npx fovea train       SLURM_STEP_NUM_TASKS=2
 */
import type { Family } from './handles.ts';

export interface Launch {
  readonly by: string;
  /** The library that belongs to the launcher, where it has one. */
  readonly family?: Family;
  readonly size: number;
}

// Slurm sets its variable also for the processes that carry out a launcher of its own kind, so it comes last
const launchers: readonly { readonly by: string; readonly size: string; readonly family?: Family }[] = [
  { by: 'mpirun of Open MPI', size: 'OMPI_COMM_WORLD_SIZE', family: 'Open MPI' },
  { by: 'mpiexec of MPICH', size: 'PMI_SIZE', family: 'MPICH' },
  { by: 'srun', size: 'SLURM_STEP_NUM_TASKS' },
];

type Environment = Readonly<Record<string, string | undefined>>;

/** undefined in a process that was started by itself. */
export const launchOf = (environment: Environment = process.env): Launch | undefined => {
  for (const { by, size: name, family } of launchers) {
    const size = Number(environment[name] ?? Number.NaN);
    // a step of one process needs no MPI; mpirun -n 1 is taken at its word
    if (Number.isInteger(size) && size >= (family ? 1 : 2)) return { by, size, ...(family ? { family } : {}) };
  }
  return undefined;
};
