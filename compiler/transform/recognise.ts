/**
 * Finds attention in what a user wrote: a contraction, a softmax over the keys, a contraction with the values become one call that
 * carries its definition (graph/attention.ts). It runs before a function is differentiated, so that the backward pass is a rule instead of
 * a second search, and at the head of the pipeline for functions that never are. Operands are turned into the call's order of axes, and
 * its result back, by transposes, which are views. A factor on the queries, the keys or the scores becomes the call's scale.
 *
 *   %20 = dot(%19, %13) batch=[0 1][0 1] contract=[3][3]      the scores
 *   %21 = call(%20) tag=softmax { ... }                  ->   %22, %23 = call(%17, %11, %13, %15) tag=fovea.attention { ... }
 *   %22 = dot(%21, %15) batch=[0 1][0 1] contract=[3][2]
 *
 * What almost fits stays as it is, with a reason (`nearMisses`): scores that something else reads too, a softmax over the queries.
 */
import { attention, isAttention, type Places } from '../graph/attention.ts';
import { type Builder, builder } from '../graph/builder.ts';
import type { Graph, Node, OpOf, Prim, Value } from '../graph/types.ts';
import { needed } from './linearize.ts';

type Dot = Node & { readonly op: OpOf<'dot'> };
/** What may be asked about the graph in which a pattern is looked for. */
interface Site {
  maker(v: Value): Node | undefined;
  /** How many operands and results of the graph v is. */
  uses(v: Value): number;
}

interface Match {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly factors: readonly Factor[];
  readonly places: Places;
  /** Axes of q, k and v in the order of the call's operands. */
  readonly order: {
    readonly q: readonly number[];
    readonly k: readonly number[];
    readonly v: readonly number[];
    readonly out: readonly number[];
  };
}
/** A scalar that multiplies the scores, or divides them. */
interface Factor {
  readonly scalar: Value;
  readonly divides: boolean;
}

const made = <P extends Node['op']['prim']>(s: Site, v: Value | undefined, prim: P): (Node & { readonly op: OpOf<P> }) | undefined => {
  const n = v && s.maker(v);
  return n?.op.prim === prim ? (n as Node & { readonly op: OpOf<P> }) : undefined;
};
const lastAxis = (v: Value): number => v.type.shape.length - 1;
const is = (xs: readonly number[], ...ys: readonly number[]): boolean => xs.length === ys.length && xs.every((x, i) => x === ys[i]);

/**
 * The reduction of the last axis of x of which v is the repetition along that axis, through a kept axis of size 1. A maximum may be held
 * constant, for it cancels; a sum may not, for its derivative counts.
 */
const repeats = (s: Site, v: Value, prim: 'reduceMax' | 'reduceSum'): Node | undefined => {
  const spread = made(s, v, 'broadcast');
  const rank = v.type.shape.length;
  let at = spread?.inputs[0];
  if (!spread || !at || !spread.op.axes.every((a, i) => a === i) || spread.op.axes.length < rank - 1) return undefined;
  if (at.type.shape.length === rank && at.type.shape[rank - 1] !== 1) return undefined;
  const passes = (n: Node | undefined): n is Node => n?.op.prim === 'reshape' || (prim === 'reduceMax' && n?.op.prim === 'stopGradient');
  for (let n = s.maker(at); passes(n); n = s.maker(at)) at = n.inputs[0] as Value;
  const n = made(s, at, prim);
  return n && is(n.op.axes, lastAxis(n.inputs[0] as Value)) && n.inputs[0]?.type.shape.length === rank ? n : undefined;
};
/** x, where v is exp(x - max(x)) over its sum along the last axis, written out; and the values between. */
const writtenOut = (
  s: Site,
  v: Value,
): { readonly x: Value; readonly between: readonly (readonly [Value, uses: number])[] } | undefined => {
  const whole = made(s, v, 'div');
  const e = whole?.inputs[0];
  const shifted = made(s, made(s, e, 'exp')?.inputs[0], 'sub');
  const x = shifted?.inputs[0];
  if (!whole || !e || !shifted || !x) return undefined;
  if (repeats(s, whole.inputs[1] as Value, 'reduceSum')?.inputs[0] !== e) return undefined;
  if (repeats(s, shifted.inputs[1] as Value, 'reduceMax')?.inputs[0] !== x) return undefined;
  return {
    x,
    between: [
      [e, 2],
      [shifted.outputs[0] as Value, 1],
      [x, 2],
    ],
  };
};

