/**
 * Everything that wants a real GPU, in one call: the laws, parity, the ladder of contractions from hand-written WGSL up, attention, forward passes
 * and the training step on the webgpu backend, or on cuda (without the hand-written rungs), and one table of it. With --python PyTorch runs beside on cuda: cuBLAS,
 * its flash attention, and the models of bench/forward.ts and bench/step.ts, eager and compiled. What fails is said and does not end the rest; the exit status is 1 then.
 *
 *   npx tsx bench/gpu.ts                                        on a GPU: some minutes
 *   npx tsx bench/gpu.ts --chrome PATH                          besides, jax-js, tfjs and ONNX Runtime Web in that browser, if they are installed
 *   npx tsx bench/gpu.ts --backend cuda --python PATH           on an NVIDIA GPU; PATH is a Python with torch
 *   npx tsx bench/gpu.ts --backend cuda --emulate --programs 20 --shapes 64x64x64 --skip parity,attention,map,reduce,forward,step
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

const { values } = parseArgs({
  options: {
    backend: { type: 'string', default: 'webgpu' },
    emulate: { type: 'boolean', default: false },
    python: { type: 'string' },
    dtypes: { type: 'string', default: 'f32,bf16' },
    programs: { type: 'string', default: '500' },
    seed: { type: 'string', default: '700000' },
    shapes: { type: 'string', default: '2056x1152x384,2056x384x384,2056x1536x384,2056x384x1536,357x65536x256,4096x4096x4096' },
    attention: { type: 'string', default: '8x6x257x64,1x12x1370x64,1x2x5000x64' },
    models: { type: 'string', default: 'vits14,vitb14,vitl14' },
    /** Pixels on a side of the forward passes' images. */
    size: { type: 'string', default: '224' },
    step: { type: 'string', default: 'vitl14' },
    batch: { type: 'string', default: '4' },
    runs: { type: 'string', default: '10' },
    skip: { type: 'string', default: '' },
    groups: { type: 'string' },
    chrome: { type: 'string' },
  },
});
const skipped = new Set(values.skip.split(','));
const root = join(import.meta.dirname, '..');

interface Row {
  readonly what: string;
  readonly shape: string;
  readonly ms: string;
  readonly rate: string;
  readonly peak: string;
  readonly error: string;
}
const rows: Row[] = [];
let failed = false;

/** Runs the command; the lines that it prints. */
const fovea = (...args: readonly string[]): Promise<readonly string[]> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [join(root, 'dist/cli/main.js'), ...args, '--backend', values.backend, ...(values.emulate ? ['--emulate'] : [])],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
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
const bench = async (...args: readonly string[]): Promise<void> => {
  for (const text of await fovea('bench', ...args, '--runs', values.runs, '--json')) {
    const l = JSON.parse(text) as Record<string, number | string | null>;
    rows.push({
      what: `${l['bench']} ${l['case']} ${l['dtype']}`,
      shape: String(l['shape']),
      ms: Number(l['median_ms']).toPrecision(4),
      rate: l['gflops'] ? `${Number(l['gflops']).toPrecision(4)} GFLOP/s` : `${Number(l['gbytes']).toPrecision(4)} GB/s`,
      peak: l['of_peak'] ? `${(100 * Number(l['of_peak'])).toFixed(0)} %` : '',
      error: l['error'] === null ? '' : String(l['error']),
    });
  }
};

/** The same work by a script of bench/peers on the GPU, where there is a Python for it. */
const torch = async (
  what: string,
  script: string,
  shape: string,
  options: Readonly<Record<string, string | number>>,
  flops: number,
): Promise<void> => {
  if (values.python === undefined) return;
  const peer = python(what, values.python, script, words({ shape, device: 'cuda', ...options }));
  try {
    await peer.run(3);
    const ms = 1e3 * median((await peer.run(Number(values.runs))).seconds);
    rows.push({ what, shape, ms: ms.toPrecision(4), rate: `${(flops / ms / 1e6).toPrecision(4)} GFLOP/s`, peak: '', error: '' });
  } finally {
    peer.stop();
  }
};
/** A script of bench that compares whole models; it prints its own table. */
const contest = (script: string, options: Readonly<Record<string, string | number>>): Promise<void> =>
  new Promise((resolve, reject) => {
    const args = [
      '--import',
      'tsx',
      join(import.meta.dirname, script),
      ...words({ python: values.python ?? '', backend: 'cuda', ...options }),
    ];
    spawn(process.execPath, args, { stdio: 'inherit' }).on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${script}: exit status ${code}`)),
    );
  });
const peers = 'eager,compiled,bf16,bf16-compiled';

await part('laws', async () => console.log((await fovea('fuzz', '--programs', values.programs, '--seed', values.seed)).join('\n')));
await part('parity', async () => {
  const lines = await fovea('parity', '--goldens', 'test/goldens', ...(values.groups ? ['--group', values.groups] : []));
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
      rows.push({ what: `gemm NT by hand, ${name}`, shape, ms: ms.toPrecision(4), rate, peak: '', error: error.toPrecision(3) });
    }
    for (const dtype of values.dtypes.split(',')) {
      await bench('gemm', '--shape', shape, '--layout', 'NT', '--dtype', dtype);
      await torch(`gemm NT by PyTorch (cuBLAS) ${dtype}`, 'gemm.py', shape, { dtype }, 2 * m * n * k);
    }
  }
});
await part('attention', async () => {
  for (const shape of values.attention.split(',')) {
    const [images, heads, tokens, width] = shape.split('x').map(Number) as [number, number, number, number];
    const flops = 4 * images * heads * tokens * tokens * width;
    for (const dtype of values.dtypes.split(',')) {
      await bench('attention', '--shape', shape, '--dtype', dtype);
      await torch(`attention by PyTorch ${dtype}`, 'attention.py', shape, { dtype }, flops);
      await bench('attention', '--shape', shape, '--dtype', dtype, '--backward');
      await torch(`attention backward by PyTorch ${dtype}`, 'attention.py', shape, { dtype, backward: 1 }, 2.5 * flops);
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
      const row = { what: `${what === 'gemm' ? 'gemm NT' : what} by ${name} f32`, shape: shape.join('x') };
      if (failed !== undefined) rows.push({ ...row, ms: '', rate: '', peak: '', error: failed });
      else rows.push({ ...row, ms: ms.toPrecision(4), rate: `${gflops.toPrecision(4)} GFLOP/s`, peak: '', error: error.toPrecision(3) });
    }
  });
});
await part('map', () => bench('map', '--model', 'vits14'));
await part('reduce', () => bench('reduce', '--model', 'vits14'));
await part('forward', async () => {
  for (const model of values.models.split(',')) {
    for (const dtype of values.dtypes.split(','))
      await bench('forward', '--model', model, '--batch', '8', '--size', values.size, '--dtype', dtype);
    if (values.python !== undefined) await contest('forward.ts', { model, batch: 8, peers });
  }
});
await part('step', async () => {
  const { step: model, batch } = values;
  for (const dtype of values.dtypes.split(',')) await bench('step', '--model', model, '--batch', batch, '--dtype', dtype, '--no-check');
  if (values.python !== undefined) await contest('step.ts', { model, batch, peers });
});

const head: Row = { what: 'what', shape: 'shape', ms: 'median ms', rate: 'rate', peak: 'of peak', error: 'error' };
console.log(`\n| ${Object.values(head).join(' | ')} |\n|${'---|'.repeat(Object.keys(head).length)}`);
for (const r of rows) console.log(`| ${Object.values(r).join(' | ')} |`);
process.exit(failed ? 1 : 0);
