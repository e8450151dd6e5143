/** Programs on the emulated GPU against float64 within their bounds, in three orders of threads, and what is refused. */
import { afterEach, expect, test, vi } from 'vitest';
import { cuda } from '../../backends/cuda/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { FoveaError } from '../../compiler/error.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { parse } from '../../compiler/graph/parse.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { decode, encode, results } from '../../testing/host.ts';
import { castGraph } from '../../testing/stages.ts';
import { attends, generated, narrow } from '../compile/device.ts';
import { draw } from '../tile/attention.ts';
import { emulated, emulator } from './emulated.ts';

const doubled = (size = 5) => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [size] });
  return b.build([b.add(x, x)]);
};

emulated('programs', () => {
  test.each([0, 1, 2])('of the generator, on device %i', async (device) => {
    await generated(await emulator({ device, poison: 0x7fc0dead }), 9200 + 10 * device, 9210 + 10 * device);
  });

  test('steps one by one, with times', async () => {
    const on = await emulator({ check: true });
    await generated(on, 9240, 9245);
    const { executable, report } = await compileGraph(doubled(), { backend: on });
    executable.write(0, Float32Array.of(1, 2, 3, 4, 5));
    const seconds = await executable.profile?.();
    expect(seconds?.length).toBe(report.plan?.launches.length);
    expect(seconds?.every((s) => s >= 0 && s < 60)).toBe(true);
    expect(await executable.read(0)).toEqual(Float32Array.of(2, 4, 6, 8, 10));
    executable.dispose();
  });

  test('an input that is written while a result is read goes in behind it, also where it takes its place', async () => {
    const { executable } = await compileGraph(doubled(), { backend: await emulator(), donated: [0] });
    expect(executable.aliases).toEqual([0]);
    executable.write(0, Float32Array.of(1, 2, 3, 4, 5));
    await executable.run();
    const result = executable.read(0);
    const next = new Float32Array(5).fill(-7);
    executable.write(0, next);
    // what was given counts, not what its array holds later
    next.fill(0);
    expect(await result).toEqual(Float32Array.of(2, 4, 6, 8, 10));
    await executable.run();
    expect(await executable.read(0)).toEqual(new Float32Array(5).fill(-14));
    executable.dispose();
  });

  test('elements of 1 and 2 bytes, of odd lengths too, and a result over its operand', async () => {
    await narrow(await emulator(), [1, 3, 64, 1001]);
  });

  test('some launches alone, as those between two collectives are run, give what a run gives', async () => {
    const g = parse(`graph (%0 x: f32[64 64]) {
  %1: f32[64 64] = dot(%0, %0) batch=[][] contract=[1][0] dtype=f32
  %2: f32[64 64] = dot(%1, %0) batch=[][] contract=[1][0] dtype=f32
  return %2
}`);
    const { executable, report } = await compileGraph(g, { backend: await emulator({ poison: 0x7fc0dead }) });
    const launches = report.plan?.launches.length ?? 0;
    expect(launches).toBeGreaterThan(1);
    const data = Float32Array.from({ length: 64 * 64 }, (_, i) => Math.sin(i) / 8);
    executable.write(0, data);
    await executable.run();
    const whole = await executable.read(0);
    executable.write(
      0,
      data.map((v) => -v),
    );
    for (let i = 0; i < launches; i++) await executable.runSome?.(i, 1);
    // an odd power
    expect(await executable.read(0)).toEqual((whole as Float32Array).map((v) => -v));
    expect(() => executable.memory?.view(0, 4)).toThrow('only NCCL moves it');
    expect(executable.memory?.address).toBeGreaterThan(0n);
    executable.dispose();
  });

  test('inputs that are written again and again, between runs and before them', async () => {
    const { executable } = await compileGraph(doubled(70_000), { backend: await emulator() });
    const values = (n: number): Float32Array => Float32Array.from({ length: 70_000 }, (_, i) => n * i);
    for (const n of [1, 2, 3]) {
      const data = values(n);
      executable.write(0, data);
      // the caller may do with its array what it likes
      data.fill(Number.NaN);
      await executable.run();
      expect(await executable.read(0)).toEqual(values(2 * n));
    }
    // what was written last counts, though the one before is still on its way
    for (const n of [5, 6, 7]) executable.write(0, values(n));
    await executable.run();
    expect(await executable.read(0)).toEqual(values(14));
    executable.dispose();
  });

  test('the event loop stays free while a step runs', async () => {
    const b = builder();
    const x = b.param({ dtype: 'f32', shape: [128, 512] });
    const y = b.param({ dtype: 'f32', shape: [512, 512] });
    const dot = b.one({ prim: 'dot', dtype: 'f32', batch: [[], []], contract: [[1], [0]] }, [x, y]);
    const { executable } = await compileGraph(b.build([dot]), { backend: await emulator() });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await executable.run();
    clearInterval(timer);
    executable.dispose();
    expect(ticks).toBeGreaterThan(3);
  });
});

