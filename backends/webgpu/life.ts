/**
 * Waiting for a device that may go away or never answer. Every promise of the device that the runtime waits for goes through `wait`, so nothing
 * hangs: it ends with the answer, with FV0308 when the device is lost, or with FV0309 when its patience is at an end.
 */
import { FoveaError } from '../../compiler/error.ts';

export interface Life {
  /** Why the device is gone, if it is. */
  readonly reason: string | undefined;
  /** FV0308 if the device is gone. */
  check(what: string): void;
  wait<T>(what: string, answer: Promise<T>): Promise<T>;
}

const gone = (what: string, reason: string): FoveaError =>
  new FoveaError('FV0308', `${what}: the device was lost: ${reason}`, { hint: 'Compile the program again, on a new device.' });

/** `patience` in seconds. */
export const lifeOf = (device: GPUDevice, patience: number): Life => {
  let reason: string | undefined;
  const lost = device.lost.then((info) => {
    reason = info.message || info.reason || 'no reason given';
    return reason;
  });
  return {
    get reason() {
      return reason;
    },
    check: (what) => {
      if (reason !== undefined) throw gone(what, reason);
    },
    wait: async (what, answer) => {
      // whoever loses the race may still be refused, which nobody hears
      answer.catch(() => {});
      let timer: ReturnType<typeof setTimeout> | undefined;
      const silent = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () =>
            reject(
              new FoveaError('FV0309', `${what}: the device has not answered for ${patience} s`, {
                hint: 'Let webgpu() have more patience, or make the step smaller.',
              }),
            ),
          1000 * patience,
        );
      });
      try {
        return await Promise.race([answer, silent, lost.then((why) => Promise.reject(gone(what, why)))]);
      } catch (e) {
        // what a lost device answers says less than that it is lost
        if (reason !== undefined && !(e instanceof FoveaError)) throw gone(what, reason);
        throw e;
      } finally {
        clearTimeout(timer);
      }
    },
  };
};
