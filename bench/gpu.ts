/**
 * Everything that wants a real GPU, in one call: the laws, parity, the ladder of contractions from hand-written WGSL up, attention, forward passes
 * and the training step on the webgpu backend, or on cuda or the processor (without the hand-written rungs), and one table of it. With --python PyTorch runs beside, but for
 * webgpu: its products, its flash attention, and the models of bench/forward.ts and bench/step.ts, eager and compiled; `of PyTorch` is its time over ours. On cuda, contractions and attention of
 * halves are timed by the units of warps and by those of warp groups (FOVEA_CUDA_UNITS). What fails is said and does not end the rest; the exit status is 1 then.
 *
 *   npx tsx bench/gpu.ts                                        on a GPU: some minutes
 *   npx tsx bench/gpu.ts --chrome PATH                          besides, jax-js, tfjs and ONNX Runtime Web in that browser, if they are installed;
 *                                                               --software-peers: in the tests' browser, on the processor
 *   npx tsx bench/gpu.ts --backend cuda --python PATH           on an NVIDIA GPU; PATH is a Python with torch
 *   npx tsx bench/gpu.ts --backend cuda --emulate               without one: all parts, on tiny sizes, which say nothing of speed
 *   npx tsx bench/gpu.ts --backend cpu --python PATH --json     on the processor, an object a row instead of the table
 *   npx tsx bench/gpu.ts --programs 4 --groups loss --shapes 65x64x64 --attention 1x2x33x16 --models vits14 --size 28 --step demo --batch 2 \
 *     --dtypes f32 --runs 1 --skip map,reduce --software-peers  on a software driver, whether all of it works
 *
 * Fovea is the built command (`npm run build`). Times of kernels, the hand-written ones too, are medians by the device's clock where it has one; those of
 * calls, and of all that runs in a browser, are medians of what a user waits. No case takes longer than `--seconds`.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { dawn } from '../backends/webgpu/index.ts';
import { median, python, words } from './contenders.ts';
import { installed, runPeers } from './gpu/browser.ts';
import { rungs, timePlain } from './gpu/plain.ts';
import { processor, real, tiny } from './gpu/sizes.ts';

const { values: given } = parseArgs({
  options: {
    backend: { type: 'string', default: 'webgpu' },
    emulate: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    python: { type: 'string' },
    dtypes: { type: 'string' },
    programs: { type: 'string' },
    seed: { type: 'string', default: '700000' },
    shapes: { type: 'string' },
    attention: { type: 'string' },
    /** Of maps and reductions; those of ViT-S/14 unless given. */
    rows: { type: 'string' },
    models: { type: 'string' },
    /** Pixels on a side of the forward passes' images. */
    size: { type: 'string' },
    images: { type: 'string' },
    /** Recorded cases; real sizes are among those of test/goldens. */
    goldens: { type: 'string', default: 'test/goldens' },
    step: { type: 'string' },
    batch: { type: 'string' },
    runs: { type: 'string' },
    skip: { type: 'string', default: '' },
    groups: { type: 'string' },
    chrome: { type: 'string' },
    'software-peers': { type: 'boolean', default: false },
    /** The longest that a case may take; ten times as much for the laws and for parity. */
    seconds: { type: 'string', default: '600' },
  },
});
const values = { ...(given.emulate ? tiny : given.backend === 'cpu' ? processor : real), ...given };
const seconds = Number(values.seconds);
const skipped = new Set(values.skip.split(','));
const root = join(import.meta.dirname, '..');

interface Row {
  readonly what: string;
  readonly shape: string;
  readonly ms: string;
  readonly rate: string;
  readonly peak: string;
  /** Largest difference from float64 over the largest value; of laws and cases, what came of them. */
  readonly error: string;
  readonly device: string;
  /** Time of the peer over ours. */
  ratio: string;
}
const rows: Row[] = [];
const row = (what: string, shape: string, rest: Partial<Row>): void => {
  rows.push({ what, shape, ms: '', rate: '', peak: '', error: '', device: '', ratio: '', ...rest });
};
const flopsPerSecond = (flops: number, ms: number): string => `${(flops / ms / 1e6).toPrecision(4)} GFLOP/s`;
/** As the last line of `fovea bench` called it. */
let device = '';
let failed = false;

