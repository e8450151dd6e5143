/**
 * How often a step asks the device, and when: one submission, with which its numbers come back; one more for all else that is read in one turn; the next
 * batch on its way before the step has ended.
 */
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { webgpuOn } from '../../backends/webgpu/backend.ts';
import { dawn, type WebGpuBackend, type WebGpuOptions } from '../../backends/webgpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { compile, type F32, type HostTensor, spec, sum, toHost } from '../../index.ts';
import { loadFashion } from '../../models/data/index.ts';
import { startRun } from '../../models/train/run.ts';
import { results } from '../../testing/host.ts';
import { tiny } from '../compile/tiny.ts';

type Event = 'submit' | 'write' | 'done';
/** Kept: devices live as long as the instance that they are of. */
const gpu = dawn();
/** A backend whose device writes down what it is asked. */
const watched = async (log: Event[], options: WebGpuOptions = {}): Promise<WebGpuBackend> => {
  const adapter = (await (await gpu).requestAdapter()) as GPUAdapter;
  const request = adapter.requestDevice.bind(adapter);
  adapter.requestDevice = async (asked) => {
    const device = await request(asked);
    const { queue } = device;
    const [submit, write, done] = [queue.submit.bind(queue), queue.writeBuffer.bind(queue), queue.onSubmittedWorkDone.bind(queue)];
    queue.submit = (commands) => {
      log.push('submit');
      return submit(commands);
    };
    queue.writeBuffer = ((...args: Parameters<typeof write>) => {
      log.push('write');
      return write(...args);
    }) as typeof write;
    queue.onSubmittedWorkDone = async () => {
      await done();
      log.push('done');
      return undefined;
    };
    return device;
  };
  return webgpuOn({ requestAdapter: async () => adapter } as unknown as GPU, options);
};
const count = (log: readonly Event[], what: Event): number => log.filter((e) => e === what).length;
const host = (...data: number[]): HostTensor => ({ dtype: 'f32', shape: [data.length], data: Float32Array.from(data) });

const move = (s: { a: F32<'40'>; b: F32<'40'> }, x: F32<'3'>) => {
  const by = sum('i ->', x);
  return { s: { a: s.a.add(by), b: s.b.sub(by) }, by, first: x.mul(2), twice: by.add(by) };
};

test('a step is one submission, its numbers with it, and what else is read in one turn is one', async () => {
  const log: Event[] = [];
  const backend = await watched(log);
  const step = await compile(move as never, [{ a: spec('40'), b: spec('40') }, spec('3')] as never, { backend, donate: [0] });
  type Out = {
    s: unknown;
    by: { read(): Promise<HostTensor> };
    first: { read(): Promise<HostTensor> };
    twice: { read(): Promise<HostTensor> };
  };
  const run = step as unknown as (s: unknown, x: unknown) => Promise<Out>;
  let state: unknown = { a: host(...new Float32Array(40)), b: host(...new Float32Array(40)) };
  log.length = 0;
  for (let t = 1; t <= 3; t++) {
    const out = await run(state, host(t, 0, 1));
    state = out.s;
    // one after another
    expect((await out.by.read()).data[0]).toBe(t + 1);
    expect((await out.twice.read()).data[0]).toBe(2 * t + 2);
    expect(Array.from((await out.first.read()).data)).toEqual([2 * t, 0, 2]);
  }
  expect(count(log, 'submit')).toBe(3);
  const { a, b } = (await toHost(state)) as { a: HostTensor; b: HostTensor };
  expect([a.data[7], b.data[39]]).toEqual([9, -9]);
  expect(count(log, 'submit')).toBe(4);
  backend.destroy();
});

