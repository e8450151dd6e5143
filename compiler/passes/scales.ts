/**
 * Scales move out of contractions. A factor that varies along few axes of a large operand (LayerScale's gamma, the norms of weight
 * normalisation) goes to the result, or to the other operand where that is smaller, so that the scaled operand is never made:
 *
 *   dot(x, v s)        s along the rows of v, which are columns of the result    ->    dot(x, v) s
 *   dot(dy g, w)       g along the axis that is summed, w smaller than dy        ->    dot(dy, g w)
 *   sum(dy g, rows)    g along the columns                                       ->    sum(dy, rows) g
 *
 * And the gradient of such a factor, the sum over rows of dy h for h = dot(a, w) + b, is had from the gradient of w, which is asked for too:
 *
 *   sum(dy (dot(a, w) + b), rows)    ->    sum(w dot(dy, a), inner axis) + b sum(dy, rows)        h dies in the forward phase
 *
 * Sums are the same products in another order, so bounds stay; what may differ is where numbers leave the range of their type, and
 * contractions of float16 are left alone.
 */
import { type Builder, builder } from '../graph/builder.ts';
import { known } from '../graph/dim.ts';
import { linksOf } from '../graph/links.ts';
import { countOf } from '../graph/tensor64.ts';
import type { FloatType, Graph, Node, OpOf, Value } from '../graph/types.ts';
import { type Precision, policyOf } from './precision.ts';

type Dot = OpOf<'dot'>;
/** v = x t, where t stands along `axes` of x and is the same along the others. */
interface Scaled {
  readonly x: Value;
  readonly t: Value;
  readonly axes: readonly number[];
}

const rank = (v: Value): number => v.type.shape.length;
const size = (v: Value): number => countOf(v.type);
const subset = (a: readonly number[], b: readonly number[]): boolean => a.every((x) => b.includes(x));
const same = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((x, i) => x === b[i]);
const range = (n: number, from = 0): readonly number[] => Array.from({ length: n }, (_, i) => from + i);
const freeAxes = (op: Dot, side: 0 | 1, v: Value): readonly number[] =>
  range(rank(v)).filter((a) => !op.batch[side].includes(a) && !op.contract[side].includes(a));

/** Where the axes of operand `side` that are not summed stand in the result. */
const inResult = (op: Dot, side: 0 | 1, [x, y]: readonly [Value, Value], axes: readonly number[]): readonly number[] => {
  const before = op.batch[0].length + (side === 1 ? freeAxes(op, 0, x).length : 0);
  const free = freeAxes(op, side, side === 0 ? x : y);
  return axes.map((a) => (op.batch[side].includes(a) ? op.batch[side].indexOf(a) : before + free.indexOf(a)));
};

/** A product of `dy` and `a` over their rows: the gradient of the weight that `a` was multiplied with. */
const overRows = (op: Dot, rows: readonly number[]): boolean =>
  op.batch[0].length === 0 && same(op.contract[0], rows) && same(op.contract[1], rows);

