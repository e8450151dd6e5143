/**
 * `npm run fsdp:check`: trains the demo recipe for some steps in one process and on two ranks over MPI, and compares the losses. Sums over ranks are
 * added in another order, so losses agree to float32's rounding, not to the bit: 1e-5 of a loss is allowed, some tens of roundings.
 *
 *   step 1   one process 10.019279   two ranks 10.019279   apart 0.0e+0
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const steps = 5;
const allowed = 1e-5;

const mpirun = spawnSync('mpirun', ['--version'], { encoding: 'utf8' });
if (mpirun.error) {
  console.log('There is no mpirun on this machine: nothing was checked.');
  console.log('Install it, for example with: apt-get install openmpi-bin libopenmpi-dev');
  process.exit(0);
}
// more ranks than processors, and containers where everything runs as root
const options = /Open MPI|OpenRTE/.test(mpirun.stdout) ? ['--oversubscribe', '--allow-run-as-root'] : [];

const dir = mkdtempSync(join(tmpdir(), 'fovea-fsdp-'));
try {
  const train = (out: string, more: readonly string[]): readonly string[] => [
    process.execPath,
    '--import',
    'tsx',
    join(root, 'cli/main.ts'),
    ...['train', '--steps', String(steps), '--batch', '16', '--out', join(dir, out), ...more],
  ];
  const run = (what: string, [command = '', ...args]: readonly string[]): void => {
    console.log(`${what} ...`);
    execFileSync(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  };
  const losses = (out: string): readonly number[] =>
    readFileSync(join(dir, out, 'metrics.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((l) => (JSON.parse(l) as { losses: { loss: number } }).losses.loss);
  run('one process', train('one', ['--shards', '2']));
  for (const strategy of ['SHARD_GRAD_OP', 'FULL_SHARD', 'NO_SHARD'])
    run(`two ranks, ${strategy}`, ['mpirun', ...options, '-n', '2', ...train(strategy, ['--ranks', '2', '--strategy', strategy])]);
  let worst = 0;
  const one = losses('one');
  for (const strategy of ['SHARD_GRAD_OP', 'FULL_SHARD', 'NO_SHARD']) {
    const two = losses(strategy);
    if (two.length !== steps || one.length !== steps) throw new Error(`${strategy}: ${two.length} of ${steps} steps`);
    two.forEach((x, i) => {
      const y = one[i] as number;
      const apart = Math.abs(x - y) / Math.abs(y);
      worst = Math.max(worst, apart);
      console.log(
        `${strategy.padEnd(14)} step ${i + 1}   one process ${y.toFixed(6)}   two ranks ${x.toFixed(6)}   apart ${apart.toExponential(1)}`,
      );
    });
  }
  console.log(`${worst <= allowed ? 'equal' : 'NOT EQUAL'}: losses are at most ${worst.toExponential(1)} apart, ${allowed} is allowed`);
  process.exitCode = worst <= allowed ? 0 : 1;
} finally {
  rmSync(dir, { recursive: true, force: true });
}
