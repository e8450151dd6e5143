/**
 * A communicator of MPI. Starts return at once; waits ask MPI again and again, with the event loop free in between, so that signals are heard
 * and a dead peer ends the wait. Only one thread calls MPI, which needs no more than the least that libraries support.
 */
import type { Communicator, Ticket } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import { addressOf, type Comm, type Mpi, type Requests } from './bind.ts';
import { begin, sums, type Transfer } from './transfer.ts';

/** What all communicators of a process share. */
export interface Job {
  readonly mpi: Mpi;
  /** Why waiting has no more sense, if so: a peer died. */
  readonly failure: () => string | undefined;
  /** Tells the other ranks that this one gives up. */
  readonly tell: (reason: string) => void;
  /** Seconds after which who still waits gives up. */
  readonly patience: () => number;
}

/** Tests between two looks at the event loop, and milliseconds after which a wait lets other processes have the processor. */
const [tests, eager] = [16, 1];

const fail = (message: string): never => {
  throw new FoveaError('FV0802', message, { hint: 'Start the job again with --resume: the last checkpoint is whole.' });
};

/** Until all requests have ended. FV0802: a peer has failed, or it takes longer than anything should. */
const ended = async (job: Job, r: Requests, what: () => string): Promise<void> => {
  const [started, patience] = [performance.now(), job.patience()];
  for (;;) {
    for (let i = 0; i < tests; i++) if (job.mpi.test(r)) return;
    const failure = job.failure();
    if (failure !== undefined) fail(failure);
    const waited = performance.now() - started;
    if (waited > patience * 1e3) {
      const why = `waited ${patience} s for ${what()}, which not all ranks have come to`;
      job.tell(why);
      fail(why);
    }
    if (waited > eager) job.mpi.pause();
    await new Promise(setImmediate);
  }
};

/** Everybody's text in rank order. */
const exchange = async (job: Job, comm: Comm, size: number, text: string): Promise<readonly string[]> => {
  const { mpi } = job;
  const mine = new Uint8Array(Buffer.from(text, 'utf8'));
  const [length, lengths] = [Int32Array.of(mine.length), new Int32Array(size)];
  const first = mpi.requests(1);
  mpi.allGather(addressOf(length), addressOf(lengths), 1, 'i32', comm, first);
  const what = () => 'an exchange of texts';
  await ended(job, first, what);
  const longest = Math.max(1, ...lengths);
  const [sent, all] = [new Uint8Array(longest), new Uint8Array(size * longest)];
  sent.set(mine);
  const second = mpi.requests(1);
  mpi.allGather(addressOf(sent), addressOf(all), longest, 'u8', comm, second);
  await ended(job, second, what);
  // held until here, as MPI was told of them
  if (length[0] !== mine.length || sent.length !== longest) throw new Error('an array changed while it was sent');
  return Array.from(lengths, (n, r) => Buffer.from(all.subarray(r * longest, r * longest + n)).toString('utf8'));
};

export const communicator = (job: Job, comm: Comm, owned: boolean): Communicator => {
  const { mpi } = job;
  const [rank, size] = [mpi.rank(comm), mpi.size(comm)];
  const flying = new Map<Ticket, Transfer>();
  const made: Communicator[] = [];
  let [started, closed] = [0, false];
  const check = (): void => {
    const failure = job.failure();
    if (failure !== undefined) fail(failure);
  };
  return {
    rank,
    size,
    caps: { asyncProgress: false, deterministic: true, sums },
    start: (collective, memory) => {
      check();
      if (memory.address === 0n || memory.device)
        throw new FoveaError('FV0802', `${collective.kind} of ${collective.scope}: MPI needs the program's memory in this process`, {
          hint: 'Use --backend cpu.',
        });
      const ticket: Ticket = { collective, sequence: started++ };
      flying.set(ticket, begin(mpi, collective, memory, comm, size));
      return ticket;
    },
    wait: async (ticket) => {
      const transfer = flying.get(ticket);
      const { collective: c, sequence } = ticket;
      const what = () => `${c.kind} ${sequence} of ${c.scope || 'the step'}`;
      if (!transfer) throw new FoveaError('FV0802', `${what()} is not under way`, { hint: 'Each start is waited for once.' });
      await ended(job, transfer.requests, what);
      flying.delete(ticket);
      transfer.finish();
    },
    progress: () => {
      for (const { requests } of flying.values()) mpi.test(requests);
    },
    exchange: (text) => exchange(job, comm, size, text),
    split: async (colour, key) => {
      // MPI's own waits without end; after this everybody is here
      await exchange(job, comm, size, '');
      const own = communicator(job, mpi.split(comm, colour, key), true);
      made.push(own);
      return own;
    },
    check,
    abort: (reason) => job.tell(reason),
    close: async () => {
      if (closed) return;
      closed = true;
      for (const c of made) await c.close();
      const [left] = flying.keys();
      if (left) fail(`${left.collective.kind} ${left.sequence} of ${left.collective.scope} was started and never waited for`);
      await exchange(job, comm, size, '');
      if (owned) mpi.free(comm);
    },
  };
};
