/**
 * Waiting for a device that may go away or never answer. Every promise of the device that the runtime waits for goes through `wait`, so nothing
 * hangs: it ends with the answer, with FV0308 when the device is lost, or with FV0309 when its patience is at an end. Patience is time in which an answer
 * could have been heard: while a page is frozen in the background, a machine sleeps or a long computation holds the thread, nothing is.
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

/**
 * Calls `end` when `patience` seconds have gone since `heard`, which may grow; what it returns stops that. Time goes by in slices: one that takes far
 * longer than it was meant to was slept through, and answers that came meanwhile are heard in the next.
 */
const after = (patience: number, heard: () => number, end: () => void): (() => void) => {
  const slice = Math.min(5000, 250 * patience);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let [quiet, last] = [0, heard()];
  const ask = (): void => {
    if (heard() > last) [quiet, last] = [0, heard()];
    const now = performance.now();
    quiet += Math.min(now - last, 2 * slice);
    last = now;
    const left = 1000 * patience - quiet;
    if (left <= 0) end();
    else if (Number.isFinite(left)) timer = setTimeout(ask, Math.min(left, slice));
  };
  ask();
  return () => clearTimeout(timer);
};

/** An answer within `patience` seconds, or FV0309. One that comes later goes to `late`. */
export const within = <T>(patience: number, what: string, answer: Promise<T>, late: (value: T) => void = () => {}): Promise<T> =>
  new Promise((resolve, reject) => {
    const since = performance.now();
    let over = false;
    const stop = after(
      patience,
      () => since,
      () => {
        over = true;
        reject(still(what, patience));
      },
    );
    answer.then(
      (value) => {
        stop();
        if (over) late(value);
        resolve(value);
      },
      (e) => {
        stop();
        reject(e);
      },
    );
  });

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
        const since = performance.now();
        let stop = (): void => {};
        const end = (): void => {
          stop();
          waiting.delete(tell);
          heard = performance.now();
        };
        const tell = (e?: unknown): void => {
          end();
          // what a lost device answers says less than that it is lost
          reject(reason !== undefined ? gone(what, reason) : e);
        };
        waiting.add(tell);
        stop = after(
          patience,
          () => Math.max(heard, since),
          () => {
            silent = true;
            tell(still(what, patience));
          },
        );
        answer.then((value) => {
          end();
          resolve(value);
        }, tell);
      }),
  };
};
