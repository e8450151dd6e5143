/**
 * Builds the emulator by the system's C++ compiler: one shared object that has the functions of the driver library and of NVRTC. It is kept in
 * the kernel cache. Needs a C++ compiler and Linux or macOS; no GPU, no toolkit.
 *
 *   FOVEA_CXX=clang++ fovea fuzz --backend cuda --emulate
 */
import { execFile } from 'node:child_process';
import { rename, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { FoveaError } from '../../../compiler/error.ts';
import { cacheFolder, hash, placeOf, produce, replace, sound } from '../../native/cache.ts';
import { emulatorDriver } from './driver.ts';
import { emulatorHead } from './head.ts';
import { matrixThreads } from './matrix.ts';
import { emulatorNvrtc } from './nvrtc.ts';
import { emulatorThreads } from './threads.ts';
import { wgmmaThreads } from './wgmma.ts';

interface Ran {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}
const run = (command: string, args: readonly string[]): Promise<Ran> =>
  new Promise((resolve) => {
    execFile(command, args, { maxBuffer: 1 << 26, env: { ...process.env, LC_ALL: 'C' } }, (e, stdout, stderr) =>
      resolve({ ok: e === null, stdout, stderr: stderr || (e ? e.message : '') }),
    );
  });

/** FOVEA_CXX if set, else the first of c++, g++ and clang++ that answers. FV0301. */
const findCxx = async (): Promise<{ readonly command: string; readonly version: string }> => {
  const wanted = process.env['FOVEA_CXX']?.trim();
  const candidates = wanted ? [wanted] : ['c++', 'g++', 'clang++'];
  for (const command of candidates) {
    const r = await run(command, ['--version']);
    if (r.ok) return { command, version: r.stdout.split('\n')[0] ?? '' };
  }
  throw new FoveaError('FV0301', `the emulator needs a C++ compiler: none of ${candidates.join(', ')} runs`, {
    hint: 'Install one (Debian, Ubuntu: apt-get install g++), or name one in FOVEA_CXX.',
  });
};

/** Of kernels: rounding as written, integers that wrap, memory of any type. */
const kernelFlags = ['-x', 'c++', '-std=c++17', '-O1', '-fPIC', '-shared', '-ffp-contract=off', '-fwrapv', '-fno-strict-aliasing'];
const native = process.arch === 'x64' ? ['-march=native'] : [];

export interface Emulator {
  /** The shared object. */
  readonly path: string;
  /** Of everything that decides what a kernel becomes. */
  readonly version: string;
}

/** FV0301: no C++ compiler. FV0302: it failed. */
export const buildEmulator = async (): Promise<Emulator> => {
  const cxx = await findCxx();
  const source = [emulatorHead, emulatorThreads, matrixThreads, wgmmaThreads, emulatorDriver, emulatorNvrtc].join('\n');
  const flags = [...kernelFlags, ...native];
  const version = hash('emulator', source, cxx.command, cxx.version, cpus()[0]?.model ?? '', ...flags);
  const folder = await cacheFolder();
  const path = placeOf(folder, version, 'so');
  const head = placeOf(folder, version, 'h');
  if (!(await sound(path))) {
    await replace(head, (temporary) => writeFile(temporary, emulatorHead));
    await produce(path, async (temporary) => {
      const text = `${temporary}.cpp`;
      await writeFile(text, source);
      const r = await run(cxx.command, ['-std=c++17', '-O2', '-fPIC', '-shared', '-pthread', '-w', text, '-o', temporary, '-ldl']);
      const kept = path.replace(/\.so$/, '.cpp');
      if (!r.ok) await rename(text, kept);
      await rm(text, { force: true });
      if (!r.ok) {
        const first = r.stderr.split('\n').find((l) => /error/.test(l)) ?? r.stderr.split('\n')[0];
        throw new FoveaError('FV0302', `${cxx.command} cannot compile the emulator: ${first}`, { hint: `The text is kept in ${kept}.` });
      }
    });
  }
  process.env['FOVEA_EMULATOR_CXX'] = [cxx.command, ...flags].join(' ');
  process.env['FOVEA_EMULATOR_HEAD'] = head;
  return { path, version };
};
