/**
 * What goes wrong with a device: it is lost, it does not answer, it has no room. Each is an error with a code, nothing is waited for without end, and
 * what lies on the device stays as it is.
 */
import { expect, test } from 'vitest';
import { openDevice } from '../../backends/webgpu/device.ts';
import { dawn, printWgsl, webgpu, webgpuTarget } from '../../backends/webgpu/index.ts';
import { lifeOf, within } from '../../backends/webgpu/life.ts';
import { load } from '../../backends/webgpu/runtime.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { compile, type F32, scope, spec, trace } from '../../index.ts';
import { planOf } from '../../testing/stages.ts';

const negated = (n: number): Graph => {
  const b = builder();
  return b.build([b.neg(b.param({ dtype: 'f32', shape: [n] }))]);
};
/** Kept: devices live as long as the instance that they are of. */
const gpu = dawn();
/** A device of its own, and a program on it that waits with so much patience. */
const opened = async (patience: number) => {
  const o = await openDevice(await gpu);
  const plan = planOf(negated(5), webgpuTarget(o.device));
  const text = (k: number, places: Parameters<typeof printWgsl>[1]): string => printWgsl(plan.kernels[k] as Kernel, places);
  return { device: o.device, loading: load({ ...o, life: lifeOf(o.device, patience) }, plan, text) };
};

test('a device that is lost while a step runs is an error, and so is everything that is asked of it later', async () => {
  const dying = await webgpu();
  const { executable } = await compileGraph(negated(5), { backend: dying });
  const run = executable.run();
  dying.destroy();
  await expect(run).rejects.toMatchObject({ code: 'FV0308' });
  await expect(async () => executable.read(0)).rejects.toMatchObject({ code: 'FV0308' });
  await expect(compileGraph(negated(5), { backend: dying })).rejects.toMatchObject({ code: 'FV0308' });
});

test('what does not answer is not waited for: an adapter, a device, and one that comes too late is let go', async () => {
  await expect(webgpu({ patience: 0 })).rejects.toMatchObject({
    code: 'FV0309',
    message: expect.stringContaining('asking for an adapter'),
  });
  const { device, loading } = await opened(0);
  await expect(loading).rejects.toMatchObject({ code: 'FV0309' });
  device.destroy();
  const late: number[] = [];
  const answer = new Promise<number>((resolve) => setTimeout(resolve, 40, 7));
  await expect(within(0.01, 'a number', answer, (n) => late.push(n))).rejects.toMatchObject({ code: 'FV0309' });
  await answer;
  expect(late).toEqual([7]);
  expect(await within(Number.POSITIVE_INFINITY, 'a number', answer)).toBe(7);
});

test('patience is for the device: nobody hears it while the thread is held longer than that', async () => {
  const { device, loading } = await opened(1);
  const executable = await loading;
  executable.write(0, Float32Array.of(1, 2, 3, 4, 5));
  const run = executable.run();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1700);
  await run;
  expect(await executable.read(0)).toEqual(Float32Array.of(-1, -2, -3, -4, -5));
  device.destroy();
});

test('an arena that the device refuses is an error with figures; a state beside it goes on, and smaller programs find room', {
  timeout: 60_000,
}, async ({ skip }) => {
  const backend = await webgpu();
  // 1 GiB in one piece is more than SwiftShader gives; another adapter may have it, and would be filled until it has not
  if (!/swiftshader/i.test(backend.device))
    skip(`${backend.device} may have room for the plan that is to be refused: unset FOVEA_TEST_ADAPTER`);
  const move = ((s: F32<'6'>, by: F32<'6'>) => s.add(by)) as never;
  const step = (await compile(move, [spec('6'), spec('6')] as never, { backend, donate: [0] })) as unknown as (
    ...args: unknown[]
  ) => Promise<{ read(): Promise<{ data: Float32Array }> }>;
  const ones = { dtype: 'f32', shape: [6], data: new Float32Array(6).fill(1) };
  const before = await step(ones, ones);
  const large = 2 ** 28;
  const { graph } = trace(((x: F32<string>) => scope('student/blocks.3/mlp', () => x.neg())) as never, [spec(`${large}`)] as never);
  await expect(compileGraph(graph, { backend })).rejects.toMatchObject({
    code: 'FV0202',
    message: 'the device has no 2.00 GiB for the arena: it refuses 1.00 GiB after 0.00 GiB',
    hint: expect.stringMatching(/^Largest buffers: .*student\/blocks\.3\/mlp 1024\.0 MiB/),
  });
  expect((await (await step(before, ones)).read()).data).toEqual(new Float32Array(6).fill(3));
  const { executable } = await compileGraph(negated(1 << 20), { backend });
  executable.write(0, new Float32Array(1 << 20).fill(2));
  await executable.run();
  expect((await executable.read(0))[12345]).toBe(-2);
  backend.destroy();
});

test('an input that the device has no room to take is an error of the step, not a wrong number', async ({ skip }) => {
  let full = false;
  const { device, loading } = await opened(60);
  const executable = await loading;
  const write = device.queue.writeBuffer.bind(device.queue);
  // where the driver refuses what the bytes pass through, Dawn says so as for any buffer
  device.queue.writeBuffer = ((...args: Parameters<typeof write>) => {
    if (full) device.createBuffer({ size: device.limits.maxBufferSize, usage: GPUBufferUsage.COPY_DST }).destroy();
    else write(...args);
  }) as typeof write;
  device.pushErrorScope('out-of-memory');
  device.createBuffer({ size: device.limits.maxBufferSize, usage: GPUBufferUsage.COPY_DST }).destroy();
  if (!(await device.popErrorScope())) skip('this driver refuses no buffer: SwiftShader does');
  executable.write(0, new Float32Array(5).fill(1));
  await executable.run();
  full = true;
  executable.write(0, new Float32Array(5).fill(2));
  full = false;
  await expect(executable.run()).rejects.toMatchObject({ code: 'FV0202', message: 'run: the device has no room to take input 0 (f32[5])' });
  executable.write(0, new Float32Array(5).fill(3));
  await executable.run();
  expect(await executable.read(0)).toEqual(new Float32Array(5).fill(-3));
  device.destroy();
});
