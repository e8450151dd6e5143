/**
 * The prelude's functions on floats strided over all bit patterns, against double: the largest error in units of the last
 * place of the result. The bounds are the promises in backends/native/math.ts. `Math` itself is within 1e-15, which is 1e-8 of
 * a float's unit; erf is the float64 erf of the interpreters.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { erf } from '../../compiler/graph/erf.ts';
import { pow } from '../../compiler/graph/interpret-pointwise.ts';
import type { HostData } from '../../compiler/graph/types.ts';
import * as e from '../../compiler/kernel/expr.ts';
import type { KBuffer, Kernel, KUnary, Stmt } from '../../compiler/kernel/types.ts';
import { runC } from './helper.ts';

const stride = 8191;
const edges = [
  0,
  -0,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
  1,
  -1,
  0.625,
  4,
  88.72283,
  88.72284,
  -87.33655,
  -103.97208,
  -103.97209,
  2 ** 20,
  2 ** 20 + 2,
  3.4028235e38,
  1e-45,
];
const size = Math.ceil((2 ** 32 / stride + edges.length) / 16) * 16;
const inputs = ((): Float32Array => {
  const words = Uint32Array.from({ length: size }, (_, i) => Math.imul(i, stride));
  const out = new Float32Array(words.buffer);
  edges.forEach((x, i) => {
    out[size - 1 - i] = x;
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
  if (Object.is(got, rounded)) return 0;
  if (Number.isNaN(got) || Number.isNaN(want)) return Number.POSITIVE_INFINITY;
  // a finite result where the rounded one is infinite, and the reverse, is one unit at the largest float
  const [g, w] = [Number.isFinite(got) ? got : Math.sign(got) * 2 ** 128, Number.isFinite(rounded) ? want : Math.sign(want) * 2 ** 128];
  return Math.abs(g - w) / unit(Math.min(Math.abs(w), 3.4e38));
};

const functions: readonly (readonly [KUnary, (x: number) => number, number])[] = [
  ['exp', Math.exp, 1],
  ['log', Math.log, 1],
  ['tanh', Math.tanh, 2],
  ['erf', erf, 2],
  ['sin', Math.sin, 1],
  ['cos', Math.cos, 1],
  ['rsqrt', (x) => 1 / Math.sqrt(x), 1],
  ['sqrt', Math.sqrt, 0.5],
  ['floor', Math.floor, 0],
];
const powers = [0, 1, -1, 0.5, 2, -3.25, 1e-3, 31, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN];

const kernels = ((): readonly Kernel[] => {
  const i = e.ref('i', 'index');
  const x = e.load({ name: 'x', dtype: 'f32' }, i, 16);
  const read: KBuffer = { name: 'x', dtype: 'f32', size, access: 'read' };
  const kernel = (name: string, value: e.ExprOf<'unary'> | e.ExprOf<'binary'>): Kernel => {
    const body: Stmt[] = [{ s: 'store', to: name, index: i, value }];
    return {
      name,
      buffers: [read, { name, dtype: 'f32', size, access: 'write' }],
      grid: [1, 1, 1],
      threads: 1,
      body: [{ s: 'for', name: 'i', from: e.index(0), to: e.index(size), step: 16, kind: 'serial', body }],
    };
  };
  return [
    ...functions.map(([op]) => kernel(`out_${op}`, e.unary(op, x) as e.ExprOf<'unary'>)),
    ...powers.map((y, n) => kernel(`pow_${n}`, { k: 'binary', op: 'pow', x, y: e.f32(y, 16), dtype: 'f32', lanes: 16 })),
  ];
})();

const worst = (got: HostData, f: (x: number) => number): { readonly ulps: number; readonly at: number } => {
  let [ulps, at] = [0, 0];
  for (let n = 0; n < size; n++) {
    const x = inputs[n] as number;
    const d = error(got[n] as number, f(x));
    if (d > ulps) [ulps, at] = [d, x];
  }
  return { ulps, at };
};

describe('accuracy over all floats', () => {
  let got: Record<string, HostData> = {};
  beforeAll(async () => {
    got = await runC(kernels, { x: inputs });
  }, 60_000);
  for (const [op, f, bound] of functions)
    test(`${op} within ${bound} ulp`, () => {
      const w = worst(got[`out_${op}`] as HostData, f);
      expect(w.ulps, `at ${w.at}`).toBeLessThanOrEqual(bound);
    }, 60_000);
  test('pow within 1 ulp', () => {
    powers.forEach((y, n) => {
      const w = worst(got[`pow_${n}`] as HostData, (x) => pow(x, Math.fround(y)));
      expect(w.ulps, `at ${w.at} ** ${y}`).toBeLessThanOrEqual(1);
    });
  }, 60_000);
});
