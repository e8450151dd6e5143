/** What every rank runs: ranks in trouble of the kind that the argument names. Rank 0 prints `waiting` when all are on their way. */
import { mpiWorld } from '../../backends/collectives/mpi/index.ts';
import { launchOf } from '../../backends/collectives/mpi/launch.ts';
import { FoveaError } from '../../compiler/error.ts';

const launch = launchOf();
if (!launch) throw new Error('start this under mpirun');
// launchers that end the survivors ask them first; here they are to say what they have seen
process.on('SIGTERM', () => {});
const kind = process.argv[2];
try {
  const world = await mpiWorld(launch);
  const me = world.communicator;
  await me.exchange('');
  if (me.rank === 0) console.log('waiting');
  await me.exchange('');
  // not before: processes may start seconds apart
  if (kind === 'absent') process.env['FOVEA_MPI_TIMEOUT'] = '2';
  if (me.rank === me.size - 1) {
    // a launcher that ends a job at once may lose what it has not yet passed on
    await new Promise((r) => setTimeout(r, 300));
    if (kind === 'killed') process.kill(process.pid, 'SIGKILL');
    if (kind === 'leaves') process.exit(0);
    if (kind === 'abort') me.abort('the disk is full');
    if (kind === 'absent') await new Promise((r) => setTimeout(r, 60_000));
  }
  try {
    await me.exchange('never');
  } catch (e) {
    if (e instanceof FoveaError) console.log(`rank ${me.rank} heard: ${e.code}: ${e.message}`);
    await world.kill();
  }
} catch (e) {
  console.log(`refused: ${e instanceof FoveaError ? e.report() : String(e)}`);
  process.exit(1);
}
