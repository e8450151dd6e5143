/**
 * Where the time of the demo's training step goes, kernel by kernel: `npx tsx bench/profile.ts`. For every launch the two numbers of
 * the roofline (arithmetic, bytes) stand next to the measured time.
 */
import { cpu } from '../backends/cpu/index.ts';
import type { CpuExecutable } from '../backends/cpu/runtime.ts';
import { compileGraph } from '../compiler/compile.ts';
import { flatten, type HostTensor, trace } from '../dsl/index.ts';
import { batches, loadFashion } from '../models/data/index.ts';
import { batchSpec, hyperAt, hyperSpec, initState, stateSpec, trainStep } from '../models/dinov2.ts';
import { geometry } from '../models/recipes/geometry.ts';
import { batchRecipe } from '../models/recipes/inputs.ts';
import { demo } from '../models/recipes.ts';

const backend = cpu();
const { graph } = trace(trainStep(demo), [stateSpec(demo), batchSpec(demo), hyperSpec()], { dims: geometry(demo).sizes });
const { executable, report } = await compileGraph(graph, { backend });
const plan = report.plan;
if (!plan) throw new Error('the cpu backend has a plan');
const args = [initState(demo, 0), batches(loadFashion().train, batchRecipe(demo), 0)(0), hyperAt(demo)(0)];
flatten(args).forEach(({ leaf }, i) => executable.write(i, (leaf as HostTensor).data));
await executable.run();
const times = await (executable as CpuExecutable).profile();

interface Row {
  readonly label: string;
  readonly phase: string;
  count: number;
  ms: number;
  flops: number;
  bytes: number;
  worst: number;
  where: string;
}
const rows = new Map<number, Row>();
plan.launches.forEach((l, i) => {
  const ms = 1e3 * (times[i] as number);
  const r = rows.get(l.kernel) ?? { label: l.label, phase: l.phase, count: 0, ms: 0, flops: 0, bytes: 0, worst: 0, where: l.scope };
  rows.set(l.kernel, {
    ...r,
    count: r.count + 1,
    ms: r.ms + ms,
    flops: r.flops + l.flops,
    bytes: r.bytes + l.bytes,
    worst: Math.max(r.worst, ms),
  });
});
const total = times.reduce((a, b) => a + b, 0);
const flops = plan.launches.reduce((s, l) => s + l.flops, 0);
const bytes = plan.launches.reduce((s, l) => s + l.bytes, 0);
console.log(
  `${plan.launches.length} launches, ${(1e3 * total).toFixed(1)} ms, ${(flops / 1e9).toFixed(2)} GFLOP, ${(bytes / 1e9).toFixed(2)} GB`,
);
console.log('   ms   x  GFLOP/s   GB/s  phase  kernel');
for (const r of [...rows.values()].sort((a, b) => b.ms - a.ms).slice(0, 40))
  console.log(
    `${r.ms.toFixed(1).padStart(6)} ${String(r.count).padStart(3)} ${(r.flops / r.ms / 1e6).toFixed(1).padStart(8)} ${(r.bytes / r.ms / 1e6).toFixed(1).padStart(6)}  ${r.phase}    ${r.label}  (${r.where})`,
  );
executable.dispose();
