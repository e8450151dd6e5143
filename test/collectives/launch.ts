/** Starts a file of this folder on several ranks, under each launcher of MPI that this machine has. */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

export interface Launcher {
  readonly name: 'Open MPI' | 'MPICH';
  readonly command: string;
  readonly options: readonly string[];
  /** Makes the launcher leave it to the survivors of a rank to end. */
  readonly patient: readonly string[];
}

/** What `mpirun --version` says; undefined where there is none. */
const versionOf = (command: string): string | undefined => {
  try {
    return execFileSync(command, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return undefined;
  }
};

/** Debian lets both stand side by side under names of their own. */
const found = (): readonly Launcher[] => {
  const all = ['mpirun.openmpi', 'mpirun.mpich', 'mpirun'].flatMap((command): Launcher[] => {
    const version = versionOf(command);
    if (version === undefined) return [];
    if (/Open MPI|OpenRTE/.test(version))
      return [{ name: 'Open MPI', command, options: ['--oversubscribe', '--allow-run-as-root'], patient: [] }];
    return /HYDRA|MPICH|Intel/.test(version) ? [{ name: 'MPICH', command, options: [], patient: ['-disable-auto-cleanup'] }] : [];
  });
  return all.filter((l, i) => all.findIndex((x) => x.name === l.name) === i);
};
export const launchers = found();

/** Printed where tests are left out. */
export const noMpi = 'skipped: no mpirun on this machine; apt-get install openmpi-bin libopenmpi-dev would run this';

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
export interface How {
  readonly env?: Readonly<Record<string, string>>;
  readonly patient?: boolean;
  /** Called with what has been printed so far. */
  readonly watch?: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void;
}

/** Runs `command` on `n` ranks. A job that hangs is ended after two minutes, which no test expects. */
export const underMpi = (
  l: Launcher,
  n: number,
  command: readonly string[],
  { env = {}, watch, patient = false }: How = {},
): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(l.command, [...l.options, ...(patient ? l.patient : []), '-n', String(n), ...command], {
      cwd: root,
      env: { ...process.env, ...env },
    });
    const late = setTimeout(() => child.kill('SIGKILL'), 120_000);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (d: Buffer) => {
      stdout += d.toString();
      watch?.(stdout, (signal) => child.kill(signal));
    });
    child.stderr.on('data', (d: Buffer) => {
      stderr += d.toString();
    });
    child.on('error', reject);
    child.on('close', (status) => {
      clearTimeout(late);
      resolve({ status, stdout, stderr });
    });
  });

/** A file of this folder, from the sources. */
export const script = (file: string, ...args: readonly string[]): readonly string[] => [
  process.execPath,
  '--import',
  'tsx',
  join(import.meta.dirname, file),
  ...args,
];
