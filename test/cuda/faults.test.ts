/** Faults that are planted in kernels, each of which the emulator has to find, in every order of threads, and tell where; and what goes on after. */
import { afterEach, expect, test, vi } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { planOf, runOn } from '../cpu/helper.ts';
import { emulated, emulator } from './emulated.ts';

/** 64 threads turn a row round through shared memory: correct as it is. */
const turned = `kernel turned(x: f32[64] read, y: f32[64] write) grid=[1 1 1] threads=64 {
  alloc row: f32[64] shared
  store row[thread] = load x[thread]
  barrier
  store y[thread] = load row[sub(63, thread)]
}`;
const planted: readonly (readonly [name: string, from: string, to: string, says: RegExp])[] = [
  [
    'a missing barrier',
    '  barrier\n',
    '',
    /thread \d+: reads row\[\d+\] of shared memory, which (nobody wrote|thread \d+ touched since the last barrier)/,
  ],
  [
    'a barrier that some threads pass',
    '  barrier\n',
    '  if lt(thread, 40) { barrier }\n',
    /threads ended while others wait at a barrier|reads row\[\d+\]/,
  ],
  [
    'a barrier only for some, and nothing after it',
    'barrier\n  store y[thread] = load row[sub(63, thread)]',
    'store y[thread] = load row[thread]\n  if lt(thread, 40) { barrier }',
    /\d+ of 64 threads ended while others wait at a barrier/,
  ],
  [
    'an element that nobody wrote',
    'store row[thread] =',
    'store row[div(thread, 2)] =',
    /writes row\[\d+\]|reads row\[\d+\] of shared memory, which nobody wrote/,
  ],
  [
    'half of the row unwritten',
    '  store row[thread] = load x[thread]\n',
    '  if lt(thread, 32) { store row[thread] = load x[thread] }\n',
    /reads row\[\d+\] of shared memory, which nobody wrote/,
  ],
  [
    'two threads at one element',
    'store row[thread] =',
    'store row[rem(thread, 63)] =',
    /thread \d+: writes row\[0\] of shared memory, which thread \d+ touched/,
  ],
  [
    'a write over what others still read',
    '  store y[thread] = load row[sub(63, thread)]',
    '  store y[thread] = load row[sub(63, thread)]\n  store row[thread] = 1',
    /of shared memory, which thread \d+ touched since the last barrier/,
  ],
  [
    'past the end of shared memory',
    'load row[sub(63, thread)]',
    'load row[sub(64, thread)]',
    /thread 0: touches row\[64\], which has 64 elements/,
  ],
  ['past the end of a buffer', 'load x[thread]', 'load x[add(thread, 1)]', /thread 63: touches x\[64\], which has 64 elements/],
  ['in front of a buffer', 'store y[thread]', 'store y[sub(thread, 1)]', /thread 0: touches y\[-1\], which has 64 elements/],
];

emulated('a planted fault', () => {
  test('is none in the kernel as it is', async () => {
    const x = Float32Array.from({ length: 64 }, (_, i) => i);
    for (const device of [0, 1, 2])
      expect(await runOn(await emulator({ device }), [parseKernel(turned)], { x })).toEqual({ y: x.slice().reverse() });
  });
  test.each(planted)('%s', async (_, from, to, says) => {
    const text = turned.replace(from, to);
    expect(text).not.toBe(turned);
    for (const device of [0, 1, 2]) {
      const run = runOn(await emulator({ device }), [parseKernel(text)], { x: new Float32Array(64) });
      await expect(run).rejects.toMatchObject({ code: 'FV0313', message: expect.stringMatching(says) });
    }
  });
});

emulated('after a fault', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });
  const x = Float32Array.from({ length: 64 }, (_, i) => i);
  const bad = parseKernel(turned.replace('load x[thread]', 'load x[add(thread, 1)]'));
  const good = parseKernel(turned);
  test('its program says so again and again, the launch is named where launches are checked, and a new program runs', async () => {
    const on = await emulator({ check: true });
    const plan = planOf([good, bad], [0, 1]);
    const loc = { file: 'model.ts', line: 12, col: 3 };
    const named = plan.launches.map((l, i) => ({ ...l, scope: `student/blocks.${i}/attn`, label: 'map: reverse', loc }));
    const exe = await on.prepare({ ...plan, launches: named });
    const error = await exe.run().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(FoveaError);
    expect(error).toMatchObject({
      code: 'FV0313',
      message: expect.stringMatching(
        /student\/blocks\.1\/attn, map: reverse \(fwd, launch 1 of 2\): .*thread 63: touches x\[64\], which has 64 elements/,
      ),
      hint: expect.stringMatching(/^The kernel is turned; its code lies in .*\.cubin\.$/),
      loc,
      scope: 'student/blocks.1/attn',
    });
    await expect(exe.run()).rejects.toMatchObject({ code: 'FV0313' });
    await expect(exe.read(0)).rejects.toMatchObject({ code: 'FV0313' });
    exe.dispose();
    expect(await runOn(await emulator(), [good], { x })).toEqual({ y: x.slice().reverse() });
  });
  const says = { code: 'FV0313', message: expect.stringMatching(/thread 63: touches x\[64\], which has 64 elements/) };

  test('all programs on the device are lost, in the words of the one that failed, and none disturbs those that begin anew', async () => {
    const [one, other] = [await emulator(), await emulator({ check: true })];
    const [well, failing] = [await one.prepare(planOf([good])), await other.prepare(planOf([bad]))];
    const reading = await well.run().then(() => well.read(0));
    expect(reading).toHaveLength(64);
    const error = await failing.run().catch((e: unknown) => e);
    expect(error).toMatchObject(says);
    // the named one, and not what the driver says to whom calls it next
    for (const work of [() => well.run(), () => well.read(0), () => one.prepare(planOf([good]))]) await expect(work()).rejects.toBe(error);
    expect(() => well.write(0, x)).toThrow(error as Error);
    const again = await (await emulator()).prepare(planOf([good]));
    again.write(0, x);
    for (const e of [well, failing]) e.dispose();
    await expect(well.run()).rejects.toMatchObject({ code: 'FV0304' });
    await again.run();
    expect(await again.read(0)).toEqual(x.slice().reverse());
    again.dispose();
    await expect(one.prepare(planOf([good]))).rejects.toBe(error);
  });

  test('a driver that does not reset the device is told of, with the failure, until it does', async () => {
    await expect(runOn(await emulator(), [bad], { x })).rejects.toMatchObject(says);
    vi.stubEnv('FOVEA_EMULATED_FAULT', 'no reset');
    for (let n = 0; n < 2; n++)
      await expect(emulator()).rejects.toMatchObject({
        code: 'FV0313',
        message: expect.stringMatching(/GPU 0 \(.*\) cannot be used again in this process: a kernel failed on the GPU: .*touches x\[64\]/),
      });
    vi.stubEnv('FOVEA_EMULATED_FAULT', '');
    expect(await runOn(await emulator(), [good], { x })).toEqual({ y: x.slice().reverse() });
  });
});
