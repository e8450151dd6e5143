/**
 * DINOv2's training step in Fovea and in PyTorch, side by side in one run:
 *
 *   npx tsx bench/step.ts --python PATH                          the demo's step, float32
 *   npx tsx bench/step.ts --python PATH --model vits14           4 images, crops of 2 x 224 and 8 x 98, heads of 65,536 prototypes
 *   npx tsx bench/step.ts --python PATH --model vitl14 --backend cuda --peers bf16,bf16-compiled      all of them on a GPU
 *
 * PATH is a Python with torch; without it only Fovea is timed. Both programs have the same work but for one thing: Fovea's heads take
 * the largest number of masked patches that a batch can have, the port (bench/peers/dinov2_torch.py) as many as its batch has. Ratios
 * are to Fovea's float32; that of bf16 autocast belongs to Fovea's bf16 line.
 */
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { modelNamed } from '../cli/model.ts';
import { demo } from '../models/recipes.ts';
import { contest, fovea, python, words } from './contenders.ts';

const { values } = parseArgs({
  options: {
    python: { type: 'string' },
    model: { type: 'string', default: 'demo' },
    batch: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    backend: { type: 'string', default: 'cpu' },
    rounds: { type: 'string', default: '8' },
    runs: { type: 'string', default: '5' },
    peers: { type: 'string', default: 'eager,compiled,bf16' },
  },
});
const { model, threads, backend, python: path } = values;
const batch = Number(values.batch ?? (model === 'demo' ? demo.batch : 4));

/** What the port is told of a model; its own defaults are the demo's recipe. */
const portOf = (name: string): Readonly<Record<string, string | number>> => {
  if (name === 'demo') return {};
  const { width, depth, heads, patch } = modelNamed(name).config;
  const sizes = { dim: width, depth, heads, patch, size: 16 * patch, 'local-size': 7 * patch, locals: 8, 'layer-scale': 1e-5 };
  return { ...sizes, hidden: 2048, bottleneck: 256, prototypes: 65536, separate: 1, std: 0.02, 'head-std': 0.02, 'pos-std': 0.02 };
};
const modes: Readonly<Record<string, readonly [name: string, options: Readonly<Record<string, number>>]>> = {
  eager: ['PyTorch, eager', {}],
  compiled: ['PyTorch, compiled objective', { compile: 1 }],
  bf16: ['PyTorch, bf16 autocast', { bf16: 1 }],
  'bf16-compiled': ['PyTorch, bf16 autocast, compiled', { bf16: 1, compile: 1 }],
};
const peer = (mode: string) => {
  const known = modes[mode];
  if (known === undefined) throw new Error(`unknown peer ${mode}; there are ${Object.keys(modes).join(', ')}`);
  return python(
    known[0],
    path as string,
    'dinov2_torch.py',
    words({ time: 1, batch, threads, device: backend === 'cuda' ? 'cuda' : 'cpu', ...portOf(model), ...known[1] }),
  );
};
console.log(`${cpus()[0]?.model}, ${threads} threads; training step of ${model}, ${batch} images`);
await contest(
  [
    ...['f32', 'bf16'].map((dtype) => fovea(`Fovea, ${dtype}`, ['step', ...words({ model, batch, dtype, threads, backend })])),
    ...(path === undefined ? [] : values.peers.split(',')).map(peer),
  ],
  { rounds: Number(values.rounds), runs: Number(values.runs), images: batch },
);
