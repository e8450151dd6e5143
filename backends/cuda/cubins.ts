/**
 * Kernels to machine code, and the cache of it. A cubin is named by the hash of its text, the architecture and what compiled it. Kernels that are
 * missing are compiled a few at a time, as one unit to which the names of all lead (as the cpu backend does it): the next plan finds
 * those that it shares.
 */
import { readFile, realpath, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, relative } from 'node:path';
import type { Progress } from '../../compiler/target.ts';
import { cacheFolder, hash, placeOf, produce, replace, sound } from '../native/cache.ts';
import type { Nvrtc } from './nvrtc.ts';
import { kernelSymbol, type Printed } from './print.ts';

export interface Compiler {
  readonly nvrtc: Nvrtc;
  /** sm_90 */
  readonly architecture: string;
  /** Of everything beside the text that decides what a kernel becomes. */
  readonly version: string;
  /** Most kernels of a unit. */
  readonly unit: number;
}
/** `emulated`: the version of the emulator, whose code is no GPU's. */
export const compilerOf = (nvrtc: Nvrtc, architecture: string, emulated: string | undefined, unit = 4): Compiler => ({
  nvrtc,
  architecture,
  unit,
  version: hash('cuda 1', nvrtc.version, emulated ?? ''),
});
/** Where a kernel's code lies: an image, of which several kernels may be parts, and its name there. */
export interface Code {
  readonly path: string;
  readonly symbol: string;
}

/** Beside the code. */
const logAt = (path: string): string => path.replace(/cubin$/, 'log');
/** What was said when code was compiled. */
export const logOf = ({ path }: Pick<Code, 'path'>): Promise<string> => readFile(logAt(path), 'utf8');

interface Named extends Printed {
  readonly id: string;
}
const symbolOf = (id: string): string => `k_${id}`;
const unitText = (kernels: readonly Named[]): string =>
  [
    ...new Set(kernels.flatMap((k) => k.prelude)),
    // EXPORT pastes names together, so the symbol is written out
    ...kernels.map(({ id, text }) => text.replaceAll(kernelSymbol, symbolOf(id))),
  ].join('\n');

/** Characters of CUDA after which a unit is full. */
const full = 1 << 16;
const unitsOf = (kernels: readonly Named[], most: number): (readonly Named[])[] => {
  const units: Named[][] = [];
  let left = 0;
  for (const k of kernels) {
    const last = units.at(-1);
    if (last && last.length < most && k.text.length <= left) last.push(k);
    else {
      units.push([k]);
      left = full;
    }
    left -= k.text.length;
  }
  return units;
};

/** Code of each kernel, in the order given. FV0302. */
export const compileAll = async (
  kernels: readonly Printed[],
  { nvrtc, architecture, version, unit }: Compiler,
  progress?: Progress,
): Promise<readonly Code[]> => {
  const folder = await cacheFolder();
  const named = kernels.map((k): Named => ({ ...k, id: hash(version, architecture, k.prelude.join('\n'), k.text) }));
  const distinct = [...new Map(named.map((k) => [k.id, k])).values()];
  const at = (id: string): string => placeOf(folder, id, 'cubin');
  const found = await Promise.all(distinct.map(({ id }) => sound(at(id))));
  const missing = distinct.filter((_, i) => !found[i]);
  const workers = availableParallelism();
  const units = unitsOf(missing, Math.max(1, Math.min(unit, Math.ceil(missing.length / workers))));
  let done = distinct.length - missing.length;
  progress?.(done, distinct.length, 'compiled');
  const compileUnit = async (some: readonly Named[]): Promise<void> => {
    const [first] = some as [Named];
    const to = some.length === 1 ? first.id : hash(...some.map((k) => k.id));
    const { cubin, log } = await nvrtc.compile(unitText(some), architecture);
    await produce(at(to), (temporary) => writeFile(temporary, cubin));
    // registers and spills, for who looks
    await replace(logAt(at(to)), (temporary) => writeFile(temporary, log));
    if (some.length === 1) return;
    for (const k of some) await replace(at(k.id), (temporary) => symlink(relative(dirname(temporary), at(to)), temporary));
  };
  const worker = async (): Promise<void> => {
    for (let next = units.shift(); next; next = units.shift()) {
      await compileUnit(next);
      done += next.length;
      progress?.(done, distinct.length, 'compiled');
    }
  };
  const jobs = Array.from({ length: workers }, worker);
  try {
    await Promise.all(jobs);
  } finally {
    units.length = 0;
    await Promise.allSettled(jobs);
  }
  return Promise.all(named.map(async ({ id }) => ({ path: await realpath(at(id)), symbol: symbolOf(id) })));
};

/** The image, without the seal of the cache behind it. */
export const imageOf = async (path: string): Promise<Buffer> => (await readFile(path)).subarray(0, -64);
