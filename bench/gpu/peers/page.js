/**
 * Runs in a browser: contractions and attention on WebGPU by jax-js, tfjs and ONNX Runtime Web, and by Fovea in the same page. Every one gets the same
 * numbers; a run is timed until the queue of its device is empty, the median of several counts, and results are checked against float64.
 */
import * as jax from '@jax-js/jax';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-webgpu';
import * as ort from 'onnxruntime-web/webgpu';
import { compileGraph } from '../../../compiler/compile.ts';
import { einsum, softmax, spec, trace } from '../../../dsl/index.ts';
import { webgpu } from '../../../web.ts';
import { attentionModel, gemmModel } from './onnx.js';

const made = (n, salt) => Float32Array.from({ length: n }, (_, i) => (((i + 1) * 7919 + salt) % 2039) / 1020 - 1);

/** What is computed: inputs by shape, one of float64 to hold a sample of the results against. */
const cases = {
  gemm: ([m, n, k]) => ({
    inputs: [
      [[m, k], made(m * k, 1)],
      [[n, k], made(n * k, 2)],
    ],
    flops: 2 * m * n * k,
    at: ([x, w], i) => {
      const [r, c] = [Math.floor(i / n), i % n];
      let sum = 0;
      for (let p = 0; p < k; p++) sum += x[r * k + p] * w[c * k + p];
      return sum;
    },
    size: m * n,
  }),
  attention: ([b, h, n, d]) => ({
    inputs: [1, 2, 3].map((salt) => [[b, h, n, d], made(b * h * n * d, salt)]),
    flops: 4 * b * h * n * n * d,
    at: ([q, k, v], i) => {
      const [head, row, c] = [Math.floor(i / (n * d)) * n * d, Math.floor(i / d) % n, i % d];
      const scores = Array.from({ length: n }, (_, j) => {
        let s = 0;
        for (let p = 0; p < d; p++) s += q[head + row * d + p] * k[head + j * d + p];
        return s;
      });
      const top = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - top));
      const total = weights.reduce((x, y) => x + y, 0);
      return weights.reduce((sum, w, j) => sum + w * v[head + j * d + c], 0) / total;
    },
    size: b * h * n * d,
  }),
};

/** Each: what makes a program of a case, giving `run` (submits), `wait` and `read`. */
const peers = {
  'jax-js': async (what, inputs) => {
    await jax.init('webgpu');
    jax.defaultDevice('webgpu');
    const np = jax.numpy;
    const f = jax.jit(
      what === 'gemm'
        ? (x, w) => np.matmul(x, np.transpose(w))
        : (q, k, v) => np.einsum('bhnm,bhmd->bhnd', jax.nn.softmax(np.einsum('bhnd,bhmd->bhnm', q, k), -1), v),
    );
    const args = inputs.map(([shape, data]) => np.array(data, { shape }));
    let last;
    return {
      run: async () => {
        last?.dispose();
        // arguments are used up by a call
        last = f(...args.map((a) => a.ref));
        await last.blockUntilReady();
      },
      read: async () => last.ref.data(),
    };
  },
  tfjs: async (what, inputs) => {
    await tf.setBackend('webgpu');
    const args = inputs.map(([shape, data]) => tf.tensor(data, shape));
    const f =
      what === 'gemm'
        ? ([x, w]) => tf.matMul(x, w, false, true)
        : ([q, k, v]) => tf.tidy(() => tf.matMul(tf.softmax(tf.matMul(q, k, false, true)), v));
    let last;
    return {
      run: async () => {
        last?.dispose();
        last = f(args);
        // commands are collected, and submitted when somebody reads: here, at once
        tf.backend().endComputePassEncoder();
        tf.backend().submitQueue();
        await tf.backend().device.queue.onSubmittedWorkDone();
      },
      read: async () => last.data(),
    };
  },
  'ONNX Runtime Web': async (what, inputs) => {
    ort.env.wasm.wasmPaths = new URL('./ort/', location.href).href;
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = 'error';
    const model = (what === 'gemm' ? gemmModel : attentionModel)(inputs.map(([shape]) => shape));
    const session = await ort.InferenceSession.create(model, { executionProviders: ['webgpu'], preferredOutputLocation: 'gpu-buffer' });
    const { device } = ort.env.webgpu;
    const gpu = await device;
    const feeds = {};
    inputs.forEach(([shape, data], i) => {
      const buffer = gpu.createBuffer({
        size: data.byteLength,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
      });
      gpu.queue.writeBuffer(buffer, 0, data);
      feeds[`x${i}`] = ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: shape });
    });
    let last;
    return {
      run: async () => {
        last?.dispose();
        last = (await session.run(feeds)).y;
        await gpu.queue.onSubmittedWorkDone();
      },
      read: async () => last.getData(),
    };
  },
  'Fovea in the browser': async (what, inputs) => {
    const f =
      what === 'gemm'
        ? (x, w) => einsum('m k, n k -> m n', x, w)
        : (q, k, v) => einsum('b h n m, b h m d -> b h n d', softmax(einsum('b h n d, b h m d -> b h n m', q, k)), v);
    const { graph } = trace(
      f,
      inputs.map(([shape]) => spec(shape.join(' '))),
    );
    const { executable } = await compileGraph(graph, { backend: await webgpu() });
    inputs.forEach(([, data], i) => executable.write(i, data));
    return { run: () => executable.run(), read: () => executable.read(0) };
  },
};

globalThis.names = Object.keys(peers);
globalThis.adapter = async () => {
  const { info } = await navigator.gpu.requestAdapter();
  return info.description || info.architecture || info.vendor || 'WebGPU';
};

const median = (xs) => [...xs].sort((a, b) => a - b)[Math.floor(xs.length / 2)];
globalThis.race = async (name, what, shape, runs) => {
  const { inputs, flops, at, size } = cases[what](shape);
  try {
    const { run, read } = await peers[name](what, inputs);
    const taken = [];
    // the first run compiles and warms up
    for (let r = 0; r <= runs; r++) {
      const started = performance.now();
      await run();
      if (r > 0) taken.push(performance.now() - started);
    }
    const y = await read();
    let [worst, largest] = [0, 0];
    for (let i = 0; i < 32; i++) {
      const place = Math.floor(((i + 0.5) * size) / 32);
      const want = at(
        inputs.map(([, data]) => data),
        place,
      );
      worst = Math.max(worst, Math.abs(want - y[place]));
      largest = Math.max(largest, Math.abs(want));
    }
    const ms = median(taken);
    return { name, ms, gflops: flops / ms / 1e6, error: worst / largest };
  } catch (e) {
    return { name, failed: String(e?.message ?? e).split('\n')[0] };
  }
};
