/**
 * Everything that wants a real GPU, in one call: the laws, parity, the ladder of contractions from hand-written WGSL up, attention, forward passes
 * and the training step on the webgpu backend, or on cuda (without the hand-written rungs), and one table of it. With --python PyTorch runs beside on cuda: cuBLAS,
 * its flash attention, and the models of bench/forward.ts and bench/step.ts, eager and compiled; `of PyTorch` is its time over ours. On cuda, contractions and attention of
 * halves are timed by the units of warps and by those of warp groups (FOVEA_CUDA_UNITS). What fails is said and does not end the rest; the exit status is 1 then.
 *
 *   npx tsx bench/gpu.ts                                        on a GPU: some minutes
 *   npx tsx bench/gpu.ts --chrome PATH                          besides, jax-js, tfjs and ONNX Runtime Web in that browser, if they are installed
 *   npx tsx bench/gpu.ts --backend cuda --python PATH           on an NVIDIA GPU; PATH is a Python with torch
 *   npx tsx bench/gpu.ts --backend cuda --emulate               without one: all parts, on tiny sizes, which say nothing of speed
 *   npx tsx bench/gpu.ts --programs 4 --groups loss --shapes 65x64x64 --attention 1x2x33x16 --models vits14 --size 28 --step demo --batch 2 \
 *     --dtypes f32 --runs 1 --skip map,reduce                   on a software driver, whether all of it works
 *
 * Fovea is the built command (`npm run build`). Times are by the device's clock where it has one, the hand-written rungs' from this side.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { dawn } from '../backends/webgpu/index.ts';
import { median, python, words } from './contenders.ts';
import { installed, runPeers } from './gpu/browser.ts';
import { rungs, timePlain } from './gpu/plain.ts';
import { real, tiny } from './gpu/sizes.ts';

const { values: given } = parseArgs({
  options: {
    backend: { type: 'string', default: 'webgpu' },
    emulate: { type: 'boolean', default: false },
    python: { type: 'string' },
    dtypes: { type: 'string' },
    programs: { type: 'string' },
    seed: { type: 'string', default: '700000' },
    shapes: { type: 'string' },
    attention: { type: 'string' },
    /** Of maps and reductions; those of ViT-S/14 unless given. */
    rows: { type: 'string' },
    models: { type: 'string' },
    /** Pixels on a side of the forward passes' images, and how many. */
    size: { type: 'string' },
    images: { type: 'string' },
    step: { type: 'string' },
    batch: { type: 'string' },
    runs: { type: 'string' },
    skip: { type: 'string', default: '' },
    /** Recorded cases, and groups of them; real sizes are among those of test/goldens. */
    goldens: { type: 'string', default: 'test/goldens' },
    groups: { type: 'string' },
    chrome: { type: 'string' },
  },
});
const values = { ...(given.emulate ? tiny : real), ...given };
const skipped = new Set(values.skip.split(','));
const root = join(import.meta.dirname, '..');

interface Row {
  readonly what: string;
  readonly shape: string;
  readonly ms: string;
  readonly rate: string;
  readonly peak: string;
  readonly error: string;
  /** Time of the peer over ours. */
  ratio: string;
}
const rows: Row[] = [];
let failed = false;

/** Runs the command; the lines that it prints. */
const fovea = (args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<readonly string[]> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [join(root, 'dist/cli/main.js'), ...args, '--backend', values.backend, ...(values.emulate ? ['--emulate'] : [])],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, ...environment },
      },
    );
    const lines: string[] = [];
    createInterface(child.stdout).on('line', (l) => lines.push(l));
    child.on('close', (code) =>
      code === 0 ? resolve(lines) : reject(new Error(`fovea ${args.join(' ')}: exit status ${code}\n${lines.slice(-5).join('\n')}`)),
    );
  });
