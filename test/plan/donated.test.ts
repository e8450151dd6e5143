/**
 * What a plan refuses about donation, and the two ways in which an argument may still be needed. That donation never changes a bit is a
 * law, in the tests of compile.
 */
import { expect, test } from 'vitest';
import { cpu as backend } from '../../backends/cpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import type { Graph, HostData, Value } from '../../compiler/graph/types.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { results } from '../../testing/host.ts';
import { cpu } from '../fuse/run.ts';

test('two outputs cannot take the place of one input', () => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [4] }, 'x');
  const g = b.build([b.neg(x), b.exp(x)]);
  expect(() => buildPlan(g, cpu, { donated: [0, 0], maxBytes: 1e9 })).toThrow(/two outputs cannot take the place of one input/);
  expect(buildPlan(g, cpu, { donated: [0, -1], maxBytes: 1e9 }).aliases).toEqual([0, -1]);
});

/** Results of g on the cpu backend with its first result in the place of its first argument. */
const donating = async (g: Graph, x: Float32Array): Promise<readonly HostData[]> => {
  const { executable } = await compileGraph(g, { backend: backend({ threads: 1 }), donated: g.results.map((_, o) => (o === 0 ? 0 : -1)) });
  try {
    executable.write(0, x);
    await executable.run();
    return await results(executable);
  } finally {
    executable.dispose();
  }
};
const numbers = Float32Array.from({ length: 64 }, (_, i) => i);

test('a result that reads its argument at other places is not written over it', async () => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [64] });
  const [y] = await donating(b.build([b.one({ prim: 'reverse', axes: [0] }, [x])]), numbers);
  expect(y).toEqual(numbers.slice().reverse());
});

test('an argument that is read again later keeps its place until then', async () => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [64] });
  const [y, z] = await donating(b.build([b.add(x, x), b.one({ prim: 'cumsum', axis: 0 }, [x])]), numbers);
  expect(y).toEqual(numbers.map((v) => 2 * v));
  expect(z).toEqual(numbers.map((v) => (v * (v + 1)) / 2));
});

test('a vector that is short of elements is overwritten in place like the others', () => {
  for (const n of [17, 20001]) {
    const b = builder();
    const x = b.param({ dtype: 'f32', shape: [n] }, 'x');
    const { launches } = buildPlan(b.build([b.neg(x)]), cpu, { donated: [0], maxBytes: 1e9 });
    expect(launches.map((l) => l.label)).toEqual(['map: neg']);
  }
});

test('a value does not lie over what it is made of, where that is read at other places than it is written', () => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [8, 8] });
  const product = (p: Value, q: Value): Value => b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [p, q]);
  const turned = b.one({ prim: 'reverse', axes: [0] }, [b.exp(product(x, x))]);
  const { launches } = buildPlan(b.build([product(turned, x)]), cpu, { donated: [-1], maxBytes: 1e9 });
  const offsets = launches.flatMap((l) => (l.label === 'map: exp' ? l.parts.flatMap((p) => p.offsets) : []));
  expect(offsets).toHaveLength(2);
  expect(new Set(offsets).size).toBe(2);
});
