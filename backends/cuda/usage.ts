/**
 * What ptxas says that a kernel takes, from the log of a compilation (`-v`), which the cache keeps beside the code:
 *
 *   ptxas info : Compiling entry function 'k' for 'sm_90a'                      { registers: 168, stack: 0, spilled: 0, warnings: [] }
 *   ptxas info : Function properties for k
 *       0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
 *   ptxas info : Used 168 registers, used 2 barriers
 */
export interface Usage {
  /** Of a thread. */
  readonly registers: number;
  /** Bytes of a thread's arrays that became memory. */
  readonly stack: number;
  /** Bytes that did not fit the registers. */
  readonly spilled: number;
  /** What else it says, such as products that are made one after another. */
  readonly warnings: readonly string[];
}

const number = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);

/** Undefined where the log does not have it. */
export const usageOf = (log: string, symbol: string): Usage | undefined => {
  const at = log.indexOf(`entry function '${symbol}'`);
  if (at < 0) return undefined;
  // from where ptxas names it to where it names the next
  const own = log.slice(at).split(/(?<=.)Compiling entry function/s)[0] as string;
  const warnings = log.split('\n').filter((l) => l.includes(symbol) && /warning|serialized|ignored/i.test(l));
  return {
    registers: number(own, /Used (\d+) registers/),
    stack: number(own, /(\d+) bytes stack frame/),
    spilled: number(own, /(\d+) bytes spill stores/),
    warnings,
  };
};
