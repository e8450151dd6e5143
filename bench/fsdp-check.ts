/**
 * `npm run fsdp:check`: trains the demo recipe for some steps on one process, on 1, 2, 4 and 8 simulated ranks, and over MPI on two ranks and on four
 * in groups of two, and compares the losses. All share a step among eight shards, so all compute the same; sums over ranks are added in another order,
 * so losses agree to float32's rounding, not to the bit: 1e-5 of a loss is allowed, some tens of roundings.
 *
 *   one process                  10.019279 9.900000 ...
 *   2 ranks, FULL_SHARD          10.019279 9.900000 ...      apart 0.0e+0
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { simulated } from '../backends/collectives/simulated.ts';
import { cpu } from '../backends/cpu/index.ts';
import type { ShardPlan, Strategy } from '../index.ts';
import { loadFashion } from '../models/data/index.ts';
import { batchPlacement } from '../models/dinov2/ranks.ts';
import { recipes } from '../models/recipes.ts';
import { spanning, startRun } from '../models/train/run.ts';

const root = join(import.meta.dirname, '..');
const steps = 5;
const allowed = 1e-5;
const [shards, batch] = [8, 4];

const dir = mkdtempSync(join(tmpdir(), 'fovea-fsdp-'));
const train = (out: string, more: readonly string[]): readonly string[] => [
  process.execPath,
  '--import',
  'tsx',
  join(root, 'cli/main.ts'),
  ...['train', '--steps', `${steps}`, '--batch', `${batch}`, '--shards', `${shards}`, '--out', join(dir, out), ...more],
];
const losses = (out: string, [command = '', ...args]: readonly string[]): readonly number[] => {
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  return readFileSync(join(dir, out, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((l) => (JSON.parse(l) as { losses: { loss: number } }).losses.loss);
};

/** The ranks of one process: losses of rank 0, and the bytes that each holds. */
const inOneProcess = async (ranks: number, plan: ShardPlan): Promise<{ readonly all: readonly number[]; readonly held: number }> => {
  const recipe = spanning({ ...recipes.demo, batch: batch * shards, shards }, steps);
  const images = loadFashion().train;
  const place = (path: string) => (path.startsWith('1.') ? batchPlacement(recipe, path.slice(2)) : undefined);
  const runs = simulated(ranks).map(async (world) => {
    const run = await startRun({ recipe, images, backend: cpu({ threads: 1 }), seed: 0, shards: { world, plan: { ...plan, place } } });
    const all: number[] = [];
    for await (const m of run.train(steps)) all.push(m.losses.loss);
    run.dispose();
    await world.close();
    return { all, held: run.report.plan?.arenaBytes ?? 0 };
  });
  return (await Promise.all(runs))[0] as { readonly all: readonly number[]; readonly held: number };
};

let worst = 0;
try {
  const one = losses('one', train('one', []));
  const line = (name: string, all: readonly number[], more: string): void =>
    console.log(`${name.padEnd(36)} ${all.map((x) => x.toFixed(6)).join(' ')}   ${more}`);
  const compare = (name: string, all: readonly number[], more = ''): void => {
    if (all.length !== steps || one.length !== steps) throw new Error(`${name}: ${all.length} of ${steps} steps`);
    const apart = Math.max(...all.map((x, i) => Math.abs(x / (one[i] as number) - 1)));
    worst = Math.max(worst, apart);
    line(name, all, `apart ${apart.toExponential(1)}${more}`);
  };
  line('one process', one, '');
  for (const ranks of [1, 2, 4, 8]) {
    const { all, held } = await inOneProcess(ranks, { strategy: 'FULL_SHARD' });
    compare(`${ranks} simulated, FULL_SHARD`, all, `   ${(held / 2 ** 20).toFixed(1)} MiB a rank`);
  }
  const mpirun = spawnSync('mpirun', ['--version'], { encoding: 'utf8' });
  if (mpirun.error) {
    console.log('There is no mpirun on this machine: ranks over MPI were not checked.');
    console.log('Install it, for example with: apt-get install openmpi-bin libopenmpi-dev');
  } else {
    // more ranks than processors, and containers where everything runs as root
    const options = /Open MPI|OpenRTE/.test(mpirun.stdout) ? ['--oversubscribe', '--allow-run-as-root'] : [];
    const jobs: readonly { readonly ranks: number; readonly strategy: Strategy; readonly group?: number }[] = [
      { ranks: 2, strategy: 'SHARD_GRAD_OP' },
      { ranks: 2, strategy: 'FULL_SHARD' },
      { ranks: 2, strategy: 'NO_SHARD' },
      { ranks: 4, strategy: 'FULL_SHARD', group: 2 },
    ];
    for (const { ranks, strategy, group } of jobs) {
      const out = `${ranks}-${strategy}`;
      const more = ['--ranks', `${ranks}`, '--strategy', strategy, ...(group ? ['--group', `${group}`] : [])];
      compare(
        `${ranks} over MPI, ${strategy}${group ? `, groups of ${group}` : ''}`,
        losses(out, ['mpirun', ...options, '-n', `${ranks}`, ...train(out, more)]),
      );
    }
  }
  console.log(`${worst <= allowed ? 'equal' : 'NOT EQUAL'}: losses are at most ${worst.toExponential(1)} apart, ${allowed} is allowed`);
  process.exitCode = worst <= allowed ? 0 : 1;
} finally {
  rmSync(dir, { recursive: true, force: true });
}