const siteOf = (g: Graph): Site => {
  const makers = new Map<Value, Node>();
  const uses = new Map<Value, number>();
  for (const n of g.nodes) {
    for (const o of n.outputs) makers.set(o, n);
    for (const v of n.inputs) uses.set(v, (uses.get(v) ?? 0) + 1);
  }
  for (const r of g.results) uses.set(r, (uses.get(r) ?? 0) + 1);
  return { maker: (v) => makers.get(v), uses: (v) => uses.get(v) ?? 0 };
};

/** The scores whose softmax v is; a text where it is one, but not one to take apart. */
const softmaxOf = (s: Site, v: Value): Value | string | undefined => {
  const call = made(s, v, 'call');
  if (call) {
    const { body } = call.op;
    const x = call.inputs.length === 1 && body.results.length === 1 ? writtenOut(siteOf(body), body.results[0] as Value)?.x : undefined;
    if (!x || x !== body.params[0]) return undefined;
    return s.uses(call.inputs[0] as Value) === 1 ? call.inputs[0] : 'the scores are read by more than the softmax';
  }
  const found = writtenOut(s, v);
  return found && (found.between.every(([u, n]) => s.uses(u) === n) ? found.x : 'a value inside the softmax is read elsewhere');
};

/** v without the scalars that multiply or divide it; `alone` asks that nobody else reads the product. */
const peel = (s: Site, v: Value, alone: boolean): { readonly value: Value; readonly factors: readonly Factor[] } => {
  const factors: Factor[] = [];
  let value = v;
  for (;;) {
    const n = s.maker(value);
    if (!n || (n.op.prim !== 'mul' && n.op.prim !== 'div')) break;
    if (alone && value !== v && s.uses(value) !== 1) break;
    const scalarOf = (x: Value): Value | undefined => {
      const from = made(s, x, 'broadcast')?.inputs[0];
      return from?.type.shape.length === 0 ? from : undefined;
    };
    const [x, y] = n.inputs as readonly [Value, Value];
    const [right, left] = [scalarOf(y), n.op.prim === 'mul' ? scalarOf(x) : undefined];
    const scalar = right ?? left;
    if (!scalar) break;
    factors.push({ scalar, divides: n.op.prim === 'div' });
    value = right ? x : y;
  }
  return { value, factors };
};

const free = (v: Value, ...taken: readonly (readonly number[])[]): readonly number[] =>
  v.type.shape.map((_, i) => i).filter((i) => !taken.some((t) => t.includes(i)));

const changes: ReadonlySet<Prim> = new Set<Prim>(['add', 'sub', 'mul', 'div', 'select', 'max', 'min', 'cast', 'transpose', 'reshape']);
/** Whether v is made, number by number, of a softmax: masked, dropped, scaled. */
const changed = (s: Site, v: Value, depth = 3): boolean => {
  const n = s.maker(v);
  if (!n || depth === 0 || !changes.has(n.op.prim)) return false;
  return n.inputs.some((x) => softmaxOf(s, x) !== undefined || changed(s, x, depth - 1));
};

