/**
 * `fovea bench WHAT --serve`: one program that is timed by turns with others, so that a slow minute of the machine hits all of them. Every
 * line of standard input is a number of runs, every line of standard output says how long each of them took; the end of the input ends it.
 *
 *   4
 *   {"seconds": [0.61, 0.6, 0.62, 0.6], "cpu": [1.19, 1.2, 1.19, 1.19], "peak_mib": 612.4}
 *
 * `cpu` is processor time of all threads of the process, which other programs disturb less than wall time; `peak_mib` is the largest
 * resident memory of the process so far. What compiling took is on standard error.
 */
import { createInterface } from 'node:readline';
import { FoveaError } from '../../compiler/error.ts';
import type { FloatType } from '../../compiler/graph/types.ts';
import type { Backend } from '../../index.ts';
import { peakMemory } from './measure.ts';
import { type Compiling, compiledKernels } from './prepared.ts';
import type { Case } from './types.ts';

export const serve = async (c: Case, backend: Backend, dtype: FloatType, how: Compiling): Promise<void> => {
  const p = await c.prepare(backend, dtype, how);
  const { plan } = p.report;
  const gflop = (plan?.launches.reduce((s, l) => s + l.flops, 0) ?? 0) / 1e9;
  console.error(
    `${c.name} ${c.shape} ${dtype}: compiled in ${(p.compileMs / 1e3).toFixed(1)} s (${plan?.kernels.length} kernels, ${compiledKernels(p.executable)} of them not in the cache), ${plan?.launches.length} launches, ${gflop.toFixed(1)} GFLOP by count, arena ${((plan?.arenaBytes ?? 0) / 2 ** 20).toFixed(0)} MiB`,
  );
  for await (const line of createInterface(process.stdin)) {
    const count = Number(line);
    if (!Number.isInteger(count) || count < 1)
      throw new FoveaError('FV0503', `--serve: '${line}' on standard input: expected a number of runs`, { hint: 'For example: 3.' });
    const [seconds, used]: [number[], number[]] = [[], []];
    for (let i = 0; i < count; i++) {
      const [start, before] = [performance.now(), process.cpuUsage()];
      await p.call();
      const { user, system } = process.cpuUsage(before);
      seconds.push((performance.now() - start) / 1e3);
      used.push((user + system) / 1e6);
    }
    console.log(JSON.stringify({ seconds, cpu: used, peak_mib: peakMemory() / 2 ** 20 }));
  }
  p.dispose();
};
