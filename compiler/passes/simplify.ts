/**
 * Rules that make nodes disappear: views that change nothing, views of views, arithmetic with 0 and 1, constants of constants.
 * No rule drops a NaN or an infinity (x * 0 stays); x + 0 gives x, so the sign of a zero may change and nothing else.
 *
 *   reshape(reshape(x)) -> reshape(x)      and so for transpose, broadcast, slice      exp(1) -> 2.718281828459045
 *   x + 0, x - 0, x * 1, x / 1, neg(neg x) -> x      x * -1 -> neg(x)      pow(x, 2) -> x * x      pow(x, -1) -> 1 / x
 *   pad(x, high 2) + pad(y, low 3) -> concat(x, y)   of x[3] and y[2]: the gradient of what was sliced
 */
import type { Builder } from '../graph/builder.ts';
import { addDim, type Dim, eqDim, eqShape, subDim } from '../graph/dim.ts';
import { apply, type Tensor64, tensor64 } from '../graph/interpret.ts';
import { pointwise } from '../graph/interpret-pointwise.ts';
import { type DType, type Graph, isFloat, type Node, type OpOf, type Prim, type Value } from '../graph/types.ts';
import { rewrite } from './rewrite.ts';

/** What a rule may ask about the graph so far. */
interface Known {
  readonly b: Builder;
  /** The node that made `v`, if it applies `prim`. */
  made<P extends Prim>(v: Value, prim: P): { readonly op: OpOf<P>; readonly inputs: readonly Value[] } | undefined;
  /** The number that every element of `v` has, where that is known. */
  constant(v: Value): number | undefined;
}
type Simplify<P extends Prim> = (k: Known, op: OpOf<P>, ins: readonly Value[]) => Value | undefined;

const identity = (axes: readonly number[]): boolean => axes.every((a, i) => a === i);
const isZero = (d: Dim): boolean => d === 0;
const largest: { readonly [D in DType]: number } = { f32: 3.4e38, bf16: 3.38e38, f16: 65504, i32: 2 ** 31, u32: 2 ** 32, bool: 1 };
/**
 * A pointwise primitive of constants, by the interpreter: float64, rounded once, where the constant is used. What leaves
 * the range of its dtype stays a computation, as does what is not finite: not every target can write such a constant.
 */
const fold = ({ b, constant }: Known, n: Node, ins: readonly Value[]): Value | undefined => {
  if (!pointwise.has(n.op.prim)) return undefined;
  const scalars: Tensor64[] = [];
  for (const v of ins) {
    const c = constant(v);
    if (c === undefined) return undefined;
    scalars.push(tensor64({ dtype: v.type.dtype, shape: [] }, [c]));
  }
  const t = (n.outputs[0] as Value).type;
  const c = apply(n.op, scalars, [{ dtype: t.dtype, shape: [] }])[0]?.data[0] as number;
  return Math.abs(c) <= largest[t.dtype] ? b.fill(c, t) : undefined;
};

/** Of one operand whose elements are all `c`: what is left of the operation. */
const zero = (v: Value, c: number | undefined): Value | undefined => (c === 0 ? v : undefined);

/** What lies between the zeros that a pad puts around it along one axis. */
const between = ({ made }: Known, v: Value) => {
  const pad = made(v, 'pad');
  if (pad?.op.value !== 0) return undefined;
  const { low, high } = pad.op;
  const axes = low.flatMap((l, i) => (isZero(l) && isZero(high[i] as Dim) ? [] : [i]));
  const [axis] = axes;
  if (axis === undefined || axes.length > 1) return undefined;
  const x = pad.inputs[0] as Value;
  const inner = made(x, 'concat');
  const start = low[axis] as Dim;
  return { axis, low, high, start, end: addDim(start, x.type.shape[axis] as Dim), parts: inner?.op.axis === axis ? inner.inputs : [x] };
};
/** The sum of two values of which one begins where the other ends, with zeros around them. */
const sideBySide = (k: Known, x: Value, y: Value): Value | undefined => {
  const [a, b] = [between(k, x), between(k, y)];
  if (!a || !b || a.axis !== b.axis) return undefined;
  const order = eqDim(a.end, b.start) ? ([a, b] as const) : eqDim(b.end, a.start) ? ([b, a] as const) : undefined;
  if (!order) return undefined;
  const [first, last] = order;
  const joined = k.b.concat([...first.parts, ...last.parts], a.axis);
  return first.low.every(isZero) && last.high.every(isZero) ? joined : k.b.pad(joined, first.low, last.high);
};

