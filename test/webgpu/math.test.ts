/**
 * The WGSL prelude's functions on floats strided over all bit patterns, against double: the largest error in units of the last place of the
 * result. WGSL lets a device take subnormal numbers for zero, coming in, between and going out: up to 2^-126 is no error.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { webgpu } from '../../backends/webgpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { erf } from '../../compiler/graph/erf.ts';
import { pow } from '../../compiler/graph/interpret-pointwise.ts';
import type { Op } from '../../compiler/graph/types.ts';
import { numberOf, toBf16, toF16 } from '../../compiler/kernel/scalar.ts';
import { results } from '../../testing/host.ts';

const stride = 65521;
const [infinity, tiny] = [Number.POSITIVE_INFINITY, 2 ** -126];
const edges = [
  0,
  -0,
  infinity,
  -infinity,
  Number.NaN,
  1,
  -1,
  0.625,
  4,
  88.72283,
  88.72284,
  -87.33655,
  -103.97208,
  2 ** 20 + 2,
  3.4028235e38,
];
// odd: the last ones are computed one by one, the others in vectors
const size = Math.ceil(2 ** 32 / stride) + edges.length;
const inputs = ((): Float32Array => {
  const words = Uint32Array.from({ length: size }, (_, i) => Math.imul(i, stride));
  const out = new Float32Array(words.buffer);
  // at both ends: in vectors, and alone
  edges.forEach((x, i) => {
    out[size - 1 - i] = x;
    out[i] = x;
  });
  return out;
})();

const word = new DataView(new ArrayBuffer(4));
/** Spacing of floats at x. */
const unit = (x: number): number => {
  word.setFloat32(0, Math.abs(x));
  return 2 ** (Math.max(1, word.getUint32(0) >>> 23) - 150);
};
const error = (got: number, want: number): number => {
  const rounded = Math.fround(want);
  // what lies between may have been taken for zero, too
  if (Object.is(got, rounded) || Math.abs(got - want) <= tiny) return 0;
  if (Number.isNaN(got) || Number.isNaN(want)) return infinity;
  // a finite result where the rounded one is infinite, and the reverse, is one unit at the largest float
  const [g, w] = [Number.isFinite(got) ? got : Math.sign(got) * 2 ** 128, Number.isFinite(rounded) ? want : Math.sign(want) * 2 ** 128];
  return Math.abs(g - w) / unit(Math.min(Math.abs(w), 3.4e38));
};

const unary = (prim: 'exp' | 'log' | 'tanh' | 'erf' | 'sin' | 'cos' | 'rsqrt' | 'sqrt' | 'floor'): Op => ({ prim });
/** Units allowed: two are what the bound of a law allows (testing/bound.ts). */
const functions: readonly (readonly [name: string, op: Op, f: (x: number) => number, most: number])[] = [
  ['exp', unary('exp'), Math.exp, 1.5],
  ['log', unary('log'), Math.log, 1.5],
  ['tanh', unary('tanh'), Math.tanh, 2],
  ['erf', unary('erf'), erf, 2],
  ['sin', unary('sin'), Math.sin, 1.5],
  ['cos', unary('cos'), Math.cos, 1.5],
  ['rsqrt', unary('rsqrt'), (x) => 1 / Math.sqrt(x), 2],
  ['sqrt', unary('sqrt'), Math.sqrt, 1.5],
  ['floor', unary('floor'), Math.floor, 0],
];
const powers = [0, 1, -1, 0.5, 2, -3.25, 1e-3, 31, -infinity, infinity, Number.NaN];

let made: readonly Float32Array[];
beforeAll(async () => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [size] });
  const exponents = powers.map(() => b.param({ dtype: 'f32', shape: [] }));
  const all = [
    ...functions.map(([, op]) => b.one(op, [x])),
    ...exponents.map((y) => b.one({ prim: 'pow' }, [x, b.broadcast(y, [size], [])])),
  ];
  const backend = await webgpu();
  const { executable } = await compileGraph(b.build(all), { backend });
  executable.write(0, inputs);
  powers.forEach((p, i) => executable.write(i + 1, Float32Array.of(p)));
  await executable.run();
  made = (await results(executable)) as readonly Float32Array[];
}, 120_000);

