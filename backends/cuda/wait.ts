/** Waiting for a GPU without holding up JavaScript: an event is asked whether it is done, often to begin with, then once a millisecond. */
import type { Driver } from './driver.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** Milliseconds for which every turn of the event loop asks. */
const eager = 2;

export const until = async (cu: Driver, event: bigint): Promise<void> => {
  const started = performance.now();
  while (!cu.done(event)) await (performance.now() - started < eager ? turn() : pause(1));
};
