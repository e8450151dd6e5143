/**
 * The demo's training step against the same step in PyTorch, side by side in one run: `npx tsx bench/step.ts --python PATH`, where
 * PATH is a Python with torch. Rounds of a few steps alternate between the programs, so that a slow minute of the machine hits all
 * of them; what is printed are medians and their ratio. Without Python only Fovea is timed.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { cpu } from '../backends/cpu/index.ts';
import { compile } from '../index.ts';
import { batches, loadFashion } from '../models/data/index.ts';
import { batchSpec, hyperAt, hyperSpec, initState, stateSpec, trainStep } from '../models/dinov2.ts';
import { geometry } from '../models/recipes/geometry.ts';
import { batchRecipe } from '../models/recipes/inputs.ts';
import { demo } from '../models/recipes.ts';

const { values } = parseArgs({
  options: {
    python: { type: 'string' },
    rounds: { type: 'string', default: '8' },
    steps: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});
const [rounds, steps, threads] = [Number(values.rounds), Number(values.steps), Number(values.threads)];

/** Runs n steps and gives the seconds of each. */
type Contender = { readonly name: string; run(n: number): Promise<readonly number[]>; stop(): void };

const fovea = async (): Promise<Contender> => {
  const step = await compile(trainStep(demo), [stateSpec(demo), batchSpec(demo), hyperSpec()], {
    backend: cpu({ threads }),
    dims: geometry(demo).sizes,
    donate: [0],
  });
  const batch = batches(loadFashion().train, batchRecipe(demo), 0)(0);
  const hyper = hyperAt(demo)(20);
  let { state } = await step(initState(demo, 0), batch, hyper);
  const { plan, seconds } = step.report;
  const flops = plan?.launches.reduce((s, l) => s + l.flops, 0) ?? 0;
  console.log(
    `fovea: ${(flops / 1e9).toFixed(1)} GFLOP a step by count, compile ${(seconds.passes + seconds.plan + seconds.backend).toFixed(1)} s, arena ${((plan?.arenaBytes ?? 0) / 2 ** 20).toFixed(0)} MiB`,
  );
  return {
    name: 'fovea',
    run: async (n) => {
      const out: number[] = [];
      for (let i = 0; i < n; i++) {
        const start = performance.now();
        ({ state } = await step(state, batch, hyper));
        out.push((performance.now() - start) / 1e3);
      }
      return out;
    },
    stop: () => step.dispose(),
  };
};

const torch = (python: string, name: string, more: readonly string[]): Contender => {
  const script = join(import.meta.dirname, 'peers/dinov2_torch.py');
  const child: ChildProcessWithoutNullStreams = spawn(python, [script, '--time', '1', '--threads', String(threads), ...more]);
  child.stderr.on('data', (d: Buffer) => process.stderr.write(d));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    name,
    run: async (n) => {
      child.stdin.write(`${n}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`${name} ended early`);
      return JSON.parse(value as string) as number[];
    },
    stop: () => child.stdin.end(),
  };
};

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[Math.floor(xs.length / 2)] as number;

console.log(`${cpus()[0]?.model}, ${threads} threads; demo recipe, float32, batch ${demo.batch}`);
const contenders = [
  await fovea(),
  ...(values.python ? [torch(values.python, 'pytorch eager', []), torch(values.python, 'pytorch compiled', ['--compile', '1'])] : []),
];
for (const c of contenders) await c.run(3); // warm up: compile, caches, allocator
const times = contenders.map((): number[] => []);
for (let r = 0; r < rounds; r++) for (const [i, c] of contenders.entries()) times[i]?.push(...(await c.run(steps)));
const ours = median(times[0] as number[]);
contenders.forEach((c, i) => {
  const t = times[i] as number[];
  const m = median(t);
  console.log(
    `${c.name.padEnd(17)} median ${(1e3 * m).toFixed(0).padStart(5)} ms a step (min ${(1e3 * Math.min(...t)).toFixed(0)}, max ${(1e3 * Math.max(...t)).toFixed(0)}, ${t.length} steps)  ${(demo.batch / m).toFixed(0)} images/s  ${(m / ours).toFixed(2)}x`,
  );
  c.stop();
});
