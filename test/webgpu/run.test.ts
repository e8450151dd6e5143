/** Programs on WebGPU against float64 within their bounds, the text of a kernel, memory in parts of words, and what is refused. */
import { describe, expect, test } from 'vitest';
import { openDevice } from '../../backends/webgpu/device.ts';
import { dawn, printWgsl, type WebGpuBackend, webgpu, webgpuTarget } from '../../backends/webgpu/index.ts';
import { load } from '../../backends/webgpu/runtime.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { type DType, type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { type F32, scope, spec, sum, trace } from '../../dsl/index.ts';
import { results } from '../../testing/host.ts';
import { planOf } from '../../testing/stages.ts';
import { attends, generated, narrow } from '../compile/device.ts';

/** Kept: devices live as long as the instance that they are of. */
const gpu = dawn();
let made: Promise<WebGpuBackend> | undefined;
const backend = (): Promise<WebGpuBackend> => {
  made ??= webgpu();
  return made;
};

test('generated programs, with all of their values, are within the bound of float64', { timeout: 240_000 }, async () => {
  await generated(await backend(), 9000, 9020);
});

test('tensors may be larger than a binding, and lie across buffers of the device', { timeout: 240_000 }, async () => {
  const small = await webgpu({ most: { buffer: 1024, binding: 512 } });
  await generated(small, 9100, 9110);
  // 500 elements of 4, 2 and 1 bytes
  for (const dtype of ['f32', 'bf16', 'bool'] as readonly DType[]) {
    const b = builder();
    const x = b.param({ dtype, shape: [500] });
    const { executable } = await compileGraph(b.build([b.one({ prim: 'reverse', axes: [0] }, [x])]), { backend: small });
    const data = new hostArrays[dtype](500).map((_, i) => (dtype === 'bool' ? (i * 7) % 2 : 0x3c00 + i));
    executable.write(0, data as HostData);
    await executable.run();
    expect((await results(executable))[0]).toEqual(data.slice().reverse());
    executable.dispose();
  }
  small.destroy();
});

test.each([
  [2, 3, 2, 'f32'],
  [9, 70, 5, 'f32'],
  [67, 33, 34, 'f32'],
  [33, 65, 12, 'bf16'],
] as const)('attention of %i queries and %i keys of width %i, its gradients and products, %s', async (n, m, d, precision) => {
  await attends(await backend(), [n, m, d], precision, async (executable, report) => {
    const seconds = await executable.profile?.();
    expect(seconds?.length).toBe(report.plan?.launches.length);
    expect(seconds?.every((s) => s >= 0 && s < 60)).toBe(true);
  });
});

test('numbers of 8 and 16 bits lie in words, of odd lengths too, and a result may lie over its operand', async () => {
  await narrow(await backend(), [1, 2, 3, 7, 64, 1001]);
});

test('what a kernel looks like', () => {
  const k = parseKernel(`kernel half(x: bf16[6] read, y: bf16[6] write) grid=[1 1 1] threads=2 {
    alloc sums: f32[2] shared
    store sums[thread] = cast.f32(load x[thread])
    barrier
    for i = 0 to 4 step 2 { store y[i] = cast.bf16(mul(cast.f32(load.2 x[i]), splat.2(load sums[0]))) }
  }`);
  expect(printWgsl(k)).toMatchInlineSnapshot(`
    "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
    @group(0) @binding(1) var<storage, read_write> y: array<atomic<u32>>;
    var<private> fv_special: vec2<u32> = vec2<u32>(0x7f800000u, 0x7fc00000u);
    fn fv_bf16_f32(x: u32) -> f32 {
      return bitcast<f32>(x << u32(16u));
    }
    fn fv_bf16_f32_x2(x: vec2<u32>) -> vec2<f32> {
      return bitcast<vec2<f32>>(x << vec2<u32>(16u));
    }
    fn fv_isnan_x2(x: vec2<f32>) -> vec2<bool> {
      return (bitcast<vec2<u32>>(x) & vec2<u32>(0x7fffffffu)) > vec2<u32>(0x7f800000u);
    }
    fn fv_f32_bf16_x2(x: vec2<f32>) -> vec2<u32> {
      let u = bitcast<vec2<u32>>(x);
      return select((u + vec2<u32>(0x7fffu) + ((u >> vec2<u32>(16u)) & vec2<u32>(1u))) >> vec2<u32>(16u), vec2<u32>(0x7fc0u), fv_isnan_x2(x));
    }
    fn fv_put16_y(i: i32, v: u32) {
      let at = i >> 1u;
      let by = (u32(i) & 1u) * 16u;
      atomicAnd(&y[at], ~(0xffffu << by));
      atomicOr(&y[at], v << by);
    }
    fn fv_put16s_y(i: i32, v: vec2<u32>) {
      if ((i & 1) == 0) { atomicStore(&y[i >> 1u], v.x | (v.y << 16u)); return; }
      fv_put16_y(i + 0, v.x); fv_put16_y(i + 1, v.y);
    }
    var<workgroup> sums: array<f32, 2>;
    @compute @workgroup_size(2)
    fn main(@builtin(workgroup_id) fv_block: vec3<u32>, @builtin(local_invocation_index) fv_thread: u32) {
      let b_all = i32(fv_block.x);
      let b_0 = b_all;
      let b_1 = 0;
      let b_2 = 0;
      let b_thread = i32(fv_thread);
      let t0 = b_thread;
      sums[b_thread] = fv_bf16_f32(((x[t0 >> 1u] >> ((u32(t0) & 1u) << 4u)) & 0xffffu));
      workgroupBarrier();
      for (var i = 0i; i < 4i; i += 2i) {
        let t1 = x[i >> 1u];
        let t2 = fv_f32_bf16_x2((fv_bf16_f32_x2(vec2<u32>(t1 & 0xffffu, t1 >> 16u)) * vec2<f32>(sums[0i])));
        fv_put16s_y(i + 0, t2);
      }
    }
    "
  `);
});

