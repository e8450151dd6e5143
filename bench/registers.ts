/**
 * What nvcc makes of the CUDA kernels of a program, for each architecture: registers of a thread, bytes that do not fit them (spills, and arrays that
 * became memory), shared memory of a block. No GPU is needed. Exit status 1 where a kernel spills more than the budget.
 *
 *   npx tsx bench/registers.ts                                                ViT-S/14's forward pass on sm_80 and sm_90a
 *   npx tsx bench/registers.ts --bench step --dtype bf16 --arch sm_90a --budget 256
 */
import { parseArgs } from 'node:util';
import { gpus, kernelSymbol, partsOf, printCuda, type Usage, usageOf } from '../backends/cuda/index.ts';
import { casesOf } from '../cli/bench/options.ts';
import type { Bench } from '../cli/bench/types.ts';
import type { FloatType } from '../compiler/graph/types.ts';
import type { Executable, Plan } from '../index.ts';
import { findNvcc } from './nvcc.ts';

const { values } = parseArgs({
  options: {
    bench: { type: 'string', default: 'forward' },
    model: { type: 'string', default: 'vits14' },
    batch: { type: 'string' },
    dtype: { type: 'string', default: 'f32' },
    arch: { type: 'string', default: 'sm_80,sm_90a' },
    nvcc: { type: 'string', default: 'nvcc' },
    /** Bytes of spills a kernel. */
    budget: { type: 'string', default: '64' },
  },
});

/** The plan that a program becomes on a target, without anything to run it. */
const planFor = async (architecture: keyof typeof gpus): Promise<Plan> => {
  let found: Plan | undefined;
  const nothing = () => {
    throw new Error('only compiled');
  };
  const prepare = async (plan: Plan): Promise<Executable> => {
    found = plan;
    return {
      inputs: plan.inputs.map((s) => s.type),
      outputs: plan.outputs.map((s) => s.type),
      aliases: plan.aliases,
      write: nothing,
      run: nothing,
      read: nothing,
      dispose: () => {},
    };
  };
  const batch = values.batch === undefined ? {} : { batch: Number(values.batch) };
  const [only] = casesOf({ bench: values.bench as Bench, model: values.model, dtype: values.dtype as FloatType, ...batch });
  await only?.prepare({ kind: 'plan', name: 'cuda', target: gpus[architecture], prepare }, values.dtype as FloatType);
  return found as Plan;
};

const found = await findNvcc(values.nvcc);
if (!found) {
  console.error(`${values.nvcc} does not run: give the compiler of CUDA as --nvcc PATH`);
  process.exit(2);
}
const nvcc = found;

interface Row extends Usage {
  readonly name: string;
  readonly sharedBytes: number;
  readonly threads: number;
}

/** Kernels of a file at a time: starting nvcc takes longer than compiling one. */
const some = 12;
const usage = async (plan: Plan, architecture: string): Promise<readonly Row[]> => {
  const parts = partsOf(plan);
  const printed = plan.kernels.map((k, i) => ({ k, name: `k${i}`, ...printCuda(k, parts[i]) }));
  const files = Array.from({ length: Math.ceil(printed.length / some) }, (_, n) => printed.slice(n * some, (n + 1) * some));
  const made: Row[] = [];
  const compile = async (file: (typeof files)[number]): Promise<void> => {
    const text = [...new Set(file.flatMap((p) => p.prelude)), ...file.map((p) => p.text.replaceAll(kernelSymbol, p.name))].join('\n');
    const { log } = await nvcc.compile(text, architecture);
    for (const { k, name, sharedBytes } of file)
      made.push({ name: k.name, threads: k.threads, sharedBytes, ...(usageOf(log, name) as Usage) });
  };
  const worker = async (): Promise<void> => {
    for (let file = files.shift(); file; file = files.shift()) await compile(file);
  };
  await Promise.all([worker(), worker()]);
  return made;
};

let over = 0;
for (const architecture of values.arch.split(',') as (keyof typeof gpus)[]) {
  const plan = await planFor(architecture);
  const started = performance.now();
  const all = await usage(plan, architecture);
  const spilled = all.filter((u) => u.spilled > Number(values.budget));
  over += spilled.length;
  console.log(
    `\n${architecture}, ${values.bench} ${values.model} ${values.dtype}: ${all.length} kernels, ${all.filter((u) => u.spilled > 0).length} spill, ${all.filter((u) => u.stack > 0).length} have a stack (${((performance.now() - started) / 1e3).toFixed(0)} s)\n`,
  );
  console.log('| kernel | threads | registers | stack | spilled | shared |\n|---|---|---|---|---|---|');
  for (const u of [...all].sort((a, b) => b.spilled - a.spilled || b.stack - a.stack || b.registers - a.registers).slice(0, 24))
    console.log(`| ${u.name} | ${u.threads} | ${u.registers} | ${u.stack} | ${u.spilled} | ${u.sharedBytes} |`);
}
if (over > 0) {
  console.log(`\n${over} kernels spill more than ${values.budget} bytes`);
  process.exitCode = 1;
}
