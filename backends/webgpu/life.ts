/**
 * Waiting for a device that may go away or never answer. Every promise of the device that the runtime waits for goes through `wait`, so nothing
 * hangs: it ends with the answer, with FV0308 when the device is lost, or with FV0309 when its patience is at an end.
 */
import { FoveaError } from '../../compiler/error.ts';

export interface Life {
  /** FV0308 if the device is gone, FV0309 if it has stopped to answer. */
  check(what: string): void;
  wait<T>(what: string, answer: Promise<T>): Promise<T>;
}

const gone = (what: string, reason: string): FoveaError =>
  new FoveaError('FV0308', `${what}: the device was lost: ${reason}`, { hint: 'Compile the program again, on a new device.' });

const still = (what: string, patience: number): FoveaError =>
  new FoveaError('FV0309', `${what}: the device has not answered for ${patience} s`, {
    hint: 'Let webgpu() have more patience, or make the step smaller.',
  });

/** The longest time that a timer takes, in milliseconds. */
const longest = 2 ** 31 - 1;

/** `patience` in seconds since the device last answered anything. */
export const lifeOf = (device: GPUDevice, patience: number): Life => {
  let reason: string | undefined;
  let silent = false;
  /** Whoever waits, to be told of the end; and when the device last answered one of them. */
  const waiting = new Set<() => void>();
  let heard = performance.now();
  void device.lost.then((info) => {
    reason = info.message || info.reason || 'no reason given';
    for (const tell of waiting) tell();
  });
  const check = (what: string): void => {
    if (reason !== undefined) throw gone(what, reason);
    if (silent) throw still(what, patience);
  };
  return {
    check,
    wait: <T>(what: string, answer: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        let timer: ReturnType<typeof setTimeout> | undefined;
        const end = (): void => {
          clearTimeout(timer);
          waiting.delete(tell);
          heard = performance.now();
        };
        const tell = (e?: unknown): void => {
          end();
          // what a lost device answers says less than that it is lost
          reject(reason !== undefined ? gone(what, reason) : e);
        };
        const ask = (): void => {
          const left = 1000 * patience - (performance.now() - Math.max(heard, since));
          if (left > 0) {
            if (Number.isFinite(left)) timer = setTimeout(ask, Math.min(left, longest));
            return;
          }
          silent = true;
          tell(still(what, patience));
        };
        const since = performance.now();
        waiting.add(tell);
        ask();
        answer.then((value) => {
          end();
          resolve(value);
        }, tell);
      }),
  };
};
