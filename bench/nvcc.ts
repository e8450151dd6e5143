/** nvcc, called as NVRTC is: for who wants to know what becomes of a kernel where there is no GPU. `-Xptxas -v` says registers and spills in the log. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Nvrtc } from '../backends/cuda/nvrtc.ts';

const run = promisify(execFile);

/** Undefined where the command does not run. */
export const findNvcc = async (command = 'nvcc'): Promise<Nvrtc | undefined> => {
  const found = await run(command, ['--version']).then(
    () => true,
    () => false,
  );
  if (!found) return undefined;
  return {
    version: 'nvcc',
    knows: () => true,
    compile: async (text, architecture) => {
      const folder = mkdtempSync(join(tmpdir(), 'fovea-nvcc-'));
      try {
        const [from, to] = [join(folder, 'k.cu'), join(folder, 'k.cubin')];
        writeFileSync(from, text);
        const options = ['-std=c++17', '--fmad=false', '-arch', architecture, '-cubin', '-Xptxas', '-v', '-w', '-o', to, from];
        const { stderr } = await run(command, options, { maxBuffer: 1 << 26 });
        return { cubin: readFileSync(to), log: stderr };
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
};
