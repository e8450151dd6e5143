/** The functions of a plan's library through koffi. */
import { koffi } from '../native/koffi.ts';
import type { Address, Native } from './native.ts';

/** The C functions of pool.ts, as called. */
export const foreign = (path: string): Native => {
  const lib = koffi.load(path);
  const run = lib.func('void fv_run(uintptr_t pool, uintptr_t table, int64_t n, uintptr_t seconds)');
  // koffi gives a number where one is exact
  const create = lib.func('uintptr_t fv_create(int threads, int spin)');
  const map = lib.func('uintptr_t fv_map(int64_t bytes)');
  return {
    view: (from, bytes) => koffi.view(from, bytes),
    symbol: (name) => koffi.address(lib.symbol(name)),
    create: (threads, spin) => BigInt(create(threads, spin)),
    threads: lib.func('int fv_threads(uintptr_t pool)') as unknown as (pool: Address) => number,
    destroy: lib.func('void fv_destroy(uintptr_t pool)') as unknown as (pool: Address) => void,
    cancel: lib.func('void fv_cancel(uintptr_t pool)') as unknown as (pool: Address) => void,
    map: (bytes) => BigInt(map(bytes)),
    unmap: lib.func('void fv_unmap(uintptr_t m, int64_t bytes)') as unknown as (m: Address, bytes: number) => void,
    run: (pool, table, n, seconds) =>
      new Promise((resolve, reject) => {
        run.async(pool, table, n, seconds, (e: unknown) => (e ? reject(e) : resolve()));
      }),
  };
};
