/**
 * The stream beside that of the launches, for who carries data between ranks. One stream for all transfers: they run in the order of their starts, which is
 * the same on all ranks, so two communicators never wait for each other crosswise.
 *
 *   launches   |== 0..4 ==|        |== 5..9 ==|            an event of this stream lets the other begin
 *   beside                |== all-gather ==|               an event of the other says that it has ended
 */
import type { DeviceQueue } from '../../compiler/collectives.ts';
import { memoryAt } from './driver.ts';
import type { Device } from './open.ts';

type Owned = (handle: bigint, free: (handle: bigint) => unknown) => bigint;

/** The second stream is made when it is first asked for. */
export const besideOf = ({ cu, context }: Device, launches: bigint, arena: bigint, owned: Owned): DeviceQueue => {
  let beside: bigint | undefined;
  const put: DeviceQueue['put'] = (work) => {
    cu.cuCtxSetCurrent(context);
    beside ??= owned(cu.cuStreamCreate(1), cu.cuStreamDestroy_v2);
    const [begin, end] = [cu.cuEventCreate(2), cu.cuEventCreate(2)];
    cu.cuEventRecord(begin, launches);
    cu.cuStreamWaitEvent(beside, begin, 0);
    work(beside);
    cu.cuEventRecord(end, beside);
    let over = false;
    return () => {
      if (over) return true;
      over = cu.done(end);
      if (over) for (const e of [begin, end]) cu.cuEventDestroy_v2(e);
      return over;
    };
  };
  /** Memory of this side that the GPU reaches while JavaScript goes on. */
  const pinned = (bytes: number): { readonly at: bigint; readonly view: Uint8Array } => {
    cu.cuCtxSetCurrent(context);
    const at = cu.cuMemHostAlloc(bytes, 0);
    return { at, view: new Uint8Array(memoryAt(at, bytes)) };
  };
  return {
    put,
    download: (offset, bytes) => {
      const { at, view } = pinned(bytes);
      const done = put((stream) => cu.cuMemcpyDtoHAsync_v2(at, arena + BigInt(offset), bytes, stream));
      return () => {
        if (!done()) return undefined;
        const data = view.slice();
        cu.cuMemFreeHost(at);
        return data;
      };
    },
    upload: (offset, data) => {
      const { at, view } = pinned(data.length);
      view.set(data);
      const done = put((stream) => cu.cuMemcpyHtoDAsync_v2(arena + BigInt(offset), at, data.length, stream));
      return () => {
        if (!done()) return false;
        cu.cuMemFreeHost(at);
        return true;
      };
    },
  };
};
