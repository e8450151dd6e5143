/**
 * Ranks on GPUs, one each, that NCCL connects. What NCCL needs to begin, an id that one rank makes, goes through the peers: MPI's communicator, or a folder
 * that all ranks see.
 *
 *   const backend = await cuda({ device });                       its context is current from here on
 *   const world = await ncclWorld(await meet(folder, rank, size));
 *   const program = await shard(step, world, plan)(specs, { backend });
 */
import type { Communicator } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import { loadNccl } from '../../cuda/libraries.ts';
import { patienceOf } from '../patience.ts';
import { bindNccl, type Nccl } from './bind.ts';
import { within } from './bound.ts';
import { communicator, type Peers } from './communicator.ts';

export type { Peers } from './communicator.ts';
export { meet } from './folder.ts';

/** All ranks call it together, with the device open. FV0310: no NCCL on this rank. FV0802: none on another, or NCCL fails. The peers stay the caller's. */
export const ncclWorld = async (peers: Peers): Promise<Communicator> => {
  const { rank, size } = peers;
  let nccl: Nccl | undefined;
  let [said, id] = ['', ''];
  let mine: unknown;
  try {
    nccl = bindNccl(loadNccl());
    if (rank === 0) id = Buffer.from(nccl.uniqueId()).toString('hex');
  } catch (e) {
    mine = e;
    said = e instanceof Error ? e.message : String(e);
  }
  const all = (await peers.exchange(JSON.stringify({ said, id }))).map((text) => JSON.parse(text) as { said: string; id: string });
  const other = all.findIndex((x) => x.said !== '');
  if (!nccl || mine !== undefined) throw mine;
  if (other >= 0)
    throw new FoveaError('FV0802', `rank ${other}: ${all[other]?.said}`, { hint: 'Install NCCL on every machine of the job.' });
  const patience = patienceOf();
  const own = nccl;
  const comm = within(patience, `NCCL to connect ${size} ranks`, () =>
    own.init(new Uint8Array(Buffer.from(all[0]?.id ?? '', 'hex')), size, rank),
  );
  return communicator({ nccl, comms: new Set(), patience, failed: undefined }, comm, peers, false);
};
