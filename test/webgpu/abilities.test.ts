/**
 * What some devices have and others have not, with and without: exchanges within subgroups of whatever size, and the type f16. The bits are the same.
 * All texts are shown to Dawn's compiler too, which takes them without a device.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { dawn, printWgsl, type WebGpuBackend, webgpu } from '../../backends/webgpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import type { Graph, HostData } from '../../compiler/graph/types.ts';
import { encode, results } from '../../testing/host.ts';
import { planOf } from '../../testing/stages.ts';
import { attends } from '../compile/device.ts';
import { gpu as target } from '../fuse/run.ts';
import { attention, draw, staged } from '../tile/attention.ts';

/** Rows of f32 and f16: their sums, and what halves become of them. */
const rows = (n: number, m: number): Graph => {
  const b = builder();
  const [x, h] = [b.param({ dtype: 'f32', shape: [n, m] }), b.param({ dtype: 'f16', shape: [n, m] })];
  const sum = b.one({ prim: 'reduceSum', axes: [1] }, [b.add(x, b.cast(h, 'f32'))]);
  const scaled = b.mul(x, b.broadcast(sum, [n, m], [0]));
  return b.build([
    sum,
    b.one({ prim: 'argmax', axis: 1 }, [x]),
    b.cast(scaled, 'f16'),
    b.neg(h),
    b.one({ prim: 'reverse', axes: [1] }, [h]),
  ]);
};

let [own, plain]: WebGpuBackend[] = [];
/** Kept: devices live as long as the instance that they are of. */
let compiler: GPU;
beforeAll(async () => {
  [own, plain] = [await webgpu(), await webgpu({ plain: true })];
  const elsewhere = "SwiftShader (without FOVEA_TEST_ADAPTER), Mesa's lavapipe and most GPUs have";
  if (own.target.subgroup === 1)
    console.warn(
      `exchanges are not run, their texts are compiled only: ${own.device} has no subgroups whose threads are neighbours; ${elsewhere}`,
    );
  if (!own.dialect.f16)
    console.warn(
      `f16 runs packed in words only: ${own.device} has no shader-f16; FOVEA_TEST_ADAPTER=system on a GPU, or Mesa's lavapipe, has`,
    );
});
const run = async (on: WebGpuBackend, g: Graph, inputs: readonly HostData[]): Promise<readonly HostData[]> => {
  const { executable } = await compileGraph(g, { backend: on, precision: 'f16' });
  inputs.forEach((x, i) => executable.write(i, x));
  await executable.run();
  const out = await results(executable);
  executable.dispose();
  return out;
};

describe('with and without', () => {
  test.each([
    [3, 40],
    [2, 257],
    [1, 1300],
  ])('%i rows of %i', async (n, m) => {
    const g = rows(n, m);
    const inputs = draw(g, m).map(encode);
    // halves of every kind: subnormal, infinite, and the largest
    [0x0001, 0x83ff, 0x7c00, 0xfbff, 0x8000].forEach((bits, i) => {
      (inputs[1] as HostData)[i] = bits;
    });
    expect(await run(own as WebGpuBackend, g, inputs)).toEqual(await run(plain as WebGpuBackend, g, inputs));
  });
  // products may be contracted with sums in one text and not in the other: what holds is the bound
  test('attention, its gradients and products, on rows of f16', async () => {
    for (const on of [own, plain]) await attends(on as WebGpuBackend, [5, 19, 4], 'f16');
  });
  test('a plain device is planned for as such, and what is tried out has an answer', () => {
    expect(plain?.target.subgroup).toBe(1);
    expect(plain?.dialect).toEqual({ f16: false });
    const { subgroup } = (own as WebGpuBackend).target;
    expect(Number.isInteger(Math.log2(subgroup))).toBe(true);
    expect(subgroup).toBeLessThanOrEqual(32);
  });
});

describe('texts', () => {
  const kernels = [
    planOf(rows(3, 257), { ...target, maxThreads: 64, subgroup: 8 }),
    planOf(staged(attention(17, 33, 12), 'f16').final, target),
  ].flatMap((p) => p.kernels);
  test('f16 is a type or the bits of one, exchanges are shuffles', () => {
    const texts = (f16: boolean): string => kernels.map((k) => printWgsl(k, undefined, { f16 })).join('\n');
    expect(texts(true)).toMatch(/enable f16;[\s\S]*array<(vec4<)?f16>/);
    expect(texts(true)).not.toContain('fv_f16_f32');
    expect(texts(false)).not.toMatch(/\bf16\b/);
    for (const f16 of [true, false]) expect(texts(f16)).toMatch(/enable subgroups;[\s\S]*subgroupShuffleXor\(\w+, 4u\)/);
  });
  test("Dawn's compiler takes them", { timeout: 60_000 }, async () => {
    compiler = await dawn(['backend=null']);
    const adapter = await compiler.requestAdapter();
    const device = await adapter?.requestDevice({ requiredFeatures: ['shader-f16', 'subgroups'] });
    if (!device) throw new Error('Dawn has a null device for whoever asks');
    for (const k of kernels) {
      const code = printWgsl(k, undefined, { f16: true });
      const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
      expect(messages.map((m) => m.message)).toEqual([]);
    }
    device.destroy();
  });
});