const part = async (name: string, work: () => Promise<void>): Promise<void> => {
  if (skipped.has(name)) return;
  const started = performance.now();
  try {
    await work();
  } catch (e) {
    failed = true;
    console.error(`${name}: ${e instanceof Error ? e.message : String(e)}`);
  }
  console.error(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
};
const bench = async (args: readonly string[], units?: string): Promise<void> => {
  for (const text of await fovea(
    ['bench', ...args, '--runs', values.runs, '--json'],
    units === undefined ? {} : { FOVEA_CUDA_UNITS: units },
  )) {
    const l = JSON.parse(text) as Record<string, number | string | null>;
    rows.push({
      what: `${l['bench']} ${l['case']} ${l['dtype']}${units === undefined ? '' : `, ${units}`}`,
      shape: String(l['shape']),
      ms: Number(l['median_ms']).toPrecision(4),
      rate: l['gflops'] ? `${Number(l['gflops']).toPrecision(4)} GFLOP/s` : `${Number(l['gbytes']).toPrecision(4)} GB/s`,
      peak: l['of_peak'] ? `${(100 * Number(l['of_peak'])).toFixed(0)} %` : '',
      error: l['error'] === null ? '' : String(l['error']),
      ratio: '',
    });
  }
};
/** By each of the units that could do it. */
const byUnits = async (dtype: string, ...args: readonly string[]): Promise<void> => {
  const units = values.backend === 'cuda' && dtype !== 'f32' ? ['mma', 'wgmma'] : [undefined];
  for (const unit of units) await bench([...args, '--dtype', dtype], unit);
};

/** The same work by a script of bench/peers on the GPU, where there is a Python for it. */
const torch = async (
  what: string,
  script: string,
  shape: string,
  options: Readonly<Record<string, string | number>>,
  flops: number,
  ours: readonly Row[],
): Promise<void> => {
  if (values.python === undefined || values.emulate) return;
  const peer = python(what, values.python, script, words({ shape, device: 'cuda', ...options }));
  try {
    await peer.run(3);
    const ms = 1e3 * median((await peer.run(Number(values.runs))).seconds);
    rows.push({ what, shape, ms: ms.toPrecision(4), rate: `${(flops / ms / 1e6).toPrecision(4)} GFLOP/s`, peak: '', error: '', ratio: '' });
    for (const r of ours) r.ratio = `${(ms / Number(r.ms)).toFixed(2)}x`;
  } finally {
    peer.stop();
  }
};
/** What it times: the rows that come. */
const added = async (work: () => Promise<void>): Promise<readonly Row[]> => {
  const before = rows.length;
  await work();
  return rows.slice(before);
};
/** A script of bench that compares whole models. It prints its own table; of ours, float32 is held against compiled PyTorch, bf16 against that in bf16. */
const contest = (script: string, options: Readonly<Record<string, string | number>>): Promise<void> =>
  new Promise((resolve, reject) => {
    const args = [
      '--import',
      'tsx',
      join(import.meta.dirname, script),
      ...words({ python: values.python ?? '', backend: 'cuda', ...options }),
    ];
    const found = new Map<string, number>();
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface(child.stdout).on('line', (l) => {
      console.log(l);
      if (!l.startsWith('{')) return;
      const { name, median } = JSON.parse(l) as { readonly name: string; readonly median: number };
      found.set(name, 1e3 * median);
    });
    child.on('close', (code) => {
      if (code !== 0) return reject(new Error(`${script}: exit status ${code}`));
      for (const [name, ms] of found) {
        const peer = found.get(against[name] ?? '');
        rows.push({
          what: `${script.replace('.ts', '')} by ${name}`,
          shape: String(options['model']),
          ms: ms.toPrecision(4),
          ...{ rate: '', peak: '', error: '' },
          ratio: peer === undefined ? '' : `${(peer / ms).toFixed(2)}x`,
        });
      }
      resolve();
    });
  });
const against: Readonly<Record<string, string>> = {
  'Fovea, f32': 'PyTorch, compiled',
  'Fovea, bf16': 'PyTorch, bf16 autocast, compiled',
};
const peers = 'eager,compiled,bf16,bf16-compiled';

await part('laws', async () => console.log((await fovea(['fuzz', '--programs', values.programs, '--seed', values.seed])).join('\n')));
await part('parity', async () => {
  const lines = await fovea(['parity', '--goldens', values.goldens, ...(values.groups ? ['--group', values.groups] : [])]);
  console.log(lines.at(-1));
});
await part('gemm', async () => {
  // devices live as long as the instance that they are of
  const gpu = values.backend === 'webgpu' ? await dawn() : undefined;
  for (const shape of values.shapes.split(',')) {
    const [m, n, k] = shape.split('x').map(Number) as [number, number, number];
    for (const [name, text] of gpu ? Object.entries(rungs) : []) {
      const { ms, error } = await timePlain(gpu as GPU, text, { m, n, k }, Number(values.runs));
      const rate = `${((2 * m * n * k) / ms / 1e6).toPrecision(4)} GFLOP/s`;
      rows.push({ what: `gemm NT by hand, ${name}`, shape, ms: ms.toPrecision(4), rate, peak: '', error: error.toPrecision(3), ratio: '' });
    }
    for (const dtype of values.dtypes.split(',')) {
      const ours = await added(() => byUnits(dtype, 'gemm', '--shape', shape, '--layout', 'NT'));
      await torch(`gemm NT by PyTorch (cuBLAS) ${dtype}`, 'gemm.py', shape, { dtype }, 2 * m * n * k, ours);
    }
  }
});
await part('attention', async () => {
  for (const shape of values.attention.split(',')) {
    const [images, heads, tokens, width] = shape.split('x').map(Number) as [number, number, number, number];
    const flops = 4 * images * heads * tokens * tokens * width;
    for (const dtype of values.dtypes.split(',')) {
      const forward = await added(() => byUnits(dtype, 'attention', '--shape', shape));
      await torch(`attention by PyTorch (flash) ${dtype}`, 'attention.py', shape, { dtype }, flops, forward);
      const backward = await added(() => byUnits(dtype, 'attention', '--shape', shape, '--backward'));
      await torch(`attention backward by PyTorch (flash) ${dtype}`, 'attention.py', shape, { dtype, backward: 1 }, 2.5 * flops, backward);
    }
  }
});
await part('peers', async () => {
  if (values.backend !== 'webgpu') return;
  if (!installed()) {
    console.error('peers: jax-js, tfjs and ONNX Runtime Web are not there; npm ci --prefix bench/gpu/peers installs them');
    return;
  }
  const cases = (['gemm', 'attention'] as const).flatMap((what) =>
    (what === 'gemm' ? values.shapes : values.attention).split(',').map((shape) => ({ what, shape: shape.split('x').map(Number) })),
  );
  const found = await runPeers(cases, Number(values.runs), values.chrome);
  found.forEach((list, i) => {
    const { what, shape } = cases[i] as (typeof cases)[number];
    for (const { name, ms = 0, gflops = 0, error = 0, failed } of list) {
      const row = { what: `${what === 'gemm' ? 'gemm NT' : what} by ${name} f32`, shape: shape.join('x'), ratio: '' };
      if (failed !== undefined) rows.push({ ...row, ms: '', rate: '', peak: '', error: failed });
      else rows.push({ ...row, ms: ms.toPrecision(4), rate: `${gflops.toPrecision(4)} GFLOP/s`, peak: '', error: error.toPrecision(3) });
    }
  });
});
const sized = values.rows === undefined ? ['--model', 'vits14'] : ['--shape', values.rows];
await part('map', () => bench(['map', ...sized]));
await part('reduce', () => bench(['reduce', ...sized]));
await part('forward', async () => {
  for (const model of values.models.split(',')) {
    for (const dtype of values.dtypes.split(','))
      await bench(['forward', '--model', model, '--batch', values.images, '--size', values.size, '--dtype', dtype]);
    if (values.python !== undefined && !values.emulate)
      await contest('forward.ts', { model, batch: values.images, size: values.size, peers });
  }
});
await part('step', async () => {
  const { step: model, batch } = values;
  for (const dtype of values.dtypes.split(',')) await bench(['step', '--model', model, '--batch', batch, '--dtype', dtype, '--no-check']);
  if (values.python !== undefined && !values.emulate) await contest('step.ts', { model, batch, peers });
});

const head: Row = { what: 'what', shape: 'shape', ms: 'median ms', rate: 'rate', peak: 'of peak', error: 'error', ratio: 'of PyTorch' };
console.log(`\n| ${Object.values(head).join(' | ')} |\n|${'---|'.repeat(Object.keys(head).length)}`);
for (const r of rows) console.log(`| ${Object.values(r).join(' | ')} |`);
process.exit(failed ? 1 : 0);
