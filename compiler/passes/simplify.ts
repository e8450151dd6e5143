/**
 * Rules that make nodes disappear: views that change nothing, views of views, arithmetic with 0 and 1, constants of constants.
 * No rule drops a NaN or an infinity (x * 0 stays); x + 0 gives x, so the sign of a zero may change and nothing else.
 *
 *   reshape(reshape(x)) -> reshape(x)      transpose(transpose(x)) -> one transpose      broadcast(broadcast(x)) -> one broadcast
 *   x + 0, x - 0, x * 1, x / 1, neg(neg x) -> x      x * -1 -> neg(x)      pow(x, 2) -> x * x      pow(x, -1) -> 1 / x
 */
import type { Builder } from '../graph/builder.ts';
import { type Dim, eqShape } from '../graph/dim.ts';
import { type Graph, isFloat, type OpOf, type Prim, type Value } from '../graph/types.ts';
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
/** `f` of constants, in float64: rounded once, where the constant is used. Integers stay with the graph, which wraps. */
const fold1 =
  (f: (x: number) => number) =>
  ({ b, constant }: Known, _: unknown, [x]: readonly Value[]): Value | undefined => {
    const c = constant(x as Value);
    return c !== undefined && isFloat((x as Value).type.dtype) ? b.fill(f(c), (x as Value).type) : undefined;
  };
const fold2 =
  (
    f: (x: number, y: number) => number,
    special: (k: Known, x: Value, y: Value, cx: number | undefined, cy: number | undefined) => Value | undefined,
  ) =>
  (k: Known, _: unknown, [x, y]: readonly Value[]): Value | undefined => {
    const [a, c] = [x as Value, y as Value];
    const [ca, cc] = [k.constant(a), k.constant(c)];
    if (ca !== undefined && cc !== undefined && isFloat(a.type.dtype)) return k.b.fill(f(ca, cc), a.type);
    return special(k, a, c, ca, cc);
  };

const rules: { readonly [P in Prim]?: Simplify<P> } = {
  neg: (k, op, ins) => k.made(ins[0] as Value, 'neg')?.inputs[0] ?? fold1((x) => -x)(k, op, ins),
  exp: fold1(Math.exp),
  log: fold1(Math.log),
  sqrt: fold1(Math.sqrt),
  rsqrt: fold1((x) => 1 / Math.sqrt(x)),
  add: fold2(
    (x, y) => x + y,
    (_, x, y, cx, cy) => (cy === 0 ? x : cx === 0 ? y : undefined),
  ),
  sub: fold2(
    (x, y) => x - y,
    (_, x, __, ___, cy) => (cy === 0 ? x : undefined),
  ),
  mul: fold2(
    (x, y) => x * y,
    ({ b }, x, y, cx, cy) => (cy === 1 ? x : cx === 1 ? y : cy === -1 ? b.neg(x) : cx === -1 ? b.neg(y) : undefined),
  ),
  div: fold2(
    (x, y) => x / y,
    (_, x, __, ___, cy) => (cy === 1 ? x : undefined),
  ),
  pow: fold2(
    (x, y) => x ** y,
    ({ b }, x, _, __, cy) => {
      if (cy === 1) return x;
      if (cy === 2) return b.mul(x, x);
      if (cy === -1) return b.div(b.fill(1, x.type), x);
      return undefined;
    },
  ),
  cast: ({ b, constant }, op, [x]) => {
    const v = x as Value;
    if (v.type.dtype === op.dtype) return v;
    const c = constant(v);
    return c !== undefined && isFloat(v.type.dtype) && isFloat(op.dtype) ? b.fill(c, { dtype: op.dtype, shape: v.type.shape }) : undefined;
  },
  select: ({ constant }, _, [c, x, y]) => {
    const v = constant(c as Value);
    return v === undefined ? undefined : v !== 0 ? x : y;
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
    const inner = made(v, 'reshape');
    return inner && b.reshape(inner.inputs[0] as Value, op.shape);
  },
  transpose: ({ b, made, constant }, op, [x]) => {
    const v = x as Value;
    if (identity(op.perm)) return v;
    const c = constant(v);
    if (c !== undefined) return b.fill(c, { dtype: v.type.dtype, shape: op.perm.map((p) => v.type.shape[p] as Dim) });
    const inner = made(v, 'transpose');
    return (
      inner &&
      b.transpose(
        inner.inputs[0] as Value,
        op.perm.map((p) => inner.op.perm[p] as number),
      )
    );
  },
  slice: (_, op, [x]) => (op.start.every(isZero) && eqShape(op.limit, (x as Value).type.shape) ? x : undefined),
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
    const to = (rules[n.op.prim] as Simplify<Prim> | undefined)?.({ b, made, constant }, n.op as never, ins);
    return to && [to];
  });
