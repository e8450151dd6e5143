/**
 * Writes checkpoints one after another until it is killed, by itself or as a rank of MPI; the numbers of a step follow from its number. Prints
 * every step that is complete.   writer.ts FOLDER [RANK MS: that rank kills itself so long after the first step]
 */
import { spawn } from 'node:child_process';
import { launchOf, mpiWorld } from '../../backends/collectives/mpi/index.ts';
import { alone, writeCheckpoint } from '../../models/checkpoint/index.ts';
import { piecesOf } from './numbers.ts';

const [folder = '', victim, after] = process.argv.slice(2);
const launch = launchOf();
const peers = launch ? (await mpiWorld(launch)).communicator : alone;
for (let step = 1; step <= 1000; step++) {
  await writeCheckpoint(folder, step, { peers, pieces: piecesOf(step, peers.rank, peers.size), run: { seed: '7' }, keep: 2 });
  // from outside, for a timer would only run where this process waits
  if (step === 1 && Number(victim) === peers.rank) spawn('sh', ['-c', `sleep ${Number(after) / 1e3}; kill -9 ${process.pid}`]);
  if (peers.rank === 0) process.stdout.write(`step ${step}\n`);
}