/** Runs the command, for `most` seconds at most; the lines that it prints. */
const fovea = (most: number, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<readonly string[]> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [join(root, 'dist/cli/main.js'), ...args, '--backend', values.backend, ...(values.emulate ? ['--emulate'] : [])],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, ...environment },
        timeout: 1000 * most,
        killSignal: 'SIGKILL',
      },
    );
    const lines: string[] = [];
    createInterface(child.stdout).on('line', (l) => lines.push(l));
    child.on('close', (code, signal) => {
      const end = signal === 'SIGKILL' ? `ended after ${most} s` : `exit status ${code}`;
      if (code === 0) resolve(lines);
      else reject(new Error(`fovea ${args.join(' ')}: ${end}\n${lines.slice(-5).join('\n')}`));
    });
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
/** A case that fails is a row that says so; the others go on. */
const tried = async (what: string, shape: string, work: () => Promise<void>): Promise<void> => {
  try {
    await work();
  } catch (e) {
    failed = true;
    const why = e instanceof Error ? e.message : String(e);
    console.error(`${what} ${shape}: ${why}`);
    row(what, shape, { error: `failed: ${why.split('\n')[0]}`, device });
  }
};
const bench = (args: readonly string[], units?: string): Promise<void> =>
  tried(`bench ${args[0]}`, args.slice(1).join(' '), async () => {
    for (const text of await fovea(
      seconds,
      ['bench', ...args, '--runs', values.runs, '--json'],
      units === undefined ? {} : { FOVEA_CUDA_UNITS: units },
    )) {
      const l = JSON.parse(text) as Record<string, number | string | null>;
      device = String(l['machine']);
      row(`${l['bench']} ${l['case']} ${l['dtype']}${units === undefined ? '' : `, ${units}`}`, String(l['shape']), {
        ms: Number(l['median_ms']).toPrecision(4),
        rate: l['gflops'] ? `${Number(l['gflops']).toPrecision(4)} GFLOP/s` : `${Number(l['gbytes']).toPrecision(4)} GB/s`,
        peak: l['of_peak'] ? `${(100 * Number(l['of_peak'])).toFixed(0)} %` : '',
        error: l['error'] === null ? '' : String(l['error']),
        device,
      });
    }
  });

/** By each of the units that could do it. */
const byUnits = async (dtype: string, ...args: readonly string[]): Promise<void> => {
  const units = values.backend === 'cuda' && dtype !== 'f32' ? ['mma', 'wgmma'] : [undefined];
  for (const unit of units) await bench([...args, '--dtype', dtype], unit);
};
/** What it times: the rows that come. */
const added = async (work: () => Promise<void>): Promise<readonly Row[]> => {
  const before = rows.length;
  await work();
  return rows.slice(before);
};

/** The same work by a script of bench/peers on the same device, where there is a Python for it. */
const torch = async (
  what: string,
  script: string,
  shape: string,
  options: Readonly<Record<string, string | number>>,
  flops: number,
  ours: readonly Row[],
): Promise<void> => {
  if (values.python === undefined || values.emulate || values.backend === 'webgpu') return;
  const peer = python(what, values.python, script, words({ shape, device: values.backend, ...options }));
  try {
    await peer.run(3);
    const ms = 1e3 * median((await peer.run(Number(values.runs))).seconds);
    row(what, shape, { ms: ms.toPrecision(4), rate: flopsPerSecond(flops, ms), device });
    for (const o of ours) if (o.ms !== '') o.ratio = `${(ms / Number(o.ms)).toFixed(2)}x`;
  } finally {
    peer.stop();
  }
};
const against: Readonly<Record<string, string>> = {
  'Fovea, f32': 'PyTorch, compiled',
  'Fovea, bf16': 'PyTorch, bf16 autocast, compiled',
};
/** A script of bench that compares whole models. It prints its own table; of ours, float32 is held against compiled PyTorch, bf16 against that in bf16. */
const contest = (script: string, options: Readonly<Record<string, string | number>>): Promise<void> =>
  new Promise((resolve, reject) => {
    const args = [
      '--import',
      'tsx',
      join(import.meta.dirname, script),
      ...words({ python: values.python ?? '', backend: values.backend, ...options }),
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
        const ratio = peer === undefined ? '' : `${(peer / ms).toFixed(2)}x`;
        row(`${script.replace('.ts', '')} by ${name}`, String(options['model']), { ms: ms.toPrecision(4), ratio, device });
      }
      resolve();
    });
  });
/** Whether PyTorch's models run beside. */
const beside = values.python !== undefined && !values.emulate && values.backend !== 'webgpu';
const peers = 'eager,compiled,bf16,bf16-compiled';