emulated('what is refused', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });
  const refused = async (work: () => Promise<unknown>): Promise<string> => {
    try {
      await work();
    } catch (e) {
      if (e instanceof FoveaError) return `${e.code} ${e.message.replace(/^FV\d+: /, '')}`;
      throw e;
    }
    throw new Error('nothing was refused');
  };

  test('a machine without a driver, with the places that were looked at', async () => {
    vi.stubEnv('FOVEA_CUDA_DRIVER', '/nowhere/libcuda.so.1');
    expect(await refused(() => cuda())).toMatch(/^FV0310 FOVEA_CUDA_DRIVER is \/nowhere\/libcuda.so.1, which does not load/);
  });
  test('no GPU, an old driver, an old GPU, one that is not there, one that another process has', async () => {
    vi.stubEnv('FOVEA_EMULATED_FAULT', 'no device');
    expect(await refused(() => emulator())).toBe('FV0311 the driver finds no GPU: cuInit: CUDA_ERROR_NO_DEVICE (100)');
    vi.stubEnv('FOVEA_EMULATED_FAULT', 'old driver');
    expect(await refused(() => emulator())).toBe('FV0311 the NVIDIA driver is of CUDA 11.2, and kernels need one of 12.0');
    vi.stubEnv('FOVEA_EMULATED_FAULT', '');
    expect(await refused(() => emulator({ device: 3 }))).toBe(
      'FV0311 GPU 3 (emulator, too old) has compute capability 6.0, and kernels need 8.0',
    );
    expect(await refused(() => emulator({ device: 9 }))).toBe('FV0311 there is no GPU 9: the driver has 6');
    expect(await refused(() => emulator({ device: 5 }))).toBe(
      'FV0311 GPU 5 (emulator, taken) is taken: cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE (46)',
    );
  });
  test('a plan that does not fit, before anything runs; and memory that another program took', async () => {
    const small = await emulator({ device: 4 });
    expect(await refused(() => compileGraph(doubled(2 ** 24), { backend: small }))).toBe(
      'FV0202 the plan needs 0.13 GiB, and emulator, 64 MiB has 0.06 GiB free of 0.06 GiB',
    );
    const first = await compileGraph(doubled(3 * 2 ** 21), { backend: small });
    expect(await refused(() => compileGraph(doubled(3 * 2 ** 21), { backend: small }))).toMatch(/^FV0202 /);
    first.executable.dispose();
    await new Promise((r) => setTimeout(r, 20));
    const again = await compileGraph(doubled(3 * 2 ** 21), { backend: small });
    // what others have of the pool is no room, what it keeps is: also in a larger piece, which it has to give back first
    expect(await refused(() => compileGraph(doubled(5 * 2 ** 19), { backend: small }))).toMatch(/has 0\.0\d GiB free of 0\.06 GiB/);
    again.executable.dispose();
    await new Promise((r) => setTimeout(r, 20));
    const larger = await compileGraph(doubled(7 * 2 ** 20), { backend: small });
    larger.executable.write(0, new Float32Array(7 * 2 ** 20).fill(1));
    await larger.executable.run();
    expect((await larger.executable.read(0))[7 * 2 ** 20 - 1]).toBe(2);
    larger.executable.dispose();
  });
  test('a launch that the driver refuses, which leaves the program as it was', async () => {
    const { executable } = await compileGraph(doubled(), { backend: await emulator() });
    executable.write(0, Float32Array.of(1, 2, 3, 4, 5));
    vi.stubEnv('FOVEA_EMULATED_FAULT', 'no launch');
    expect(await refused(() => executable.run())).toBe('FV0312 cuLaunchKernel: CUDA_ERROR_INVALID_VALUE (1)');
    vi.stubEnv('FOVEA_EMULATED_FAULT', '');
    await executable.run();
    expect(await executable.read(0)).toEqual(Float32Array.of(2, 4, 6, 8, 10));
    executable.dispose();
  });
  test('FOVEA_CUDA_CHECK launches one by one, as `check` does: no graph is made', async () => {
    vi.stubEnv('FOVEA_CUDA_CHECK', '1');
    expect((await emulator({ plans: true })).plans).toBeUndefined();
    vi.stubEnv('FOVEA_CUDA_CHECK', '0');
    expect((await emulator({ plans: true })).plans).toBeDefined();
  });
  test('wrong arrays, two runs at once, use after the end', async () => {
    const { executable } = await compileGraph(doubled(), { backend: await emulator() });
    expect(() => executable.write(0, new Float32Array(4))).toThrow(/input 0 has 5 elements \(f32\[5\]\), got 4/);
    expect(() => executable.write(0, new Int32Array(5))).toThrow(/input 0 \(f32\) takes a Float32Array, got a Int32Array/);
    expect(() => executable.write(1, new Float32Array(5))).toThrow(/input 1: there are 1/);
    executable.write(0, Float32Array.of(1, 2, 3, 4, 5));
    const running = executable.run();
    expect(() => executable.write(0, new Float32Array(5))).toThrow(/write: a run is in progress/);
    await running;
    expect(await executable.read(0)).toEqual(Float32Array.of(2, 4, 6, 8, 10));
    executable.dispose();
    await expect(executable.run()).rejects.toMatchObject({ code: 'FV0304' });
  });
});

