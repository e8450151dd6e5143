/**
 * Tensors that are more pieces than a kernel has bindings: on a device whose limits are lowered on purpose, launches become dispatches of some blocks each, which
 * bind what those touch.
 */
import { expect, test } from 'vitest';
import { type WebGpuBackend, webgpu } from '../../backends/webgpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { type DType, type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { type F32, scope, spec, sum, trace } from '../../index.ts';
import { results } from '../../testing/host.ts';
import { generated } from '../compile/device.ts';

const numbers = (n: number, salt: number): Float32Array => Float32Array.from({ length: n }, (_, i) => ((i * 7919 + salt) % 211) - 105);
const run = async (backend: WebGpuBackend, graph: Parameters<typeof compileGraph>[0], inputs: readonly HostData[]) => {
  const { executable } = await compileGraph(graph, { backend });
  inputs.forEach((x, i) => executable.write(i, x));
  await executable.run();
  const out = await results(executable);
  executable.dispose();
  return out;
};

test('more pieces than bindings: sums, products, rows, each a few blocks at a time', { timeout: 120_000 }, async () => {
  // 6 bindings of 32 KiB, twice as much as a block of a map writes: a tensor is 5 pieces
  const backend = await webgpu({ most: { binding: 32768, bindings: 6 } });
  expect(backend.target.maxBuffers).toBe(6);
  const n = 40_000;
  const [x, y] = [numbers(n, 1), numbers(n, 5)];
  const b = builder();
  const [p, q] = [b.param({ dtype: 'f32', shape: [n] }), b.param({ dtype: 'f32', shape: [n] })];
  const graph = b.build([b.add(p, q), b.mul(b.one({ prim: 'reverse', axes: [0] }, [p]), q), b.sum(b.reshape(p, [200, 200]), [1])]);
  const [sum, product, ofRows] = await run(backend, graph, [x, y]);
  expect(sum).toEqual(x.map((v, i) => v + (y[i] as number)));
  expect(product).toEqual(y.map((v, i) => v * (x[n - 1 - i] as number)));
  expect(ofRows).toEqual(Float32Array.from({ length: 200 }, (_, r) => x.subarray(200 * r, 200 * r + 200).reduce((s, v) => s + v, 0)));
  backend.destroy();
});

test('elements of 1 and 2 bytes, in words that two dispatches write', { timeout: 120_000 }, async () => {
  const backend = await webgpu({ most: { buffer: 65536, binding: 16384, bindings: 6 } });
  for (const dtype of ['bf16', 'bool'] as readonly DType[]) {
    const n = 70_001;
    const b = builder();
    const x = b.param({ dtype, shape: [n] });
    const data = new hostArrays[dtype](n).map((_, i) => (dtype === 'bool' ? (i * 7) % 2 : 0x3c00 + (i % 999)));
    const [turned, changed] = await run(
      backend,
      b.build([b.one({ prim: 'reverse', axes: [0] }, [x]), dtype === 'bool' ? b.not(x) : b.neg(x)]),
      [data as HostData],
    );
    expect(turned).toEqual(data.slice().reverse());
    expect(changed).toEqual(data.map((v) => (dtype === 'bool' ? 1 - v : v ^ 0x8000)));
  }
  backend.destroy();
});

test('concatenations, of whose parts a dispatch reads some', { timeout: 120_000 }, async () => {
  const backend = await webgpu({ most: { binding: 32768, bindings: 6 } });
  const n = 40_000;
  const joined = async (
    dtype: DType,
    axis: number,
    shapes: readonly (readonly number[])[],
  ): Promise<readonly [HostData, readonly HostData[]]> => {
    const b = builder();
    const data = shapes.map((s, k) =>
      dtype === 'f32'
        ? numbers(
            s.reduce((x, y) => x * y),
            k,
          )
        : new hostArrays[dtype](s.reduce((x, y) => x * y)).map((_, i) => 0x3c00 + ((31 * i + k) % 999)),
    ) as readonly HostData[];
    const [out] = await run(
      backend,
      b.build([
        b.one(
          { prim: 'concat', axis },
          shapes.map((shape) => b.param({ dtype, shape })),
        ),
      ]),
      data,
    );
    return [out as HostData, data];
  };
  for (const [dtype, lengths] of [
    ['f32', [n, n]],
    ['bf16', [2 * n + 1, 2 * n]],
  ] as const) {
    const [out, [x, y]] = await joined(
      dtype,
      0,
      lengths.map((l) => [l]),
    );
    expect(Array.from(out)).toEqual([...(x as HostData), ...(y as HostData)]);
  }
  const [rows, [x, y]] = await joined('f32', 1, [
    [200, 100],
    [200, 101],
  ]);
  expect(Array.from(rows)).toEqual(
    Array.from({ length: 200 * 201 }, (_, i) => {
      const [r, c] = [Math.floor(i / 201), i % 201];
      return c < 100 ? x?.[100 * r + c] : y?.[101 * r + c - 100];
    }),
  );
  backend.destroy();
});

test('generated programs on a device of small bindings', { timeout: 240_000 }, async () => {
  const backend = await webgpu({ most: { buffer: 4096, binding: 512, bindings: 8 } });
  await generated(backend, 9200, 9210);
  backend.destroy();
});

test('a block that needs more than there are bindings is refused before anything runs, with the place that asks', async () => {
  const backend = await webgpu({ most: { buffer: 1024, binding: 512, bindings: 4 } });
  // its one block reads everything
  const total = ((x: F32<'1600'>) => scope('student/head', () => sum('i ->', x))) as never;
  const { graph } = trace(total, [spec('1600')] as never);
  await expect(compileGraph(graph, { backend })).rejects.toMatchObject({
    code: 'FV0202',
    message: expect.stringMatching(/^kernel k0_\w+ needs \d+ bindings, of which this device has 4$/),
    scope: 'student/head',
    loc: { file: expect.stringMatching(/cut\.test\.ts$/), line: expect.any(Number) },
    hint: 'Its tensors are larger than one binding may be: use a smaller batch.',
  });
  backend.destroy();
});
