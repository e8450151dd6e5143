/**
 * Ctrl-C and `kill`. While work may be stopped cleanly the first signal only asks for it and a second one leaves at once; at any other
 * time the first one leaves at once. Leaving runs `leave` first, which must be quick and synchronous.
 */
export interface Interrupt {
  /** From here on the first signal calls `ask` and aborts the signal; `ask` tells the user what happens now. */
  allow(ask: () => void): AbortSignal;
  /** 128 + the signal's number as shells report it; undefined if none came. */
  status(): number | undefined;
  release(): void;
}

const numbers = { SIGINT: 2, SIGTERM: 15 } as const;

export const interruptible = (leave: () => void): Interrupt => {
  const stop = new AbortController();
  let ask: (() => void) | undefined;
  let status: number | undefined;
  const handle = (name: NodeJS.Signals): void => {
    const again = status !== undefined;
    status = 128 + numbers[name as keyof typeof numbers];
    if (ask && !again) {
      ask();
      stop.abort();
      return;
    }
    leave();
    process.exit(status);
  };
  for (const name of Object.keys(numbers)) process.on(name, handle);
  return {
    allow: (f) => {
      ask = f;
      return stop.signal;
    },
    status: () => status,
    release: () => {
      for (const name of Object.keys(numbers)) process.off(name, handle);
    },
  };
};