emulated('contractions of halves', () => {
  /** gelu(x w + b) + x in one layout of x and w, and its sums down the rows: an epilogue with vectors of several operands, or their elements at the edge. */
  const layer = (m: number, n: number, k: number, x: 0 | 1, w: 0 | 1): Graph => {
    const b = builder();
    const f32 = (...shape: number[]) => b.param({ dtype: 'f32', shape });
    const [left, right, bias, residual] = [x ? f32(k, m) : f32(m, k), w ? f32(k, n) : f32(n, k), f32(n), f32(m, n)];
    const dot = b.one({ prim: 'dot', dtype: 'f32', batch: [[], []], contract: [[x ? 0 : 1], [w ? 0 : 1]] }, [left, right]);
    const y = b.add(b.mul(b.tanh(b.add(dot, b.broadcast(bias, [m, n], [1]))), dot), residual);
    return b.build([y]);
  };
  test.each([
    [70, 130, 96, 'bf16', 'mma'],
    [33, 65, 37, 'f16', 'mma'],
    [5, 300, 9, 'bf16', 'mma'],
    [72, 136, 200, 'bf16', 'wgmma'],
    [200, 72, 136, 'f16', 'wgmma'],
  ] as const)('%i x %i of %i products of %s, in all layouts, by %s', async (m, n, k, precision, unit) => {
    for (const [x, w] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const graph = layer(m, n, k, x, w);
      const inputs = draw(graph, m);
      const { executable, report } = await compileGraph(graph, {
        backend: await emulator({ device: (x + w) as 0 | 1 | 2, units: unit }),
        precision,
      });
      expect(report.plan?.kernels.map(printKernel).join('\n')).toMatch(new RegExp(` ${unit}.${precision} `));
      inputs.forEach((t, i) => executable.write(i, encode(t)));
      await executable.run();
      const [got] = await results(executable);
      executable.dispose();
      const seen = compare(bounded(castGraph(graph, precision), inputs), [decode('f32', got as Float32Array)]);
      expect(seen.wrong).toBeUndefined();
      expect(seen.checked).toBe(m * n);
    }
  });
});

