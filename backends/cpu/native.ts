/** The C functions of pool.ts and of a plan's kernels, as the runtime calls them: through koffi (foreign.ts) or an addon of its own (addon.ts). */
export type Address = bigint;

export interface Native {
  readonly symbol: (name: string) => Address;
  /** 0 where there is no memory, here and in map. */
  readonly create: (threads: number, spin: number) => Address;
  readonly threads: (pool: Address) => number;
  readonly destroy: (pool: Address) => void;
  readonly cancel: (pool: Address) => void;
  readonly map: (bytes: number) => Address;
  readonly unmap: (m: Address, bytes: number) => void;
  readonly run: (pool: Address, table: Address, n: number, seconds: Address) => Promise<void>;
  /** Memory as JavaScript sees it. */
  readonly view: (from: Address, bytes: number) => ArrayBuffer;
}
