/** Runs the real command in a process of its own. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { onTestFinished } from 'vitest';
import { compiled } from './compiled.ts';

const root = join(import.meta.dirname, '../..');

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
export interface How {
  readonly env?: Readonly<Record<string, string>>;
  /** Called with what has been printed so far; may send signals. */
  readonly watch?: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void;
  /** Largest file the process may write, in KiB. */
  readonly fileLimit?: number;
  /** All of standard input; none unless given. */
  readonly input?: string;
  /** The sources as they are, for files that import them; else what they compile to. */
  readonly fromSources?: boolean;
}

export const fovea = (args: readonly string[], { env = {}, watch, fileLimit, input, fromSources = false }: How = {}): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const command = [
      process.execPath,
      ...(fromSources ? ['--import', 'tsx', join(root, 'cli/main.ts')] : [join(compiled(), 'dist/cli/main.js')]),
      ...args,
    ];
    const { FOVEA_CC: _, ...inherited } = process.env;
    const options = { cwd: root, env: { ...inherited, ...env } };
    // a limit of the shell goes on to what it becomes
    const child =
      fileLimit === undefined
        ? spawn(command[0] as string, command.slice(1), options)
        : spawn('bash', ['-c', `ulimit -f ${fileLimit}; exec "$@"`, 'bash', ...command], options);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (d: Buffer) => {
      stdout += d.toString();
      watch?.(stdout, (signal) => child.kill(signal));
    });
    child.stderr.on('data', (d: Buffer) => {
      stderr += d.toString();
    });
    if (input !== undefined) child.stdin.end(input);
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });

/** A folder of its own, gone when the test ends. */
export const scratch = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'fovea-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

/** `count` different pictures of 32 x 32 pixels as PNG files. */
export const pictures = async (dir: string, count: number, from = 0): Promise<void> => {
  mkdirSync(dir, { recursive: true });
  for (let i = 0; i < count; i++) {
    const data = Uint8Array.from({ length: 32 * 32 * 3 }, (_, k) => (k * (i + from + 3) + (k >> 5) * 7) % 256);
    const file = join(dir, `${i}.png`);
    mkdirSync(dirname(file), { recursive: true });
    await sharp(data, { raw: { width: 32, height: 32, channels: 3 } })
      .png()
      .toFile(file);
  }
};
