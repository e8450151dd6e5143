/**
 * The first rungs of the ladder: contractions in WGSL as anyone would write them by hand, x W' in float32. `naive` has a thread for each result,
 * `tiled` the tiles of 16 x 16 in shared memory of every introduction to GPU programming. Buffers are bound as Fovea binds its arena, all of them to be
 * written, and their time is taken as that of its launches is; `tiled, read only` has its operands as one would bind them by hand. All are checked against float64 sums.
 */
/// <reference types="@webgpu/types" />
import { openDevice } from '../../backends/webgpu/device.ts';
import { launchTimes } from '../../backends/webgpu/times.ts';
import { median } from '../contenders.ts';

export interface Shape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

const buffers = (operands: 'read' | 'read_write'): string =>
  ['x', 'w', 'y']
    .map((name, i) => `@group(0) @binding(${i}) var<storage, ${name === 'y' ? 'read_write' : operands}> ${name}: array<f32>;`)
    .join('\n');

const naive = ({ m, n, k }: Shape): string => `${buffers('read_write')}
@compute @workgroup_size(16, 16) fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if (at.y >= ${m}u || at.x >= ${n}u) { return; }
  var sum = 0.0f;
  for (var p = 0u; p < ${k}u; p++) { sum = fma(x[at.y * ${k}u + p], w[at.x * ${k}u + p], sum); }
  y[at.y * ${n}u + at.x] = sum;
}`;

const tiled =
  (operands: 'read' | 'read_write') =>
  ({ m, n, k }: Shape): string =>
    `${buffers(operands)}
var<workgroup> left: array<array<f32, 16>, 16>;
var<workgroup> right: array<array<f32, 16>, 16>;
@compute @workgroup_size(16, 16) fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_id) at: vec3<u32>) {
  let row = tile.y * 16u + at.y;
  let other = tile.x * 16u + at.y;
  var sum = 0.0f;
  for (var p = 0u; p < ${k}u; p += 16u) {
    let deep = p + at.x;
    left[at.y][at.x] = select(0.0f, x[row * ${k}u + deep], row < ${m}u && deep < ${k}u);
    right[at.x][at.y] = select(0.0f, w[other * ${k}u + deep], other < ${n}u && deep < ${k}u);
    workgroupBarrier();
    for (var q = 0u; q < 16u; q++) { sum = fma(left[at.y][q], right[q][at.x], sum); }
    workgroupBarrier();
  }
  let column = tile.x * 16u + at.x;
  if (row < ${m}u && column < ${n}u) { y[row * ${n}u + column] = sum; }
}`;

export const rungs: Readonly<Record<string, (s: Shape) => string>> = {
  naive,
  tiled: tiled('read_write'),
  'tiled, read only': tiled('read'),
};

const made = (n: number, salt: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => (((i + 1) * 7919 + salt) % 2039) / 1020 - 1);

export interface Plain {
  /** Median of the runs, by the device's clock where it has one. */
  readonly ms: number;
  /** The largest difference from float64 over the largest value. */
  readonly error: number;
  readonly device: string;
}

/** FV0309: no answer within `seconds`. */
export const timePlain = async (gpu: GPU, text: (s: Shape) => string, s: Shape, runs: number, seconds: number): Promise<Plain> => {
  const { device, life, name } = await openDevice(gpu, { patience: seconds });
  try {
    const pipeline = await life.wait(
      'pipeline',
      device.createComputePipelineAsync({
        layout: 'auto',
        compute: { module: device.createShaderModule({ code: text(s) }), entryPoint: 'main' },
      }),
    );
    const [x, w] = [made(s.m * s.k, 1), made(s.n * s.k, 2)];
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const all = [x.length, w.length, s.m * s.n].map((n) => device.createBuffer({ size: 4 * n, usage })) as [
      GPUBuffer,
      GPUBuffer,
      GPUBuffer,
    ];
    device.queue.writeBuffer(all[0], 0, x as Float32Array<ArrayBuffer>);
    device.queue.writeBuffer(all[1], 0, w as Float32Array<ArrayBuffer>);
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: all.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    const blocks = [Math.ceil(s.n / 16), Math.ceil(s.m / 16)] as const;
    const launch = { label: 'by hand', scope: '', loc: undefined, dispatches: [{ pipeline, group, blocks }] };
    const taken: number[] = [];
    for (let r = 0; r <= runs; r++) {
      const [ms] = await life.wait('run', launchTimes(device, life, [launch]));
      // the first run warms up
      if (r > 0) taken.push(1e3 * (ms as number));
    }
    const staging = device.createBuffer({ size: 4 * s.m * s.n, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(all[2], 0, staging, 0, 4 * s.m * s.n);
    device.queue.submit([encoder.finish()]);
    await life.wait('read', staging.mapAsync(GPUMapMode.READ));
    const y = new Float32Array(staging.getMappedRange());
    let [worst, largest] = [0, 0];
    for (let i = 0; i < 64; i++) {
      const [r, c] = [Math.floor((i * s.m) / 64), (i * 131) % s.n];
      let sum = 0;
      for (let p = 0; p < s.k; p++) sum += (x[r * s.k + p] as number) * (w[c * s.k + p] as number);
      worst = Math.max(worst, Math.abs(sum - (y[r * s.n + c] as number)));
      largest = Math.max(largest, Math.abs(sum));
    }
    return { ms: median(taken), error: worst / largest, device: name };
  } finally {
    device.destroy();
  }
};
