/**
 * Fovea as one of the peers: the programs of `fovea bench forward` and `fovea bench step` in a process of their own, with the protocol of
 * protocol.py. What the first compilation took is on standard error.
 *
 *   npx tsx bench/peers/fovea.ts forward --model vits14 --batch 8 --size 224 --dtype bf16 --threads 2
 */
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { cpu } from '../../backends/cpu/index.ts';
import { peakMemory } from '../../cli/bench/measure.ts';
import { casesOf } from '../../cli/bench/options.ts';
import { compiledKernels } from '../../cli/bench/prepared.ts';
import type { Case } from '../../cli/bench/types.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'vits14' },
    batch: { type: 'string', default: '4' },
    size: { type: 'string' },
    dtype: { type: 'string', default: 'f32' },
    threads: { type: 'string', default: '2' },
  },
});
const bench = positionals[0] === 'step' ? 'step' : 'forward';
const dtype = values.dtype === 'bf16' ? 'bf16' : 'f32';
const { model, size } = values;
const [made] = casesOf({ bench, dtype, model, batch: Number(values.batch), ...(size === undefined ? {} : { size }) }) as [Case];
const p = await made.prepare(cpu({ threads: Number(values.threads) }), dtype);
const { plan } = p.report;
const gflop = (plan?.launches.reduce((s, l) => s + l.flops, 0) ?? 0) / 1e9;
console.error(
  `fovea ${bench} ${made.name} ${made.shape} ${dtype}: compiled in ${(p.compileMs / 1e3).toFixed(1)} s (${plan?.kernels.length} kernels, ${compiledKernels(p.executable)} of them not in the cache), ${plan?.launches.length} launches, ${gflop.toFixed(1)} GFLOP by count, arena ${((plan?.arenaBytes ?? 0) / 2 ** 20).toFixed(0)} MiB`,
);
for await (const line of createInterface(process.stdin)) {
  const [seconds, used]: [number[], number[]] = [[], []];
  for (let i = 0; i < Number(line); i++) {
    const [start, before] = [performance.now(), process.cpuUsage()];
    await p.call();
    const { user, system } = process.cpuUsage(before);
    seconds.push((performance.now() - start) / 1e3);
    used.push((user + system) / 1e6);
  }
  console.log(JSON.stringify({ seconds, cpu: used, peak_mib: peakMemory() / 2 ** 20 }));
}
p.dispose();