const facts = (g: Graph, precisionOf: (scope: string) => FloatType) => {
  const { makers, readers } = linksOf(g);
  const results = new Set(g.results);
  const maker = <P extends Node['op']['prim']>(v: Value, prim: P): (Node & { readonly op: OpOf<P> }) | undefined => {
    const n = makers.get(v);
    return n?.op.prim === prim ? (n as Node & { readonly op: OpOf<P> }) : undefined;
  };

  const broadcastOf = (v: Value): Omit<Scaled, 'x'> | undefined => {
    const n = maker(v, 'broadcast');
    const t = n?.inputs[0];
    if (!n || !t || size(t) === 1 || size(t) * 4 > size(v)) return undefined;
    return { t, axes: n.op.axes.filter((_, i) => t.type.shape[i] !== 1) };
  };
  const scaled = (v: Value): Scaled | undefined => {
    const n = maker(v, 'mul');
    if (!n || v.type.dtype !== 'f32' || results.has(v)) return undefined;
    const [x, y] = n.inputs as [Value, Value];
    const [bx, by] = [broadcastOf(x), broadcastOf(y)];
    if (by && !bx) return { x, ...by };
    return bx && !by ? { x: y, ...bx } : undefined;
  };
  /** How n, which reads v = x t, can do with x: by a factor on its result or on its other operand. */
  const way = (n: Node, v: Value, s: Scaled): 'result' | 'operand' | undefined => {
    if (n.op.prim === 'reduceSum') return n.op.axes.some((a) => s.axes.includes(a)) ? undefined : 'result';
    if (n.op.prim !== 'dot' || n.inputs[0] === n.inputs[1] || precisionOf(n.meta.scope) === 'f16') return undefined;
    const side = n.inputs[0] === v ? 0 : 1;
    const summed = n.op.contract[side];
    if (subset(s.axes, summed)) return size(n.inputs[1 - side] as Value) < size(v) ? 'operand' : undefined;
    return s.axes.some((a) => summed.includes(a)) ? undefined : 'result';
  };
  const chosen = new Map<Value, Scaled>();
  for (const n of g.nodes)
    for (const v of n.outputs) {
      const s = scaled(v);
      if (!s) continue;
      const here = readers(v).filter((u) => u.meta.phase === n.meta.phase);
      if (here.some((u) => u.op.prim === 'dot') && here.every((u) => way(u, v, s))) chosen.set(v, s);
    }
  /** The scale that n, which reads v, can do without, and how. In another phase than its maker's a reader may need the scaled value. */
  const outOf = (n: Node, v: Value): (Scaled & { readonly to: 'result' | 'operand' }) | undefined => {
    const s = chosen.get(v);
    const to = s && way(n, v, s);
    return to && { ...s, to };
  };
  const base = (n: Node, v: Value): Value => outOf(n, v)?.x ?? v;
  /** Contractions by what they read once scales are out, where all of these go to the result. */
  const products = new Map<string, Node & { readonly op: Dot }>();
  for (const n of g.nodes)
    if (n.op.prim === 'dot' && n.inputs.every((v) => outOf(n, v)?.to !== 'operand'))
      products.set(n.inputs.map((v) => base(n, v).id).join(), n as Node & { readonly op: Dot });
  return { maker, readers, broadcastOf, outOf, base, products };
};

/** t, whose axes longer than 1 are `axes` of a value of `shape`, as a factor of that value. */
const stretched = (b: Builder, t: Value, shape: Value['type']['shape'], axes: readonly number[]): Value => {
  const dims = axes.map((a) => shape[a] as (typeof shape)[number]);
  const flat = same(t.type.shape.map(known), dims.map(known)) ? t : b.reshape(t, dims);
  const sorted = [...axes].sort((p, q) => p - q);
  const turned = same(sorted, axes)
    ? flat
    : b.transpose(
        flat,
        sorted.map((a) => axes.indexOf(a)),
      );
  return b.broadcast(turned, shape, sorted);
};