emulated('attention', () => {
  test.each([
    [9, 70, 5, 'f32', 1, 'mma'],
    [67, 33, 34, 'f32', 2, 'mma'],
    [33, 65, 12, 'bf16', 0, 'mma'],
    [70, 129, 64, 'f16', 2, 'mma'],
    [18, 20, 24, 'bf16', 1, 'mma'],
    [70, 129, 64, 'f16', 0, 'wgmma'],
    [33, 65, 16, 'bf16', 1, 'wgmma'],
    [18, 20, 24, 'bf16', 2, 'wgmma'],
  ] as const)(
    'of %i queries and %i keys of width %i, its gradients and products, %s, on device %i, by %s',
    async (n, m, d, precision, device, units) => {
      await attends(await emulator({ device, units }), [n, m, d], precision, async (_, { plan }) => {
        // rows of halves take matrix units: those of warp groups forward, those of warps backward
        for (const k of plan?.kernels.filter((k) => /stream/.test(k.name)) ?? []) {
          const text = printKernel(k);
          expect(/ mma\.\w+ /.test(text), k.name).toBe(precision !== 'f32' && (units === 'mma' || /stream_grad/.test(k.name)));
          expect(/ wgmma\.\w+ /.test(text), k.name).toBe(units === 'wgmma' && !/stream_grad/.test(k.name));
        }
      });
    },
  );
});

emulated('few columns, short and long slices, running sums', () => {
  const programs: Readonly<Record<string, readonly [text: string, threads: RegExp]>> = {
    'columns that threads share': [
      `graph (%0 x: f32[200 40], %1 y: f32[200 40]) {
  %2: f32[200 40] = mul(%0, %1)
  %3: f32[40] = reduceSum(%2) axes=[0]
  %4: f32[40] = reduceMax(%0) axes=[0]
  %5: i32[40] = argmax(%0) axis=0
  return %3, %4, %5
}`,
      /threads=512/,
    ],
    'a running sum down columns and along rows': [
      `graph (%0 x: f32[9 33], %1 y: f32[5 24]) {
  %2: f32[9 33] = cumsum(%0) axis=1
  %3: f32[5 24] = cumsum(%1) axis=0
  return %2, %3
}`,
      /threads=64/,
    ],
    'long slices': [
      `graph (%0 x: f32[6 72], %1 u: f32[4 72]) {
  %2: i32[4] = iota() shape=[4] axis=0 dtype=i32
  %3: f32[6 72] = scatterAdd(%0, %2, %1) axis=0
  return %3
}`,
      /threads=32/,
    ],
    'slices of one element': [
      `graph (%0 x: f32[50], %1 u: f32[4]) {
  %2: i32[4] = iota() shape=[4] axis=0 dtype=i32
  %3: f32[50] = scatterAdd(%0, %2, %1) axis=0
  return %3
}`,
      /threads=32/,
    ],
  };
  test.each(Object.entries(programs))('%s are dealt to many threads', async (_, [text, threads]) => {
    const graph = parse(text);
    const inputs = draw(graph, 5);
    for (const device of [0, 1, 2]) {
      const { executable, report } = await compileGraph(graph, { backend: await emulator({ device, poison: 0x7fc0dead }) });
      expect(report.plan?.kernels.map(printKernel).join('\n')).toMatch(threads);
      inputs.forEach((t, i) => executable.write(i, encode(t)));
      await executable.run();
      const got = (await results(executable)).map((x, i) => decode(executable.outputs[i]?.dtype ?? 'f32', x));
      executable.dispose();
      const seen = compare(bounded(graph, inputs), got);
      expect(seen.wrong).toBeUndefined();
      expect(seen.checked).toBe(seen.elements);
    }
  });
});
