/** Contractions as the tests of the gemm templates draw them: operands of any layout, what their products are in float64, and the bound that sums are held to. */
import { expect } from 'vitest';
import type { DType } from '../../compiler/graph/types.ts';
import * as e from '../../compiler/kernel/expr.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { bitsOf, toBf16, toF16 } from '../../compiler/kernel/scalar.ts';
import type { Expr, Kernel } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import type { GemmOperand, GemmPoint, GemmSpec, Lowering } from '../../compiler/tile/gemm-spec.ts';

export interface Problem {
  readonly batch: readonly number[];
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Which axis of each operand is consecutive in memory; `neither` spreads both. */
  readonly a: 'outer' | 'inner' | 'neither';
  readonly b: 'outer' | 'inner' | 'neither';
  readonly dtype: 'f32' | 'f16' | 'bf16' | 'i32' | 'u32';
  /** Whether operand b is shared by all batch elements. */
  readonly shared: boolean;
  /** Of which number starts and lines are multiples; 1 unless given. */
  readonly even?: number;
}

const operand = (buffer: string, p: Problem, outer: number, unit: Problem['a'], shared: boolean): GemmOperand => {
  const gap = unit === 'neither' ? 2 : 1;
  const even = p.even ?? 1;
  const base = 3 * even;
  const line = (n: number): number => Math.ceil(n / even) * even;
  const [o, i] = unit === 'outer' ? [1, line(outer)] : [line(p.k * gap), gap];
  const one = unit === 'outer' ? i * p.k : o * outer;
  let stride = one;
  const batch = [...p.batch].reverse().map((d) => {
    const s = stride;
    stride *= d;
    return shared ? 0 : s;
  });
  return { buffer, dtype: p.dtype as DType, size: base + (shared ? one : stride), base, batch: batch.reverse(), outer: o, inner: i };
};

const isFloat = (t: Problem['dtype']): boolean => t === 'f32' || t === 'f16' || t === 'bf16';
const acc = (t: Problem['dtype']): 'f32' | 'i32' | 'u32' => (t === 'i32' || t === 'u32' ? t : 'f32');
export const output = (p: Problem): number => p.batch.reduce((x, y) => x * y, 1) * p.m * p.n;
export const place = (p: Problem, at: GemmPoint): Expr => {
  const flat = at.batch.reduce((s: Expr, i, j) => e.add(e.mul(s, p.batch[j] as number), i), e.index(0));
  return e.add(e.mul(e.add(e.mul(flat, p.m), at.row), p.n), at.col);
};
export type Epilogue = (p: Problem) => GemmSpec['epilogue'];
const plain: Epilogue = (p) => (at, sum) => [{ s: 'store', to: 'out', index: place(p, at), value: sum }];

export const spec = (p: Problem, epilogue: Epilogue = plain): GemmSpec => ({
  batch: p.batch,
  m: p.m,
  n: p.n,
  k: p.k,
  acc: acc(p.dtype),
  a: operand('left', p, p.m, p.a, false),
  b: operand('right', p, p.n, p.b, p.shared),
  epilogue: epilogue(p),
});

/** How a problem is lowered. */
export type Lower = (s: GemmSpec) => Lowering;

export const kernelOf = (p: Problem, s: GemmSpec, lower: Lower): Kernel =>
  verifyKernel({
    name: 'gemm',
    buffers: [
      { name: 'left', dtype: s.a.dtype, size: s.a.size, access: 'read' },
      { name: 'right', dtype: s.b.dtype, size: s.b.size, access: 'read' },
      { name: 'bias', dtype: 'f32', size: p.n, access: 'read' },
      { name: 'out', dtype: s.acc, size: output(p), access: 'write' },
    ],
    ...lower(s),
  });

/** Small deterministic numbers, not symmetric, with many different mantissas. */
export const numbers = (n: number, dtype: Problem['dtype'], salt: number): number[] =>
  Array.from({ length: n }, (_, i) => {
    const x = (((i + 1) * 2654435761 + salt * 40503) % 4093) / 1024 - 2;
    if (dtype === 'i32') return Math.round(x * 50000);
    if (dtype === 'u32') return Math.round((x + 2) * 90000);
    return dtype === 'f16' ? toF16(Math.fround(x)) : dtype === 'bf16' ? toBf16(Math.fround(x)) : Math.fround(x);
  });
const host = (x: readonly number[], dtype: Problem['dtype']): Float32Array | Uint16Array | Int32Array | Uint32Array =>
  dtype === 'f32'
    ? Float32Array.from(x)
    : dtype === 'i32'
      ? Int32Array.from(x)
      : dtype === 'u32'
        ? Uint32Array.from(x)
        : Uint16Array.from(x.map((v) => bitsOf(v, dtype)));

export const run = (p: Problem, s: GemmSpec, lower: Lower) => {
  const left = numbers(s.a.size, p.dtype, 1);
  const right = numbers(s.b.size, p.dtype, 2);
  const bias = numbers(p.n, 'f32', 3);
  const out =
    s.acc === 'f32' ? new Float32Array(output(p)).fill(NaN) : s.acc === 'i32' ? new Int32Array(output(p)) : new Uint32Array(output(p));
  interpretKernel(
    kernelOf(p, s, lower),
    { left: host(left, p.dtype), right: host(right, p.dtype), bias: Float32Array.from(bias), out },
    { order: { seed: p.m } },
  );
  return { left, right, bias, out };
};

/** Calls f with every result's position and its products in float64. */
export const visit = (
  p: Problem,
  s: GemmSpec,
  r: { left: number[]; right: number[] },
  f: (at: number, row: number, col: number, products: number[]) => void,
): void => {
  const count = p.batch.reduce((x, y) => x * y, 1);
  for (let z = 0; z < count; z++) {
    let [rest, startA, startB] = [z, s.a.base, s.b.base];
    for (let j = p.batch.length - 1; j >= 0; j--) {
      const d = p.batch[j] as number;
      startA += (rest % d) * (s.a.batch[j] as number);
      startB += (rest % d) * (s.b.batch[j] as number);
      rest = Math.floor(rest / d);
    }
    for (let i = 0; i < p.m; i++)
      for (let j = 0; j < p.n; j++) {
        const products = Array.from(
          { length: p.k },
          (_, q) =>
            (r.left[startA + i * s.a.outer + q * s.a.inner] as number) * (r.right[startB + j * s.b.outer + q * s.b.inner] as number),
        );
        f((z * p.m + i) * p.n + j, i, j, products);
      }
  }
};
export const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);
export const bound = (products: readonly number[]): number => (products.length + 1) * 2 ** -24 * sum(products.map(Math.abs)) + 1e-30;

export const check = (p: Problem, lower: Lower): void => {
  const s = spec(p);
  const r = run(p, s, lower);
  visit(p, s, r, (at, _row, _col, products) => {
    const got = r.out[at] as number;
    if (isFloat(p.dtype)) expect(Math.abs(got - sum(products))).toBeLessThanOrEqual(bound(products));
    else {
      const exact = products.reduce((t, _, q) => t + BigInt(products[q] as number), 0n);
      expect(got).toBe(Number(p.dtype === 'i32' ? BigInt.asIntN(32, exact) : BigInt.asUintN(32, exact)));
    }
  });
};
