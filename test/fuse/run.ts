/**
 * Runs a graph the way a backend would: fuse, lower, verify, and execute every kernel with the kernel interpreter. And an
 * error bound to hold the results against: with each float value x of the float64 run goes a bound E(x) on what f32
 * arithmetic may have added, propagated by the textbook rules (Higham, Accuracy and Stability, chapters 2 to 4), with
 * u = 2^-24 a rounding, 4 u for functions of a library and 2^-9 for a rounding to bf16:
 *
 *   E(x y) = |x| E(y) + |y| E(x) + E(x) E(y) + u |x y|        E(sum x) = sum E(x) + n u sum |x|
 *
 * Where an error may change a discrete outcome (comparison, floor, argmax) the bound is infinite and nothing is checked.
 */

import { fuse } from '../../compiler/fuse/fuse.ts';
import { apply, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import type { HostData } from '../../compiler/graph/types.ts';
import { type DType, type Graph, isFloat, type Node, type TensorType, type Value } from '../../compiler/graph/types.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { bitsOf, foldCast, numberOf } from '../../compiler/kernel/scalar.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import type { Target } from '../../compiler/target.ts';
import { sizeOf } from '../../compiler/tile/emit.ts';
import { lower } from '../../compiler/tile/lower.ts';

export const cpu: Target = {
  name: 'test',
  workers: 2,
  maxThreads: 1,
  vectorBytes: 32,
  registers: 16,
  sharedBytes: 0,
  maxBuffers: 32,
  alignment: 64,
  cacheBytes: { l1: 32768, l2: 1048576 },
  peak: { flops: 1e11, bytes: 1e10 },
};
export const gpu: Target = { ...cpu, name: 'parallel', maxThreads: 32, vectorBytes: 16, sharedBytes: 16384, maxBuffers: 8, alignment: 256 };

const hostArray = (dtype: DType, n: number): HostData =>
  dtype === 'f32'
    ? new Float32Array(n)
    : dtype === 'i32'
      ? new Int32Array(n)
      : dtype === 'u32'
        ? new Uint32Array(n)
        : dtype === 'bool'
          ? new Uint8Array(n)
          : new Uint16Array(n);
const encode = (t: TensorType, values: ArrayLike<number>): HostData => {
  const out = hostArray(t.dtype, values.length);
  for (let i = 0; i < values.length; i++) {
    const x = foldCast(values[i] as number, 'f64', t.dtype);
    out[i] = t.dtype === 'f16' || t.dtype === 'bf16' ? bitsOf(x, t.dtype) : x;
  }
  return out;
};
const decode = (t: TensorType, data: HostData): number[] =>
  Array.from(data, (x) => (t.dtype === 'f16' || t.dtype === 'bf16' ? numberOf(x, t.dtype) : x));

/** Results of the kernels, as numbers. */
export const runKernels = (g: Graph, target: Target, args: readonly Tensor64[]): number[][] => {
  const f = fuse(g, target);
  const memory = new Map<Value, HostData>();
  g.params.forEach((p, i) => memory.set(p, encode(p.type, (args[i] as Tensor64).data)));
  for (const c of f.constants) memory.set(c.value, encode(c.value.type, c.data));
  for (const group of f.groups) {
    const { kernel, buffers } = lower(group, target);
    verifyKernel(kernel);
    if (buffers.length > target.maxBuffers && group.nodes.length > 1)
      throw new Error(`${buffers.length} buffers: ${group.nodes.map((n) => n.op.prim).join(' ')}`);
    const named: Record<string, HostData> = {};
    buffers.forEach((v, i) => {
      const old = memory.get(v);
      if (!old && i < group.inputs.length) throw new Error(`%${v.id} is read before it is written`);
      const data = old ?? hostArray(v.type.dtype, sizeOf(v));
      memory.set(v, data);
      named[`b${i}`] = data;
    });
    interpretKernel(kernel, named, { order: 'reverse' });
  }
  return f.results.map((r) => decode(r.type, memory.get(r) as HostData));
};

const u = 2 ** -24;
const storage: Partial<Record<DType, number>> = { bf16: 2 ** -8, f16: 2 ** -10 };
/** What rounding to a dtype may change: relative, or the smallest number; anything where it overflows. */
const rounding = (t: DType, v: number): number => {
  const a = Math.abs(v);
  if (a > (t === 'f16' ? 65000 : 3e38)) return Infinity;
  return (storage[t] ?? u) * a + (t === 'f16' ? 2 ** -24 : 1e-37);
};
type Num = ArrayLike<number>;
const at = (a: Num | undefined, i: number): number => a?.[i] ?? 0;

/** E of a node's result from values and E of its operands. */
const errorOf = (n: Node, xs: readonly Tensor64[], es: readonly Num[], out: Tensor64): number[] => {
  const { op } = n;
  const [x, y] = xs.map((t): Num => t.data) as [Num, Num];
  const [ex, ey] = es as [Num, Num];
  const each = (f: (i: number) => number): number[] =>
    Array.from(out.data, (v, i) => f(i) + (storage[out.type.dtype] ? rounding(out.type.dtype, v) : 0));
  const r = out.data;
  /** The same structural operation on the errors. */
  const moved = (): number[] => {
    const ins = xs.map((t, i): Tensor64 => (isFloat(t.type.dtype) ? { type: t.type, data: Float64Array.from(es[i] as Num) } : t));
    return [...(apply(op.prim === 'pad' ? { ...op, value: 0 } : op, ins, [out.type])[0] as Tensor64).data];
  };
  const lipschitz = (slope: (a: number) => number): number[] =>
    each((i) => slope(Math.abs(at(ex, i))) * at(ex, i) + 8 * u * Math.abs(at(r, i)) + 1e-37);
  switch (op.prim) {
    case 'const':
    case 'array':
      return each((i) => u * Math.abs(at(r, i)));
    case 'iota':
      return each((i) => u * Math.abs(at(r, i)));
    case 'neg':
    case 'abs':
    case 'stopGradient':
      return each((i) => at(ex, i));
    case 'exp':
      return each((i) => at(r, i) * (Math.expm1(at(ex, i)) + 8 * u + 2 * u * Math.abs(at(x, i))) + 1e-37);
    case 'log':
      return each((i) => (at(ex, i) < at(x, i) / 2 ? (2 * at(ex, i)) / at(x, i) + 8 * u * Math.abs(at(r, i)) + 8 * u : Infinity));
    case 'sin':
    case 'cos':
    case 'tanh':
      return lipschitz(() => 1).map((e) => e + 8 * u);
    case 'erf':
      return lipschitz(() => 1.13).map((e) => e + 8 * u);
    case 'sqrt':
      return each((i) => (at(ex, i) < at(x, i) / 2 ? at(ex, i) / Math.sqrt(at(x, i)) : Math.sqrt(2 * at(ex, i))) + 4 * u * at(r, i));
    case 'rsqrt':
      return each((i) => (at(ex, i) < at(x, i) / 2 ? (at(r, i) * 2 * at(ex, i)) / at(x, i) + 8 * u * at(r, i) : Infinity));
    case 'add':
    case 'sub':
      return each((i) => at(ex, i) + at(ey, i) + u * Math.abs(at(r, i)));
    case 'mul':
      return each(
        (i) => Math.abs(at(x, i)) * at(ey, i) + Math.abs(at(y, i)) * at(ex, i) + at(ex, i) * at(ey, i) + u * Math.abs(at(r, i)) + 1e-37,
      );
    case 'div':
      return each((i) => {
        const d = Math.abs(at(y, i)) - at(ey, i);
        return d > 0 ? (at(ex, i) + Math.abs(at(r, i)) * at(ey, i)) / d + 4 * u * Math.abs(at(r, i)) + 1e-37 : Infinity;
      });
    case 'max':
    case 'min':
      return each((i) => Math.max(at(ex, i), at(ey, i)));
    case 'select':
      return each((i) => (es[0]?.[i] ? Infinity : at(x, i) ? at(es[1], i) : at(es[2], i)));
    case 'compare':
      // an error that could turn the outcome: mark it
      return Array.from(r, (_, i) => (at(ex, i) + at(ey, i) > 0 && Math.abs(at(x, i) - at(y, i)) <= at(ex, i) + at(ey, i) ? Infinity : 0));
    case 'sign':
      return each((i) => (at(ex, i) > 0 && Math.abs(at(x, i)) <= at(ex, i) ? Infinity : 0));
    case 'floor':
      return each((i) => (at(ex, i) > 0 && Math.abs(at(x, i) - Math.round(at(x, i))) <= at(ex, i) ? Infinity : 0));
    case 'cast':
      if (isFloat(op.dtype)) return each((i) => at(ex, i) + u * Math.abs(at(r, i)));
      return Array.from(r, (_, i) => (at(ex, i) > 0 ? Infinity : 0));
    case 'not':
    case 'and':
    case 'or':
    case 'xor':
      return Array.from(r, (_, i) => at(ex, i) + at(ey, i));
    case 'broadcast':
    case 'reshape':
    case 'transpose':
    case 'slice':
    case 'pad':
    case 'concat':
    case 'reverse':
    case 'gather':
      return isFloat(out.type.dtype) ? moved() : [...r].map(() => (es.some((e) => Array.from(e).some((v) => v > 0)) ? Infinity : 0));
    case 'reduceMax':
    case 'reduceMin':
      return (
        apply({ ...op, prim: 'reduceMax' }, [{ type: xs[0]?.type as TensorType, data: Float64Array.from(ex) }], [out.type])[0] as Tensor64
      ).data as never;
    case 'reduceSum':
    case 'cumsum':
    case 'scatterAdd':
    case 'dot': {
      if (!isFloat(out.type.dtype)) return [...r].map(() => 0);
      // sum of |terms| and of their errors; n additions at most
      const absolute = xs.map((t): Tensor64 => (isFloat(t.type.dtype) ? { type: t.type, data: Float64Array.from(t.data, Math.abs) } : t));
      const errors = xs.map((t, k): Tensor64 => (isFloat(t.type.dtype) ? { type: t.type, data: Float64Array.from(es[k] as Num) } : t));
      const total = (ins: readonly Tensor64[]): Num => (apply(op, ins, [out.type])[0] as Tensor64).data;
      const size = total(absolute);
      const n =
        op.prim === 'dot' || op.prim === 'reduceSum'
          ? (xs[0]?.data.length ?? 0) / Math.max(1, op.prim === 'dot' ? 1 : r.length)
          : (xs.at(-1)?.data.length ?? 0);
      const parts =
        op.prim === 'dot'
          ? [
              total([errors[0] as Tensor64, absolute[1] as Tensor64]),
              total([absolute[0] as Tensor64, errors[1] as Tensor64]),
              total(errors),
            ]
          : [total(errors)];
      return each((i) => parts.reduce((s, p) => s + at(p, i), 0) + (n + 2) * u * at(size, i));
    }
    case 'argmax':
      return [...r].map(() => (Array.from(ex).some((v) => v > 0) ? Infinity : 0));
    default:
      return [...r].map(() => (es.some((e) => Array.from(e).some((v) => v > 0)) ? Infinity : 0));
  }
};

/** Arguments are rounded to their dtype on the way in. */
const inputError = (t: DType, x: Tensor64): Num =>
  Float64Array.from(x.data, (v) => (isFloat(t) && v !== foldCast(v, 'f64', t) ? rounding(t, v) : 0));

/** Results in float64 and the bound on what f32 may deviate from them. */
export const runReference = (g: Graph, args: readonly Tensor64[]): { readonly value: number[]; readonly error: number[] }[] => {
  const values = new Map<Value, Tensor64>(g.params.map((p, i) => [p, args[i] as Tensor64]));
  const errors = new Map<Value, Num>(g.params.map((p, i) => [p, inputError(p.type.dtype, args[i] as Tensor64)]));
  for (const n of g.nodes) {
    const xs = n.inputs.map((v) => values.get(v) as Tensor64);
    const es = n.inputs.map((v) => errors.get(v) as Num);
    const outs = apply(
      n.op,
      xs,
      n.outputs.map((o) => o.type),
    );
    n.outputs.forEach((o, i) => {
      values.set(o, outs[i] as Tensor64);
      errors.set(
        o,
        errorOf(n, xs, es, outs[i] as Tensor64).map((v) => (Number.isNaN(v) ? Infinity : v)),
      );
    });
  }
  return g.results.map((r) => ({ value: [...(values.get(r) as Tensor64).data], error: [...(errors.get(r) as number[])] }));
};

/** The first element that deviates by more than the bound, or undefined. */
export const deviation = (g: Graph, target: Target, args: readonly Tensor64[]): string | undefined => {
  const truth = runReference(g, args);
  const got = runKernels(g, target, args);
  for (const [k, { value, error }] of truth.entries())
    for (let i = 0; i < value.length; i++) {
      const [t, x, bound] = [value[i] as number, got[k]?.[i] as number, error[i] as number];
      if (bound === Infinity || Object.is(t, x) || (Number.isNaN(t) && Number.isNaN(x))) continue;
      if (!(Math.abs(t - x) <= 2 * bound)) return `result ${k}, element ${i}: ${x} is not ${t} within ${bound}`;
    }
  return undefined;
};

/** Values that f32 holds exactly, so that inputs carry no error: multiples of 1/64 between -2 and 2. */
export const sample = (t: TensorType, seed: number): Tensor64 => {
  let s = seed >>> 0;
  const next = (): number => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s >>> 8;
  };
  const n = t.shape.reduce<number>((a, b) => a * (b as number), 1);
  return tensor64(
    t,
    Array.from({ length: n }, () => (isFloat(t.dtype) ? ((next() % 257) - 128) / 64 : t.dtype === 'bool' ? next() % 2 : next() % 5)),
  );
};