describe('what is refused', () => {
  const doubled = () => {
    const b = builder();
    const x = b.param({ dtype: 'f32', shape: [5] });
    return b.build([b.add(x, x)]);
  };
  test('wrong arrays, use after the end, a device that is gone', async () => {
    const { executable } = await compileGraph(doubled(), { backend: await backend(), donated: [0] });
    expect(() => executable.write(0, new Float32Array(4))).toThrow(/input 0 has 5 elements \(f32\[5\]\), got 4/);
    expect(() => executable.write(0, new Int32Array(5))).toThrow(/input 0 \(f32\) takes a Float32Array, got a Int32Array/);
    expect(() => executable.write(1, new Float32Array(5))).toThrow(/input 1: there are 1/);
    executable.write(0, Float32Array.of(1, 2, 3, 4, 5));
    // where a result lies; other inputs are taken (pipelined.test.ts)
    const running = executable.run();
    expect(() => executable.write(0, new Float32Array(5))).toThrow(/write: a run is in progress/);
    await running;
    expect(await executable.read(0)).toEqual(Float32Array.of(2, 4, 6, 8, 10));
    executable.dispose();
    await expect(executable.run()).rejects.toMatchObject({ code: 'FV0304' });

    const other = await webgpu();
    const lost = (await compileGraph(doubled(), { backend: other })).executable;
    other.destroy();
    await new Promise((r) => setTimeout(r, 50));
    await expect(lost.run()).rejects.toMatchObject({ code: 'FV0308', hint: 'Compile the program again, on a new device.' });
  });
  test('a text that the language does not take: the kernel, the part of the program that asks for it, the line and what is wrong with it', async () => {
    const doubledIn = trace(((x: F32<'5'>) => scope('student/head', () => x.add(x))) as never, [spec('5')] as never).graph;
    const plan = planOf(doubledIn, (await backend()).target);
    const opened = await openDevice(await gpu);
    const text = (): string => 'fn helper() {}\n@compute @workgroup_size(1) fn main() { let x: f32 = true; }';
    await expect(load(opened, plan, text)).rejects.toMatchObject({
      code: 'FV0302',
      message: expect.stringMatching(/^WebGPU refuses kernel k0_\w+ of student\/head, line 2: .*: @compute @workgroup_size\(1\) fn main/),
      scope: 'student/head',
      loc: { file: import.meta.filename, line: expect.any(Number) },
    });
    opened.device.destroy();
  });
  test('a step that the device does not take: the launch at fault, by its kernel, scope and line', async () => {
    const both = trace(
      ((x: F32<'5'>) =>
        scope('student/head', () =>
          sum(
            'i ->',
            scope('mlp', () => x.add(x)),
          ),
        )) as never,
      [spec('5')] as never,
    );
    const opened = await openDevice(await gpu);
    const plan = planOf(both.graph, webgpuTarget(opened.device));
    const text = (k: number, places: Parameters<typeof printWgsl>[1]): string => printWgsl(plan.kernels[k] as Kernel, places);
    // more lines of blocks than a dispatch may have
    const launches = plan.launches.map((l, i) => (i > 0 ? l : { ...l, parts: l.parts.map((p) => ({ ...p, blocks: 2 ** 32 })) }));
    const executable = await load(opened, { ...plan, launches }, text);
    await expect(executable.run()).rejects.toMatchObject({
      code: 'FV0302',
      message: expect.stringMatching(/^WebGPU refuses k0_\w+ of student\/head.*: .*65535/s),
      scope: plan.launches[0]?.scope,
      loc: { file: import.meta.filename, line: plan.launches[0]?.loc?.line },
    });
    opened.device.destroy();
  });
  test('what 32 bits do not count: a tensor, an address on the way to one', async () => {
    const opened = await openDevice(await gpu);
    const plan = planOf(doubled(), webgpuTarget(opened.device));
    const [own] = plan.kernels as [Kernel];
    const refused = (kernel: Kernel) => load(opened, { ...plan, kernels: [kernel] }, () => 'never asked for').catch((e) => e);
    const large = own.buffers.map((b) => ({ ...b, size: 2 ** 31 }));
    expect(await refused({ ...own, buffers: large })).toMatchObject({
      code: 'FV0202',
      message: `kernel ${own.name} counts up to 2147483648; the webgpu backend counts up to 2147483647`,
    });
    const far = parseKernel(`kernel far(x: f32[8] read, y: f32[8] write) grid=[1000000 1 1] threads=1 {
      store y[div(mul(block.0, 4000), 1000000000)] = load x[0]
    }`);
    expect(await refused(far)).toMatchObject({
      code: 'FV0202',
      message: 'kernel far counts up to 3999996000; the webgpu backend counts up to 2147483647',
    });
    opened.device.destroy();
  });
});
