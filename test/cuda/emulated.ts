/** The emulator for tests: it needs a C++ compiler, and tests that have none say so. */
import { describe } from 'vitest';
import { buildEmulator } from '../../backends/cuda/emulator/build.ts';
import { type CudaBackend, type CudaOptions, cuda } from '../../backends/cuda/index.ts';
import { FoveaError } from '../../compiler/error.ts';

const missing = await buildEmulator().then(
  () => undefined,
  (e: unknown) => {
    if (e instanceof FoveaError && e.code === 'FV0301') return e;
    throw e;
  },
);
if (missing) console.warn(`skipped: ${missing.message}. ${missing.hint}`);

/** As describe, where the emulator can be built. */
export const emulated = missing ? describe.skip : describe;

/** Kept plans are for the tests of those. */
export const emulator = (options: CudaOptions = {}): Promise<CudaBackend> => cuda({ emulate: true, unit: 16, plans: false, ...options });