const worst = (got: Float32Array, want: (x: number) => number): { readonly most: number; readonly at: number } => {
  let [most, at] = [0, 0];
  inputs.forEach((x, i) => {
    // what is read as zero is another number
    if (x !== 0 && Math.abs(x) < tiny) return;
    const e = error(got[i] as number, want(x));
    if (e > most) [most, at] = [e, x];
  });
  return { most, at };
};

describe('the largest error in ulp', () => {
  test.each(functions.map(([name, , f, most], i) => [name, i, f, most] as const))('%s', (_, i, f, most) => {
    const found = worst(made[i] as Float32Array, f);
    expect(found.most, `at ${found.at}`).toBeLessThanOrEqual(most);
  });
  test.each(powers.map((p, i) => [p, functions.length + i] as const))('pow %s', (p, i) => {
    const found = worst(made[i] as Float32Array, (x) => pow(x, Math.fround(p)));
    expect(found.most, `at ${found.at}`).toBeLessThanOrEqual(2);
  });
});

test('a NaN on either side of max and min is the result, and integers divided by 0 are 0', async () => {
  const b = builder();
  const [x, y] = [b.param({ dtype: 'f32', shape: [6] }), b.param({ dtype: 'f32', shape: [6] })];
  const [p, q] = [b.param({ dtype: 'i32', shape: [6] }), b.param({ dtype: 'i32', shape: [6] })];
  const [u, v] = [b.one({ prim: 'cast', dtype: 'u32' }, [p]), b.one({ prim: 'cast', dtype: 'u32' }, [q])];
  const made = [
    b.one({ prim: 'max' }, [x, y]),
    b.one({ prim: 'min' }, [x, y]),
    ...[[p, q] as const, [u, v] as const].flatMap((both) => [b.one({ prim: 'div' }, both), b.one({ prim: 'rem' }, both)]),
  ];
  const { executable } = await compileGraph(b.build(made), { backend: await webgpu() });
  const no = Number.NaN;
  executable.write(0, Float32Array.of(1, no, 2, no, -infinity, 3));
  executable.write(1, Float32Array.of(no, 1, 1, no, infinity, 3));
  executable.write(2, Int32Array.of(7, -7, 7, 0, 100, 5));
  executable.write(3, Int32Array.of(0, 0, -2, 0, 7, 5));
  await executable.run();
  const [max, min, div, rem, udiv, urem] = (await results(executable)).map((d) => Array.from(d));
  expect(max).toEqual([no, no, 2, no, infinity, 3]);
  expect(min).toEqual([no, no, 1, no, -infinity, 3]);
  expect(div).toEqual([0, 0, -3, 0, 14, 1]);
  expect(rem).toEqual([0, 0, 1, 0, 2, 0]);
  expect(udiv?.slice(0, 2)).toEqual([0, 0]);
  expect(urem?.slice(0, 2)).toEqual([0, 0]);
  expect(udiv?.slice(4)).toEqual([14, 1]);
});

test('floats become halves as they are to be rounded, ties to even, and are themselves again', async () => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [size] });
  const halves = (['bf16', 'f16'] as const).map((dtype) => b.one({ prim: 'cast', dtype }, [x]));
  const { executable } = await compileGraph(b.build([...halves, ...halves.map((h) => b.cast(h, 'f32'))]), { backend: await webgpu() });
  // numbers of which many lie in the middle between two halves
  const data = inputs.map((v, i) => (i % 3 === 0 ? Math.fround((1 + (i % 2 ** 12) / 2 ** 11) * 2 ** ((i % 20) - 10)) : v));
  executable.write(0, data);
  await executable.run();
  const [bf, half, wide, widened] = await results(executable);
  const rounders = [toBf16, toF16] as const;
  const wrong = data.reduce((n, v, i) => {
    // subnormal numbers may have been taken for zero
    if (v !== 0 && Math.abs(v) < 2 ** -126) return n;
    const ok = [bf, half].every((d, k) => {
      const dtype = (['bf16', 'f16'] as const)[k] as 'bf16' | 'f16';
      const want = (rounders[k] as typeof toBf16)(v);
      return Object.is(numberOf((d as Uint16Array)[i] as number, dtype), want) && Object.is(([wide, widened][k] as Float32Array)[i], want);
    });
    return ok ? n : n + 1;
  }, 0);
  expect(wrong).toBe(0);
});