const rules: { readonly [P in Prim]?: Simplify<P> } = {
  neg: ({ made }, _, [x]) => made(x as Value, 'neg')?.inputs[0],
  not: ({ made }, _, [x]) => made(x as Value, 'not')?.inputs[0],
  add: (k, _, [x, y]) =>
    zero(x as Value, k.constant(y as Value)) ?? zero(y as Value, k.constant(x as Value)) ?? sideBySide(k, x as Value, y as Value),
  sub: ({ constant }, _, [x, y]) => zero(x as Value, constant(y as Value)),
  mul: ({ b, constant }, _, [x, y]) => {
    for (const [v, c] of [[x, constant(y as Value)] as const, [y, constant(x as Value)] as const]) {
      if (c === 1) return v;
      if (c === -1) return b.neg(v as Value);
    }
    return undefined;
  },
  div: ({ constant }, _, [x, y]) => (constant(y as Value) === 1 ? x : undefined),
  pow: ({ b, constant }, _, [x, y]) => {
    const [v, c] = [x as Value, constant(y as Value)];
    return c === 1 ? v : c === 2 ? b.mul(v, v) : c === -1 ? b.div(b.fill(1, v.type), v) : undefined;
  },
  cast: ({ made }, op, [x]) => {
    const v = x as Value;
    if (v.type.dtype === op.dtype) return v;
    // there and back: float32 holds every bf16 and f16
    const x0 = v.type.dtype === 'f32' && isFloat(op.dtype) ? made(v, 'cast')?.inputs[0] : undefined;
    return x0?.type.dtype === op.dtype ? x0 : undefined;
  },
  select: ({ constant }, _, [c, x, y]) => {
    const v = constant(c as Value);
    return x === y || (v !== undefined && v !== 0) ? x : v === 0 ? y : undefined;
  },
  broadcast: ({ b, made }, op, [x]) => {
    const v = x as Value;
    if (eqShape(v.type.shape, op.shape) && identity(op.axes)) return v;
    const inner = made(v, 'broadcast');
    return (
      inner &&
      b.broadcast(
        inner.inputs[0] as Value,
        op.shape,
        inner.op.axes.map((a) => op.axes[a] as number),
      )
    );
  },
  reshape: ({ b, made, constant }, op, [x]) => {
    const v = x as Value;
    if (eqShape(v.type.shape, op.shape)) return v;
    const c = constant(v);
    if (c !== undefined) return b.fill(c, { dtype: v.type.dtype, shape: op.shape });
    const x0 = made(v, 'reshape')?.inputs[0];
    return x0 && (eqShape(x0.type.shape, op.shape) ? x0 : b.reshape(x0, op.shape));
  },
  transpose: ({ b, made, constant }, op, [x]) => {
    const v = x as Value;
    if (identity(op.perm)) return v;
    const c = constant(v);
    if (c !== undefined) return b.fill(c, { dtype: v.type.dtype, shape: op.perm.map((p) => v.type.shape[p] as Dim) });
    const inner = made(v, 'transpose');
    if (!inner) return undefined;
    const perm = op.perm.map((p) => inner.op.perm[p] as number);
    return identity(perm) ? inner.inputs[0] : b.transpose(inner.inputs[0] as Value, perm);
  },
  slice: ({ b, made, constant }, op, [x]) => {
    const v = x as Value;
    if (op.start.every(isZero) && eqShape(op.limit, v.type.shape)) return v;
    const c = constant(v);
    if (c !== undefined) return b.fill(c, { dtype: v.type.dtype, shape: op.limit.map((l, i) => subDim(l, op.start[i] as Dim)) });
    const inner = made(v, 'slice');
    const from = (d: Dim, i: number): Dim => addDim(d, inner?.op.start[i] as Dim);
    return inner && b.slice(inner.inputs[0] as Value, op.start.map(from), op.limit.map(from));
  },
  pad: (_, op, [x]) => (op.low.every(isZero) && op.high.every(isZero) ? x : undefined),
  concat: (_, __, ins) => (ins.length === 1 ? ins[0] : undefined),
  reverse: (_, op, [x]) => (op.axes.length === 0 ? x : undefined),
  reduceSum: (_, op, [x]) => (op.axes.length === 0 ? x : undefined),
  reduceMax: (_, op, [x]) => (op.axes.length === 0 ? x : undefined),
  reduceMin: (_, op, [x]) => (op.axes.length === 0 ? x : undefined),
};

export const simplify = (g: Graph): Graph =>
  rewrite(g, (b, n, ins) => {
    const made: Known['made'] = (v, prim) => {
      const m = b.maker(v);
      // the test of prim is what the type of the result says
      return m?.op.prim === prim ? (m as unknown as { readonly op: OpOf<typeof prim>; readonly inputs: readonly Value[] }) : undefined;
    };
    const constant: Known['constant'] = (v) => {
      const c = made(made(v, 'broadcast')?.inputs[0] ?? v, 'const');
      return c && typeof c.op.value === 'number' ? c.op.value : undefined;
    };
    const k = { b, made, constant };
    const to = fold(k, n, ins) ?? (rules[n.op.prim] as Simplify<Prim> | undefined)?.(k, n.op as never, ins);
    return to && [to];
  });
