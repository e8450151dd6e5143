/** Builds the double of NCCL by the system's C compiler, and starts a file of this folder on several ranks: a process each, on the emulated GPU. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findCompiler } from '../../../backends/cpu/toolchain.ts';
import { buildEmulator } from '../../../backends/cuda/emulator/build.ts';
import { FoveaError } from '../../../compiler/error.ts';

const root = join(import.meta.dirname, '../../..');

/** Why the tests cannot run here; undefined where they can. */
export const missing: string | undefined = await Promise.all([findCompiler(), buildEmulator()]).then(
  () => undefined,
  (e: unknown) => {
    if (e instanceof FoveaError && e.code === 'FV0301') return `skipped: ${e.message}. ${e.hint}`;
    throw e;
  },
);

/** The path of the library, in a folder that the caller removes. */
export const buildDouble = async (folder: string): Promise<string> => {
  const library = join(folder, 'libnccl-double.so');
  const { command } = await findCompiler();
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared'];
  execFileSync(command, [...flags, join(import.meta.dirname, 'double.c'), '-o', library, '-ldl'], { stdio: 'pipe' });
  return library;
};

export interface Rank {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `file` on `size` ranks, which get a folder to meet in, their number and `args`. */
export const onRanks = async (
  size: number,
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<readonly Rank[]> => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-ranks-'));
  try {
    return await Promise.all(
      Array.from({ length: size }, (_, rank) => {
        const child = spawn(
          process.execPath,
          ['--import', 'tsx', join(import.meta.dirname, file), join(folder, 'meet'), String(rank), String(size), ...args],
          { cwd: root, env: { ...process.env, FOVEA_PLANS: 'off', ...env } },
        );
        const late = setTimeout(() => child.kill('SIGKILL'), 100_000);
        let [stdout, stderr] = ['', ''];
        child.stdout.on('data', (d: Buffer) => {
          stdout += d.toString();
        });
        child.stderr.on('data', (d: Buffer) => {
          stderr += d.toString();
        });
        return new Promise<Rank>((resolve, reject) => {
          child.on('error', reject);
          child.on('close', (status, signal) => {
            clearTimeout(late);
            resolve({ status, signal, stdout, stderr });
          });
        });
      }),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

/** The start of every file that runs on ranks. */
export const place = (): { readonly folder: string; readonly rank: number; readonly size: number; readonly rest: readonly string[] } => {
  const [folder = '', rank = '', size = '', ...rest] = process.argv.slice(2);
  return { folder, rank: Number(rank), size: Number(size), rest };
};