/** The same function, where contractions read what stands in front of scales. */
export const scales =
  (choice: Precision) =>
  (g: Graph): Graph => {
    const f = facts(g, policyOf(choice));
    const b = builder();
    const env = new Map<Value, Value>(g.params.map((p) => [p, b.param(p.type, p.name)]));
    const get = (v: Value): Value => env.get(v) as Value;
    const made = new Map<Node, Value>();

    /** A contraction without the scales that go to its result. */
    const product = (n: Node & { readonly op: Dot }): Value => {
      const old = made.get(n);
      if (old) return old;
      const read = [...n.inputs] as [Value, Value];
      const ins = read.map((v) => get(f.base(n, v))) as [Value, Value];
      for (const side of [0, 1] as const) {
        const s = f.outOf(n, read[side]);
        if (s?.to !== 'operand') continue;
        const other = side === 0 ? 1 : 0;
        const axes = s.axes.map((a) => n.op.contract[other][n.op.contract[side].indexOf(a)] as number);
        ins[other] = b.mul(ins[other], stretched(b, get(s.t), ins[other].type.shape, axes));
      }
      const out = b.one(n.op, ins, n.meta);
      made.set(n, out);
      return out;
    };
    const contraction = (n: Node & { readonly op: Dot }): Value => {
      let out = product(n);
      for (const side of [0, 1] as const) {
        const s = f.outOf(n, n.inputs[side] as Value);
        if (s?.to !== 'result') continue;
        out = b.mul(out, stretched(b, get(s.t), out.type.shape, inResult(n.op, side, n.inputs as [Value, Value], s.axes)));
      }
      return out;
    };
    const sum = (n: Node & { readonly op: OpOf<'reduceSum'> }, s: Scaled): Value => {
      const out = b.sum(get(s.x), n.op.axes);
      const axes = s.axes.map((a) => a - n.op.axes.filter((r) => r < a).length);
      return b.mul(out, stretched(b, get(s.t), out.type.shape, axes));
    };
    /** sum(dy h, rows), h = dot(a, w) + b, from dot(dy, a). */
    const factor = (n: Node & { readonly op: OpOf<'reduceSum'> }): Value | undefined => {
      const m = f.maker(n.inputs[0] as Value, 'mul');
      if (!m || n.meta.phase !== 'bwd' || f.readers(m.outputs[0] as Value).length > 1) return undefined;
      for (const [dy, h] of [m.inputs, [...m.inputs].reverse()] as [Value, Value][]) {
        const plus = f.maker(h, 'add');
        const [d, bias] = plus ? (f.maker(plus.inputs[0] as Value, 'dot') ? plus.inputs : [...plus.inputs].reverse()) : [h, undefined];
        const dot = f.maker(d as Value, 'dot');
        if (!dot || dot.meta.phase === 'bwd' || dot.op.batch[0].length > 0) continue;
        // h is kept for this alone
        if (f.readers(h).some((u) => u.meta.phase === 'bwd' && u !== m)) continue;
        const [a, w] = dot.inputs as [Value, Value];
        const rows = freeAxes(dot.op, 0, a);
        if (!same(rows, range(rows.length)) || !same(n.op.axes, rows)) continue;
        const add = bias && f.broadcastOf(bias);
        if (bias && !add?.axes.every((x) => x >= rows.length)) continue;
        const [first, second] = [f.products.get([dy.id, a.id].join()), f.products.get([a.id, dy.id].join())];
        const p = first ?? second;
        if (!p || !overRows(p.op, rows)) continue;
        const columns = freeAxes(dot.op, 1, w);
        // the axes of w that are summed, in the order of those of a
        const inner = [...dot.op.contract[0]].sort((x, y) => x - y).map((x) => dot.op.contract[1][dot.op.contract[0].indexOf(x)] as number);
        const perm = p === first ? [...columns, ...inner] : [...inner, ...columns];
        const over = range(inner.length, p === first ? columns.length : 0);
        const terms = b.mul(b.transpose(get(w), perm), product(p));
        const out = b.sum(terms, over);
        if (!add) return out;
        const total = b.sum(get(dy), rows);
        return b.add(
          out,
          b.mul(
            total,
            stretched(
              b,
              get(add.t),
              total.type.shape,
              add.axes.map((x) => x - rows.length),
            ),
          ),
        );
      }
      return undefined;
    };
    for (const n of g.nodes) {
      const outs = b.at(n.meta, (): readonly Value[] => {
        if (n.op.prim === 'dot') return [contraction(n as Node & { readonly op: Dot })];
        if (n.op.prim === 'reduceSum') {
          const m = n as Node & { readonly op: OpOf<'reduceSum'> };
          const s = f.outOf(n, n.inputs[0] as Value);
          const out = s ? sum(m, s) : factor(m);
          if (out) return [out];
        }
        return b.again(n, n.inputs.map(get));
      });
      n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
    }
    return b.build(g.results.map(get));
  };