test('the next batch is taken while a step is under way, which does not see it, and is not taken twice', async () => {
  const log: Event[] = [];
  const backend = await watched(log);
  const step = await compile(move as never, [{ a: spec('40'), b: spec('40') }, spec('3')] as never, { backend, donate: [0] });
  const run = step as unknown as (s: unknown, x: unknown) => Promise<{ s: unknown; by: { read(): Promise<HostTensor> } }>;
  let state: unknown = { a: host(...new Float32Array(40)), b: host(...new Float32Array(40)) };
  let x = host(1, 0, 0);
  const seen: number[] = [];
  log.length = 0;
  for (let t = 1; t <= 4; t++) {
    const running = run(state, x);
    x = host(10 ** t, t, 0);
    step.ahead(1, x);
    const out = await running;
    state = out.s;
    seen.push((await out.by.read()).data[0] as number);
  }
  expect(seen).toEqual([1, 11, 102, 1003]);
  // the state and the first batch are written before; then one write a step, between its commands and their end
  expect(log).toEqual([...Array(3).fill('write'), ...Array(4).fill(['submit', 'write', 'done']).flat()]);
  // another value than the one that was sent
  expect((await (await run(state, host(5, 0, 0))).by.read()).data[0]).toBe(5);
  // what a result is written over is not taken early, and what does not fit is refused where it is given
  log.length = 0;
  step.ahead(0, { a: host(...new Float32Array(40)), b: host(...new Float32Array(40)) });
  expect(log).toEqual([]);
  expect(() => step.ahead(1, host(1, 2))).toThrow(expect.objectContaining({ code: 'FV0305' }));
  backend.destroy();
});

test.each(['cpu', 'webgpu'])('%s: what was sent ahead is given again where a call was refused that wrote over it', async (name) => {
  const backend = name === 'cpu' ? cpu({ threads: 1 }) : await watched([]);
  const step = await compile(move as never, [{ a: spec('40'), b: spec('40') }, spec('3')] as never, { backend, donate: [0] });
  const run = step as unknown as (s: unknown, x: unknown) => Promise<{ s: unknown; by: { read(): Promise<HostTensor> } }>;
  const state = { a: host(...new Float32Array(40)), b: host(...new Float32Array(40)) };
  const [sent, other] = [host(1, 0, 0), host(100, 0, 0)];
  step.ahead(1, sent);
  // the other batch is written, and then a state that loads too few numbers is refused
  const short = { ...state, a: { dtype: 'f32', shape: [40], load: () => new Float32Array(3) } };
  await expect(run(short, other)).rejects.toMatchObject({ code: 'FV0306' });
  expect((await (await run(state, sent)).by.read()).data[0]).toBe(1);
  step.dispose();
  if ('destroy' in backend) backend.destroy();
});

test('long results come in parts through two buffers, as they were when they were asked for', async () => {
  const log: Event[] = [];
  const backend = await watched(log, { most: { buffer: 4096 } });
  const b = builder();
  const [x, y] = [b.param({ dtype: 'f32', shape: [2000] }), b.param({ dtype: 'f32', shape: [3] })];
  const { executable } = await compileGraph(b.build([b.neg(x), b.neg(y), b.add(x, x)]), { backend });
  const give = (n: number): void =>
    executable.write(
      0,
      Float32Array.from({ length: 2000 }, (_, i) => i + n),
    );
  const wanted = (n: number): unknown => [
    Float32Array.from({ length: 2000 }, (_, i) => -i - n),
    Float32Array.of(-1, -2, -3),
    Float32Array.from({ length: 2000 }, (_, i) => 2 * (i + n)),
  ];
  executable.write(1, Float32Array.of(1, 2, 3));
  give(0);
  await executable.run();
  const before = results(executable);
  give(7);
  const running = executable.run();
  expect(await before).toEqual(wanted(0));
  await running;
  log.length = 0;
  expect(await results(executable)).toEqual(wanted(7));
  // 2 x 8000 bytes, 4096 at a time
  expect(count(log, 'submit')).toBe(4);
  executable.dispose();
  backend.destroy();
});

test('a training step of DINOv2 is one submission, with its losses, and its batch is there before it begins', {
  timeout: 120_000,
}, async () => {
  const log: Event[] = [];
  const run = await startRun({ recipe: tiny, images: loadFashion().train, backend: await watched(log), seed: 3 });
  const inputs = run.report.plan?.inputs.length as number;
  let steps = 0;
  log.length = 0;
  for await (const { losses } of run.train(4)) {
    steps++;
    expect(losses.loss).toBeGreaterThan(0);
    if (steps === 1) {
      expect(count(log, 'write')).toBeGreaterThan(inputs);
      log.length = 0;
    }
  }
  expect(count(log, 'submit')).toBe(3);
  // beside the batch, which is sent while the step before runs, a step takes the numbers of its schedules
  const [writes] = log.join(' ').split('submit');
  expect((writes as string).trim().split(' ').length).toBeLessThan(12);
  run.dispose();
});
