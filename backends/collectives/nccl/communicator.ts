/**
 * A communicator of NCCL, on the memory of a device. A start puts one group of calls into the stream beside the launches: a bucket is sent piece by
 * piece, without copies. A wait asks whether the stream has passed it, with the event loop free in between, so that a dead peer is heard of; then the
 * communicators of this process are aborted, for a device would wait for ever. Ranks talk to each other by other means: the peers.
 *
 * Sums of bf16 and f16 are NCCL's: rounded after each rank, where other carriers round once. NCCL may lose a NaN in a maximum, so those of floats, small and
 * few, go through this process and the peers (extremum.ts).
 */
import type { CarrierCaps, Collective, Communicator, DeviceQueue, Ticket } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import { isFloat } from '../../../compiler/graph/types.ts';
import type { Comm, Nccl } from './bind.ts';
import { within } from './bound.ts';
import { extremum } from './extremum.ts';

/** How ranks know each other: MPI, or a folder (folder.ts). */
export interface Peers extends Pick<Communicator, 'rank' | 'size' | 'exchange' | 'check' | 'abort' | 'close'> {
  split(colour: number, key: number): Promise<Peers>;
}

/** What all communicators of a process share. */
export interface Job {
  readonly nccl: Nccl;
  /** Those that stand. */
  readonly comms: Set<Comm>;
  /** Seconds after which who still waits gives up. */
  readonly patience: number;
  failed: unknown;
}

const caps: CarrierCaps = { asyncProgress: true, deterministic: false, sums: ['f32', 'f16', 'bf16', 'i32', 'u32', 'bool'] };

/** Milliseconds for which every turn of the event loop asks; later one in each millisecond does. */
const eager = 2;

const pause = (waited: number): Promise<void> =>
  new Promise((resolve) => (waited < eager ? void setImmediate(resolve) : void setTimeout(resolve, 1)));

const failure = (message: string): FoveaError =>
  new FoveaError('FV0802', message, { hint: 'Start the job again with --resume: the last checkpoint is whole.' });

const put = (nccl: Nccl, c: Collective, address: bigint, comm: Comm, stream: bigint): void => {
  for (const { send, receive, count } of c.segments) {
    if (count === 0) continue;
    const [from, to] = [address + BigInt(send), address + BigInt(receive)];
    if (c.kind === 'all-gather') nccl.allGather(from, to, count, c.dtype, comm, stream);
    else if (c.kind === 'reduce-scatter') nccl.reduceScatter(from, to, count, c.dtype, c.reduction, comm, stream);
    else nccl.allReduce(from, to, count, c.dtype, c.reduction, comm, stream);
  }
};

/** `owned`: the peers end with this communicator. */
export const communicator = (job: Job, comm: Comm, peers: Peers, owned: boolean): Communicator => {
  const { nccl, patience } = job;
  const { rank, size } = peers;
  const flying = new Map<Ticket, () => boolean>();
  let started = 0;
  let connected = false;
  job.comms.add(comm);
  /** The end of all communicators: what the device waits for comes no more. */
  const end = (why: unknown): never => {
    if (job.failed === undefined) {
      job.failed = why;
      for (const c of job.comms) {
        try {
          nccl.abort(c);
        } catch {
          // the first failure is the one that is told
        }
      }
      job.comms.clear();
      peers.abort(why instanceof Error ? why.message : String(why));
    }
    throw job.failed;
  };
  const orEnd = <T>(work: () => T): T => {
    try {
      return work();
    } catch (e) {
      return end(e);
    }
  };
  const check = (): void => {
    if (job.failed !== undefined) throw job.failed;
    orEnd(() => {
      peers.check();
      const said = nccl.asyncError(comm);
      if (said !== undefined) throw failure(`NCCL: ${said}`);
    });
  };
  /** Peers talk about one at a time. */
  let talks: Promise<void> = Promise.resolve();
  const apart = (device: DeviceQueue, c: Collective): (() => boolean) => {
    let over = false;
    let why: unknown;
    const work = extremum(device, c, peers, talks, pause);
    talks = work.then(
      () => {
        over = true;
      },
      (e: unknown) => {
        why = e;
      },
    );
    return () => {
      if (why !== undefined) throw why;
      return over;
    };
  };
  check();
  if (nccl.rank(comm) !== rank || nccl.size(comm) !== size)
    end(failure(`NCCL sees rank ${nccl.rank(comm)} of ${nccl.size(comm)} where this is rank ${rank} of ${size}`));
  return {
    rank,
    size,
    caps,
    start: (collective, { address, device }) => {
      check();
      const { kind, dtype, reduction, scope } = collective;
      if (!device)
        throw new FoveaError('FV0802', `${kind} of ${scope}: NCCL needs the program's memory on a GPU`, { hint: 'Use --backend cuda.' });
      const lossy = kind !== 'all-gather' && reduction !== 'sum' && isFloat(dtype);
      const send = (stream: bigint): void => nccl.group(() => put(nccl, collective, address, comm, stream));
      // NCCL connects ranks when they first send
      const first = (stream: bigint): void => within(patience, `${kind} 0 of ${scope || 'the step'}`, () => send(stream));
      const done = orEnd(() => (lossy ? apart(device, collective) : device.put(connected ? send : first)));
      connected ||= !lossy;
      const ticket: Ticket = { collective, sequence: started++ };
      flying.set(ticket, done);
      return ticket;
    },
    wait: async (ticket) => {
      const { collective: c, sequence } = ticket;
      const what = `${c.kind} ${sequence} of ${c.scope || 'the step'}`;
      const done = flying.get(ticket);
      if (!done) throw new FoveaError('FV0802', `${what} is not under way`, { hint: 'Each start is waited for once.' });
      const since = performance.now();
      while (!orEnd(done)) {
        check();
        const waited = performance.now() - since;
        if (waited > patience * 1e3) end(failure(`waited ${patience} s for ${what}, which not all ranks have come to`));
        await pause(waited);
      }
      // a transfer ends by an abort, too
      check();
      flying.delete(ticket);
    },
    progress: () => undefined,
    exchange: (text) => peers.exchange(text),
    split: async (colour, key) => {
      // NCCL's own holds the thread until all have come: after this they are here
      const some = await peers.split(colour, key);
      return communicator(
        job,
        orEnd(() => within(patience, `NCCL to split ${size} ranks`, () => nccl.split(comm, colour, key))),
        some,
        true,
      );
    },
    check,
    abort: (reason) => {
      try {
        end(failure(reason));
      } catch {
        // known to all now
      }
    },
    close: async () => {
      const [left] = flying.keys();
      if (left) end(failure(`${left.collective.kind} ${left.sequence} of ${left.collective.scope} was started and never waited for`));
      await peers.exchange('');
      if (job.comms.delete(comm)) nccl.destroy(comm);
      if (owned) await peers.close();
    },
  };
};