await part('laws', () => {
  const { programs, seed } = values;
  return tried('laws', `${programs} programs from seed ${seed}`, async () => {
    const lines = await fovea(10 * seconds, ['fuzz', '--programs', programs, '--seed', seed]);
    console.log(lines.join('\n'));
    // 500 programs from seed 700000, 25 laws on webgpu: all hold (109.2 s, 4.6 programs a second)
    const [, said = '', took = ''] = /, (\d+ laws?) on [^(]*?: (?:.*)\((.*)\)$/.exec(lines.find((l) => / laws? on /.test(l)) ?? '') ?? [];
    row('laws', `${programs} programs from seed ${seed}`, { rate: took, error: `${said} hold`, device: values.backend });
  });
});
await part('parity', () =>
  tried('parity', values.groups ?? 'all groups', async () => {
    const lines = await fovea(10 * seconds, ['parity', '--goldens', values.goldens, ...(values.groups ? ['--group', values.groups] : [])]);
    const end = lines.at(-1) ?? '';
    console.log(end);
    // 44 cases: 44 pass, 0 fail; 929 tensors compared in 99.0 s on webgpu
    const [, cases = '', passed = '', tensors = ''] = /^(\d+ cases?): (.*); (.*) on /.exec(end) ?? [];
    row('parity', values.groups ?? cases, { rate: tensors, error: passed, device: values.backend });
  }),
);
await part('gemm', async () => {
  // devices live as long as the instance that they are of
  const gpu = values.backend === 'webgpu' ? await dawn() : undefined;
  for (const shape of values.shapes.split(',')) {
    const [m, n, k] = shape.split('x').map(Number) as [number, number, number];
    for (const [name, text] of gpu ? Object.entries(rungs) : [])
      await tried(`gemm NT by hand, ${name}`, shape, async () => {
        const { ms, error, device } = await timePlain(gpu as GPU, text, { m, n, k }, Number(values.runs), seconds);
        const rate = flopsPerSecond(2 * m * n * k, ms);
        row(`gemm NT by hand, ${name} f32`, shape, { ms: ms.toPrecision(4), rate, error: error.toPrecision(3), device });
      });
    for (const dtype of values.dtypes.split(',')) {
      const ours = await added(() => byUnits(dtype, 'gemm', '--shape', shape, '--layout', 'NT'));
      await torch(`gemm NT by PyTorch ${dtype}`, 'gemm.py', shape, { dtype }, 2 * m * n * k, ours);
    }
  }
});
await part('attention', async () => {
  for (const shape of values.attention.split(',')) {
    const [images, heads, tokens, width] = shape.split('x').map(Number) as [number, number, number, number];
    const flops = 4 * images * heads * tokens * tokens * width;
    for (const dtype of values.dtypes.split(',')) {
      const forward = await added(() => byUnits(dtype, 'attention', '--shape', shape));
      await torch(`attention by PyTorch ${dtype}`, 'attention.py', shape, { dtype }, flops, forward);
      const backward = await added(() => byUnits(dtype, 'attention', '--shape', shape, '--backward'));
      await torch(`attention backward by PyTorch ${dtype}`, 'attention.py', shape, { dtype, backward: 1 }, 2.5 * flops, backward);
    }
  }
});
await part('peers', async () => {
  if (values.backend !== 'webgpu') return;
  if (!installed()) {
    console.error('peers: jax-js, tfjs and ONNX Runtime Web are not there; npm ci --prefix bench/gpu/peers installs them');
    return;
  }
  if (values.chrome === undefined && !values['software-peers']) {
    console.error(
      'peers: skipped, for there is no browser with a GPU: --chrome PATH takes one, --software-peers runs them on the processor',
    );
    return;
  }
  const cases = (['gemm', 'attention'] as const).flatMap((what) =>
    (what === 'gemm' ? values.shapes : values.attention).split(',').map((shape) => ({ what, shape: shape.split('x').map(Number) })),
  );
  const found = await runPeers(cases, { runs: Number(values.runs), seconds, chrome: values.chrome });
  found.rows.forEach((list, i) => {
    const { what, shape } = cases[i] as (typeof cases)[number];
    for (const { name, ms = 0, gflops = 0, error = 0, failed } of list)
      row(
        `${what === 'gemm' ? 'gemm NT' : what} by ${name} f32`,
        shape.join('x'),
        failed !== undefined
          ? { error: failed, device: found.device }
          : { ms: ms.toPrecision(4), rate: `${gflops.toPrecision(4)} GFLOP/s`, error: error.toPrecision(3), device: found.device },
      );
  });
});
const sized = values.rows === undefined ? ['--model', 'vits14'] : ['--shape', values.rows];
await part('map', () => bench(['map', ...sized]));
await part('reduce', () => bench(['reduce', ...sized]));
await part('forward', async () => {
  for (const model of values.models.split(',')) {
    for (const dtype of values.dtypes.split(','))
      await bench(['forward', '--model', model, '--batch', values.images, '--size', values.size, '--dtype', dtype]);
    if (beside) await contest('forward.ts', { model, batch: values.images, size: values.size, peers });
  }
});
await part('step', async () => {
  const { step: model, batch } = values;
  for (const dtype of values.dtypes.split(',')) await bench(['step', '--model', model, '--batch', batch, '--dtype', dtype, '--no-check']);
  if (beside) await contest('step.ts', { model, batch, peers });
});

if (values.json) for (const r of rows) console.log(JSON.stringify(r));
else {
  const titles = { ms: 'median ms', peak: 'of peak', ratio: 'of PyTorch' };
  const keys = ['what', 'shape', 'ms', 'rate', 'peak', 'error', 'device', 'ratio'] as const;
  console.log(`\n| ${keys.map((k) => titles[k as keyof typeof titles] ?? k).join(' | ')} |\n|${'---|'.repeat(keys.length)}`);
  for (const r of rows) console.log(`| ${keys.map((k) => r[k]).join(' | ')} |`);
}
process.exit(failed ? 1 : 0);
