/**
 * Memory and time of a published size on the cpu backend: `npx tsx bench/real.ts vit_giant2 [224x224 98x154]`. Weights follow from the
 * formula of the recorded cases (a lazy tensor each), so no file is needed. Prints what the plan says and what the process used.
 */
import { readFileSync } from 'node:fs';
import { cpu } from '../backends/cpu/index.ts';
import { apply, compile, type F32, type Input, type LazyTensor, leaves, paramSpecs, pathTree, spec, treeMapWithPath } from '../index.ts';
import { floats } from '../models/parity/formula.ts';
import { architectures, published } from '../models/vit/presets.ts';
import { type VitParams, vit } from '../models/vit.ts';

const [name = 'vit_giant2', ...sizes] = process.argv.slice(2);
if (!(name in architectures)) throw new Error(`known: ${Object.keys(architectures).join(', ')}`);
const model = vit(published(name as keyof typeof architectures));

/** Largest memory of this process so far, in bytes: Linux's own figure where there is one. */
const peak = (): number => {
  try {
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
};
const shapes = new Map(leaves(model).map((l) => [l.path, l.shape as readonly number[]]));
const params = treeMapWithPath((path): LazyTensor => {
  const shape = shapes.get(path) as readonly number[];
  const fan = shape.slice(1).reduce((a, b) => a * b, 1);
  const scale = shape.length > 1 ? Math.sqrt(3 / fan) : 0.1;
  return { shape, dtype: 'f32', load: () => floats(path, fan * (shape[0] ?? 1), path.endsWith('norm.weight') ? 1 : 0, scale) };
}, pathTree(model)) as unknown as Input<VitParams>;
const count = [...shapes.values()].reduce((n, s) => n + s.reduce((a, b) => a * b, 1), 0);
const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
console.log(`${name}: ${count.toLocaleString('en')} parameters, ${gib(4 * count)}`);

for (const size of sizes.length > 0 ? sizes : ['224x224']) {
  const [height = 224, width = 224] = size.split('x').map(Number);
  const program = await compile(
    (p: VitParams, x: F32<'B 3 S W'>) => {
      const { cls, patches } = apply(model, p)(x);
      return { cls, patches };
    },
    [paramSpecs(model), spec('B 3 S W')],
    { backend: cpu(), dims: { B: 1, S: height, W: width } },
  );
  const image = { shape: [1, 3, height, width], dtype: 'f32' as const, data: floats('image', 3 * height * width, 0, 1.5) };
  const times: number[] = [];
  for (let i = 0; i < 4; i++) {
    const start = performance.now();
    await program(params, image);
    times.push((performance.now() - start) / 1e3);
  }
  const { plan, seconds } = program.report;
  const flops = plan?.launches.reduce((s, l) => s + l.flops, 0) ?? 0;
  const best = Math.min(...times.slice(1));
  console.log(
    `${size}: compile ${(seconds.passes + seconds.plan + seconds.backend).toFixed(1)} s (${plan?.kernels.length} kernels, ${plan?.launches.length} launches), ` +
      `arena ${gib(plan?.arenaBytes ?? 0)}; first call with weights ${times[0]?.toFixed(1)} s, then ${best.toFixed(2)} s ` +
      `(${(flops / 1e9).toFixed(0)} GFLOP, ${(flops / best / 1e9).toFixed(0)} GFLOP/s); peak ${gib(peak())}`,
  );
  program.dispose();
}