/** Attention that ends in this contraction; a text where it nearly is; undefined where no softmax is in sight. */
const match = (s: Site, n: Dot): Match | string | undefined => {
  for (const side of [0, 1] as const) {
    const weights = n.inputs[side] as Value;
    const found = softmaxOf(s, weights);
    if (found === undefined) {
      if (changed(s, weights)) return 'the weights are changed between their softmax and the contraction';
      continue;
    }
    if (typeof found === 'string') return found;
    if (s.uses(weights) !== 1) return 'the weights are read by more than one contraction';
    const scores = peel(s, found, true);
    const product = made(s, scores.value, 'dot');
    if (!product) return 'the softmax is not of a contraction';
    if (scores.value !== found && s.uses(scores.value) !== 1) return 'the scores are read before they are scaled';
    const { batch, contract } = product.op;
    const [left, right] = product.inputs as readonly [Value, Value];
    const rank = batch[0].length;
    const [rows, columns] = [free(left, batch[0], contract[0]), free(right, batch[1], contract[1])];
    if (contract[0].length !== 1 || rows.length !== 1 || columns.length !== 1)
      return 'the contraction of queries and keys has more axes than one of rows, of columns and of products';
    const values = n.inputs[1 - side] as Value;
    const [own, others] = side === 0 ? n.op.batch : ([n.op.batch[1], n.op.batch[0]] as const);
    const [sums, theirs] = side === 0 ? n.op.contract : ([n.op.contract[1], n.op.contract[0]] as const);
    // the softmax runs along the last axis of the scores, which is that of the keys
    if (!is(sums, rank + 1)) return 'the weights are not summed over the axis of their softmax';
    const places = Array.from({ length: rank }, (_, i) => own.indexOf(i));
    if (own.length !== rank || places.includes(-1)) return 'weights and values have other batch axes than queries and keys';
    const width = free(values, others, theirs);
    if (width.length !== 1) return 'the values have more than one axis beside those of the weights';
    const all = [left, right, values, n.outputs[0] as Value];
    if (!all.every((v) => v.type.dtype === 'f32')) return 'not all of it is f32';
    const first = product.meta;
    if (first.remat !== n.meta.remat || first.phase !== n.meta.phase) return 'its parts belong to different regions';
    const [q, k] = [peel(s, left, false), peel(s, right, false)];
    const inner = side === 0 ? [rank, rank + 1] : [rank + 1, rank];
    return {
      q: q.value,
      k: k.value,
      v: values,
      factors: [...q.factors, ...k.factors, ...scores.factors],
      places: { scores: first.loc, weights: s.maker(weights)?.meta.loc, mix: n.meta.loc },
      order: {
        q: [...batch[0], ...rows, ...contract[0]],
        k: [...batch[1], ...columns, ...contract[1]],
        v: [...places.map((i) => others[i] as number), ...theirs, ...width],
        out: [...own, ...inner],
      },
    };
  }
  return undefined;
};

const turned = (b: Builder, v: Value, perm: readonly number[]): Value => (perm.every((p, i) => p === i) ? v : b.transpose(v, perm));

const emit = (b: Builder, m: Match, at: (v: Value) => Value): Value => {
  const scale = m.factors.reduce<Value | undefined>((x, { scalar, divides }) => {
    if (divides) return b.div(x ?? b.constant(1), at(scalar));
    return x ? b.mul(x, at(scalar)) : at(scalar);
  }, undefined);
  const operands = [turned(b, at(m.q), m.order.q), turned(b, at(m.k), m.order.k), turned(b, at(m.v), m.order.v)];
  const [o] = attention(b, 'fovea.attention', [scale ?? b.constant(1), ...operands], m.places);
  return turned(b, o as Value, m.order.out);
};

const isDot = (n: Node): n is Dot => n.op.prim === 'dot';

/** The same function with attention as calls; regions inside too. */
export const recognise = (g: Graph): Graph => {
  const s = siteOf(g);
  const b = builder();
  const env = new Map<Value, Value>(g.params.map((p) => [p, b.param(p.type, p.name)]));
  const at = (v: Value): Value => env.get(v) as Value;
  const inside = (op: Node['op']): Node['op'] => ('body' in op && !isAttention({ op }) ? { ...op, body: recognise(op.body) } : op);
  let found = false;
  for (const n of g.nodes) {
    const m = isDot(n) ? match(s, n) : undefined;
    if (m !== undefined && typeof m !== 'string') {
      found = true;
      env.set(
        n.outputs[0] as Value,
        b.at(n.meta, () => emit(b, m, at)),
      );
      continue;
    }
    const outs = b.emit(inside(n.op), n.inputs.map(at), n.meta);
    n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
  }
  const whole = b.build(g.results.map(at));
  if (!found) return whole;
  // the scores and weights that nobody reads any more
  const live = needed(whole.nodes, whole.results);
  return { ...whole, nodes: whole.nodes.filter((n) => live.has(n)) };
};

/** Contractions with a softmax that are not attention, and why. */
export const nearMisses = (g: Graph): readonly { readonly node: Node; readonly why: string }[] => {
  const s = siteOf(g);
  return g.nodes.flatMap((node) => {
    const deeper = 'body' in node.op && !isAttention(node) ? nearMisses(node.op.body) : [];
    const m = isDot(node) ? match(s, node) : undefined;
    return typeof m === 'string' ? [...deeper, { node, why: m }] : deeper;
  });
};
