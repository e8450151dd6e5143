/**
 * The stream beside that of the launches, for who carries data between ranks. One stream for all transfers: they run in the order of their starts, which is
 * the same on all ranks, so two communicators never wait for each other crosswise.
 *
 *   launches   |== 0..4 ==|        |== 5..9 ==|            an event of this stream lets the other begin
 *   beside                |== all-gather ==|               an event of the other says that it has ended
 */
import type { Beside } from '../../compiler/collectives.ts';
import type { Device } from './open.ts';

type Owned = (handle: bigint, free: (handle: bigint) => unknown) => bigint;

/** The second stream is made when it is first asked for. */
export const besideOf = ({ cu, context }: Device, launches: bigint, owned: Owned): Beside => {
  let beside: bigint | undefined;
  return (put) => {
    cu.cuCtxSetCurrent(context);
    beside ??= owned(cu.cuStreamCreate(1), cu.cuStreamDestroy_v2);
    const [begin, end] = [cu.cuEventCreate(2), cu.cuEventCreate(2)];
    cu.cuEventRecord(begin, launches);
    cu.cuStreamWaitEvent(beside, begin, 0);
    put(beside);
    cu.cuEventRecord(end, beside);
    let over = false;
    return () => {
      if (over) return true;
      over = cu.done(end);
      if (over) for (const e of [begin, end]) cu.cuEventDestroy_v2(e);
      return over;
    };
  };
};
