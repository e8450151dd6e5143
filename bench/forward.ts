/**
 * The forward pass of a backbone in Fovea and in other systems, side by side in one run:
 *
 *   npx tsx bench/forward.ts --python PATH                          ViT-S/14, 8 images of 224 x 224
 *   npx tsx bench/forward.ts --python PATH --backend cuda --peers eager,compiled,bf16,bf16-compiled      all of them on a GPU
 *   npx tsx bench/forward.ts --python PATH --model vitb14 --batch 1 --size 518 --peers eager,onnx
 *
 * PATH is a Python with torch, and with onnxruntime, onnxscript and jax for these two peers (bench/peers/vit.py lists the modes). Ratios
 * are to Fovea's float32; those of bf16 programs belong to its bf16 line.
 */
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { modelNamed } from '../cli/model.ts';
import { contest, fovea, python, words } from './contenders.ts';

const { values } = parseArgs({
  options: {
    python: { type: 'string' },
    model: { type: 'string', default: 'vits14' },
    batch: { type: 'string', default: '8' },
    size: { type: 'string', default: '224' },
    threads: { type: 'string', default: String(availableParallelism()) },
    backend: { type: 'string', default: 'cpu' },
    rounds: { type: 'string', default: '5' },
    runs: { type: 'string', default: '3' },
    peers: { type: 'string', default: 'eager,compiled,bf16,bf16-compiled,onnx,jax' },
  },
});
const { model, batch, size, threads, backend, python: path } = values;
const { width, depth, heads, patch } = modelNamed(model).config;
const names: Readonly<Record<string, string>> = {
  eager: 'PyTorch, eager',
  compiled: 'PyTorch, compiled',
  bf16: 'PyTorch, bf16 autocast',
  'bf16-compiled': 'PyTorch, bf16 autocast, compiled',
  onnx: 'ONNX Runtime',
  jax: 'JAX, jit',
};
console.log(`${cpus()[0]?.model}, ${threads} threads; forward ${model}, ${batch} images of ${size} x ${size}`);
const common = { batch, size, threads };
await contest(
  [
    ...['f32', 'bf16'].map((dtype) => fovea(`Fovea, ${dtype}`, ['forward', ...words({ model, dtype, backend, ...common })])),
    ...(path === undefined ? [] : values.peers.split(',')).map((mode) => {
      if (names[mode] === undefined) throw new Error(`unknown peer ${mode}; there are ${Object.keys(names).join(', ')}`);
      return python(
        names[mode],
        path as string,
        'vit.py',
        words({ mode, width, depth, heads, patch, device: backend === 'cuda' ? 'cuda' : 'cpu', ...common }),
      );
    }),
  ],
  { rounds: Number(values.rounds), runs: Number(values.runs), images: Number(batch) },
);
