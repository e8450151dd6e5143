/**
 * `npx tsx bench/overlap.ts`: how much of what two ranks over MPI send to each other hides behind their arithmetic, measured, and as the cost model predicts it
 * (compiler/plan/cost.ts). The model is given what was measured of this machine: bytes a second and the latency of a gather of its own, and rates of
 * arithmetic at which the launches of the fastest step take what they took. What is left to predict is when transfers are under way, and who waits for them.
 *
 *   FULL_SHARD      predicted: step 105 ms, stalled 8 ms, 60 % hidden       measured: step 120 ms, stalled 20 ms
 */
import { spawnSync } from 'node:child_process';
import { addressOf } from '../backends/collectives/mpi/bind.ts';
import { launchOf, mpiWorld } from '../backends/collectives/mpi/index.ts';
import { cpu, cpuTarget } from '../backends/cpu/index.ts';

import type { Collective, Communicator } from '../compiler/collectives.ts';
import { stepCost } from '../compiler/plan/cost.ts';
import type { ShardPlan } from '../index.ts';
import { loadFashion } from '../models/data/index.ts';
import { batchPlacement } from '../models/dinov2/ranks.ts';
import { recipes } from '../models/recipes.ts';
import { spanning, startRun } from '../models/train/run.ts';

const steps = 30;
const ms = (s: number): string => `${(1e3 * s).toFixed(1)} ms`;

/** Seconds of an all-gather to which each rank gives `bytes`: the fastest of 20, as others may use the processors. */
const gather = async (world: Communicator, bytes: number): Promise<number> => {
  const buffer = new ArrayBuffer(bytes * (world.size + 1));
  const memory = { address: addressOf(new Uint8Array(buffer)), view: (at: number, n: number) => new Uint8Array(buffer, at, n) };
  const segments = [{ send: 0, receive: bytes, count: bytes / 4 }];
  const c: Collective = { kind: 'all-gather', group: 'world', dtype: 'f32', reduction: 'sum', segments, scope: 'bench', phase: 'fwd' };
  const all: number[] = [];
  for (let i = 0; i < 20; i++) {
    await world.exchange('');
    const since = performance.now();
    await world.wait(world.start(c, memory));
    all.push((performance.now() - since) / 1e3);
  }
  return Math.min(...all);
};

/** The communicator, and of each step the seconds from its first start to the end of its last wait, and those spent in waits. */
const timed = (world: Communicator) => {
  let [first, last, waited] = [-1, 0, 0];
  const carrier: Communicator = {
    ...world,
    start: (...a) => {
      if (first < 0) first = performance.now();
      return world.start(...a);
    },
    wait: async (ticket) => {
      const since = performance.now();
      await world.wait(ticket);
      last = performance.now();
      waited += last - since;
    },
  };
  const taken = (): { readonly step: number; readonly stalled: number } => {
    const out = { step: (last - first) / 1e3, stalled: waited / 1e3 };
    [first, waited] = [-1, 0];
    return out;
  };
  return { carrier, taken };
};

const rank = async (launch: NonNullable<ReturnType<typeof launchOf>>): Promise<void> => {
  const job = await mpiWorld(launch);
  const world = job.communicator;
  const say = (text: string): void => {
    if (world.rank === 0) console.log(text);
  };
  const large = 1 << 22;
  const latency = await gather(world, 4);
  const link = ((world.size - 1) * large) / ((await gather(world, large)) - latency);
  say(
    `${world.size} ranks over ${job.library.split(',')[0]}: ${(link / 1e9).toFixed(2)} GB/s, ${(1e6 * latency).toFixed(0)} us a transfer`,
  );
  const recipe = spanning({ ...recipes.demo, batch: 16 * world.size, shards: world.size }, steps);
  const place = (path: string) => (path.startsWith('1.') ? batchPlacement(recipe, path.slice(2)) : undefined);
  const plans: readonly ShardPlan[] = [
    { strategy: 'SHARD_GRAD_OP' },
    { strategy: 'FULL_SHARD' },
    { strategy: 'FULL_SHARD', prefetch: 0 },
    { strategy: 'NO_SHARD' },
  ];
  for (const plan of plans) {
    const { carrier, taken } = timed(world);
    const run = await startRun({
      recipe,
      images: loadFashion().train,
      backend: cpu({ threads: 1 }),
      seed: 0,
      shards: { world: carrier, plan: { ...plan, place } },
    });
    const all: ReturnType<typeof taken>[] = [];
    for await (const _ of run.train(steps)) all.push(taken());
    // the first steps touch memory for the first time
    const { step, stalled } = all.slice(2).sort((a, b) => a.step - b.step)[0] as (typeof all)[number];
    const { plan: made } = run.report;
    if (!made) throw new Error('the step has no plan');
    const sizes = { world: world.size, shard: world.size, replica: 1 };
    const { flops, bytes } = cpuTarget(1).peak;
    const roof = stepCost(made, sizes, { flops, memory: bytes, link, latency }).seconds.compute;
    const slower = (step - stalled) / roof;
    const { seconds } = stepCost(made, sizes, { flops: flops / slower, memory: bytes / slower, link, latency });
    const hidden = (s: number): string => `${(100 * Math.max(0, 1 - s / seconds.transfer)).toFixed(0)} %`;
    const name = `${plan.strategy}${plan.prefetch === undefined ? '' : `, prefetch ${plan.prefetch}`}`;
    say(
      `${name.padEnd(24)} ${made.collectives.length} transfers of ${ms(seconds.transfer)}; predicted: step ${ms(seconds.step)}, stalled ${ms(seconds.stalled)}, ${hidden(seconds.stalled)} hidden; measured: step ${ms(step)}, stalled ${ms(stalled)}, ${hidden(stalled)}`,
    );
    run.dispose();
  }
  await job.finish();
};

const launch = launchOf();
if (launch) {
  await rank(launch);
} else {
  const self = [process.execPath, '--import', 'tsx', import.meta.filename];
  const version = spawnSync('mpirun', ['--version'], { encoding: 'utf8' });
  if (version.error) {
    console.log('There is no mpirun on this machine. Install it, for example with: apt-get install openmpi-bin libopenmpi-dev');
    process.exitCode = 1;
  } else {
    const options = /Open MPI|OpenRTE/.test(version.stdout) ? ['--oversubscribe', '--allow-run-as-root'] : [];
    process.exitCode = spawnSync('mpirun', [...options, '-n', '2', ...self], { stdio: 'inherit' }).status ?? 1;
  }
}
