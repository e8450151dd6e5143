/**
 * How far float32 may be from float64, computed from a program. With each float value x of the float64 run goes a bound E(x) on what
 * the arithmetic of a backend may have added. The rules of primitives are in bound-rules.ts, with u = 2^-24; to them comes 2^-8 or 2^-11
 * where a value is stored as bf16 or f16, and 4 u (2 ulp) for the functions that no standard rounds correctly (backends/native/math.ts
 * promises 1.84 ulp). For example
 *
 *   E(x + y) = E(x) + E(y) + u (|x + y| + E(x) + E(y))          E(sum of n) = sum E + g(n) sum (|x| + E),   g(n) = n u / (1 - n u)
 */
import { bindGraph } from '../compiler/graph/bind.ts';
import { apply, type Tensor64 } from '../compiler/graph/interpret.ts';
import { countOf } from '../compiler/graph/tensor64.ts';
import { type DType, type Graph, isFloat, type Op, type Prim, type TensorType, type Value } from '../compiler/graph/types.ts';
import { foldCast } from '../compiler/kernel/scalar.ts';
import { inline } from '../compiler/passes/inline.ts';
import { type Bounded, type Num, normal, type Pointwise, pointwiseOf, type Structure, structureOf, sure } from './bound-rules.ts';

export type { Bounded } from './bound-rules.ts';

/**
 * The arithmetic that is bounded: that of backends, that of devices that may take subnormal numbers for zero wherever they meet one (Target.flushes), or
 * the float64 of the interpreter, which stores every float as it is.
 */
export type Precision = 'f32' | 'flushing' | 'f64';
/** The unit roundoff of what is stored, half of the smallest number, and the largest. */
const stored: { readonly [D in DType]: readonly [unit: number, tiny: number, largest: number] } = {
  f32: [2 ** -24, 2 ** -149, (2 - 2 ** -23) * 2 ** 127],
  bf16: [2 ** -8, 2 ** -134, 3.38e38],
  f16: [2 ** -11, 2 ** -25, 65504],
  i32: [0, 0, Number.POSITIVE_INFINITY],
  u32: [0, 0, Number.POSITIVE_INFINITY],
  bool: [0, 0, Number.POSITIVE_INFINITY],
};

const table = (u: number, least?: number) => ({ ...structureOf(u, least), ...pointwiseOf(u, least) });
const tables = { f32: table(2 ** -24), flushing: table(2 ** -24, normal), f64: table(2 ** -53) };

/** The bound of a value that may be read as zero where it may be subnormal. Halves of 5 bits have no exponent that is too small for float32. */
const read = (r: number, e: number, dtype: DType, precision: Precision): number =>
  precision === 'flushing' && dtype !== 'f16' && isFloat(dtype) && Math.abs(r) - e < normal ? Math.max(e, Math.abs(r)) : e;

const none: Num = { x: 0, e: 0 };
const isPointwise = (p: Prim): boolean => Object.hasOwn(names, p);
const names = pointwiseOf(0);
const bounds = (op: Op, ins: readonly Bounded[], out: Tensor64, precision: Precision): Float64Array => {
  const { dtype } = out.type;
  const [unit, tiny, largest] = stored[dtype];
  // the two kinds of rows are told apart by name; TypeScript does not correlate them
  const row = tables[precision][op.prim] as unknown;
  const rule = row as Pointwise;
  const raw = isPointwise(op.prim)
    ? Float64Array.from(out.data, (r, i) => {
        const [a, b, c] = [0, 1, 2].map((k): Num => {
          const t = ins[k];
          return t ? { x: t.value.data[i] as number, e: t.error[i] as number } : none;
        }) as [Num, Num, Num];
        // exact words, unless one that came in is not certain
        if (!isFloat(dtype) && dtype !== 'bool' && op.prim !== 'select') return sure(a.e + b.e + c.e);
        return rule(r, a, b, c);
      })
    : (row as Structure<Prim>)(op as never, ins, out);
  return Float64Array.from(raw as ArrayLike<number>, (e, i) => {
    const r = Math.abs(out.data[i] as number);
    if (Number.isNaN(e) || !(r + e <= (precision === 'f64' ? Number.MAX_VALUE : largest))) return Number.POSITIVE_INFINITY;
    if (!isFloat(dtype)) return dtype === 'bool' || e === 0 ? e : Number.POSITIVE_INFINITY;
    return read(r, dtype === 'f32' || precision === 'f64' ? e : e + unit * (r + e) + tiny, dtype, precision);
  });
};

/** What rounding to its dtype may change in an argument. */
const argument = (t: Tensor64, precision: Precision): Float64Array =>
  Float64Array.from(t.data, (v) => {
    const [unit, tiny] = stored[t.type.dtype];
    return read(
      v,
      isFloat(t.type.dtype) && v !== foldCast(v, 'f64', t.type.dtype) ? unit * Math.abs(v) + tiny : 0,
      t.type.dtype,
      precision,
    );
  });

export const boundedArgument = (value: Tensor64, precision: Precision): Bounded => ({
  value,
  error: precision === 'f64' ? new Float64Array(value.data.length) : argument(value, precision),
});

/** The results of one node, and their bounds. */
export const boundedNode = (op: Op, ins: readonly Bounded[], types: readonly TensorType[], precision: Precision): readonly Bounded[] =>
  apply(
    op,
    ins.map((b) => b.value),
    types,
  ).map((value) => ({ value, error: bounds(op, ins, value, precision) }));

/**
 * Results in float64 and their bounds. Backends round arguments to their dtype on the way in, which counts in `f32`. `f64` bounds how far
 * the results are from those of exact arithmetic on the same arguments.
 */
export const bounded = (graph: Graph, args: readonly Tensor64[], precision: Precision = 'f32'): readonly Bounded[] => {
  const g = inline(bindGraph(graph, new Map()));
  const env = new Map<Value, Bounded>(g.params.map((p, i) => [p, boundedArgument(args[i] as Tensor64, precision)]));
  for (const n of g.nodes) {
    const ins = n.inputs.map((v) => env.get(v) as Bounded);
    const types = n.outputs.map((o) => o.type);
    boundedNode(n.op, ins, types, precision).forEach((x, i) => env.set(n.outputs[i] as Value, x));
  }
  return g.results.map((r) => env.get(r) as Bounded);
};

export interface Comparison {
  /** The first element beyond its bound, as a sentence. */
  readonly wrong?: string;
  /** Elements with a finite bound, and all. */
  readonly checked: number;
  readonly elements: number;
}

/** Holds results of a backend against the truth. The float64 run itself rounds 2^29 times finer: a thousandth more covers it. */
export const compare = (truth: readonly Bounded[], got: readonly ArrayLike<number>[]): Comparison => {
  let [checked, elements] = [0, 0];
  for (const [k, { value, error }] of truth.entries()) {
    const mine = got[k];
    if (mine?.length !== countOf(value.type))
      return { wrong: `result ${k}: ${mine ? mine.length : 'no'} elements, not ${value.data.length}`, checked, elements };
    for (let i = 0; i < mine.length; i++) {
      const [t, x, bound] = [value.data[i] as number, mine[i] as number, error[i] as number];
      elements++;
      if (bound === Number.POSITIVE_INFINITY) continue;
      checked++;
      if (Object.is(t, x) || (Number.isNaN(t) && Number.isNaN(x)) || Math.abs(t - x) <= 1.001 * bound) continue;
      return { wrong: `result ${k}, element ${i}: ${x} is not ${t} within ${bound}`, checked, elements };
    }
  }
  return { checked, elements };
};
