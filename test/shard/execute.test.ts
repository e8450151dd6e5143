/** A run on ranks goes on between its launches, too: nothing is freed meanwhile, nor after it has failed with transfers under way. */
import { expect, test } from 'vitest';
import { simulated } from '../../backends/collectives/simulated.ts';
import { cpu } from '../../backends/cpu/index.ts';
import type { Communicator } from '../../compiler/collectives.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { groupsOf, onRanks } from '../../compiler/execute.ts';
import { parse } from '../../compiler/graph/parse.ts';
import type { Executable } from '../../compiler/target.ts';
import { type F32, shard, spec } from '../../index.ts';

const step = parse(`graph (%0 x: f32[4 2], %1 w: f32[2 3]) {
  %2: f32[4 3] = dot(%0, %1) batch=[][] contract=[1][0] dtype=f32
  %3: f32[2 3] = dot(%0, %2) batch=[][] contract=[0][0] dtype=f32 ; phase=bwd
  %4: f32[2 3] = sub(%1, %3) ; phase=opt
  return %4
}`);
const rank = async (world: Communicator): Promise<Executable> => {
  const plan = { place: (path: string) => (path === 'x' ? { split: 0 } : undefined) };
  const { executable, report } = await compileGraph(step, {
    backend: cpu({ threads: 1 }),
    donated: [1],
    shards: { ranks: world.size, plan },
  });
  if (!report.plan) throw new Error('no plan');
  return onRanks(executable, report.plan, await groupsOf(world, world.size));
};

test('what is asked of an executable while it waits for others is refused', async () => {
  const [a, b] = (await Promise.all(simulated(2).map(rank))) as [Executable, Executable];
  const running = a.run();
  // rank 0 has come to the gather of w, which rank 1 has not started
  await new Promise((r) => setTimeout(r, 50));
  expect(() => a.dispose()).toThrow('dispose: a run is in progress; await it first');
  expect(() => a.write(0, new Float32Array(4))).toThrow('write: a run is in progress');
  await expect(a.run()).rejects.toThrow('run: a run is in progress');
  await Promise.all([running, b.run()]);
  a.dispose();
  b.dispose();
  expect(() => a.read(0)).toThrow('this executable was disposed');
});

test('after a failed run there are no more, and the memory that peers may write to stays', async () => {
  const worlds = simulated(2);
  const [a] = (await Promise.all(worlds.map(rank))) as [Executable, Executable];
  const running = a.run();
  await new Promise((r) => setTimeout(r, 50));
  worlds[1]?.abort('no disk');
  await expect(running).rejects.toThrow('rank 1 gave up: no disk');
  await expect(a.run()).rejects.toThrow('rank 1 gave up: no disk');
  const last = a.memory?.view(0, 64) as Uint8Array;
  a.dispose();
  // memory that is no longer mapped would end this process
  expect(last.fill(7).every((x) => x === 7)).toBe(true);
});

test('a program is not disposed of while a call of it runs', async () => {
  const add = (x: F32<'N'>, y: F32<'N'>) => x.add(y);
  const programs = await Promise.all(
    simulated(2).map((world) => shard(add, world)([spec('N'), spec('N')], { backend: cpu({ threads: 1 }), dims: { N: 2 } })),
  );
  const one = { shape: [2], dtype: 'f32' as const, data: Float32Array.of(1, 2) };
  const calls = programs.map((p) => p(one, one));
  for (const p of programs) expect(() => p.dispose()).toThrow('the program is still running');
  await Promise.all(calls);
  for (const p of programs) p.dispose();
});
