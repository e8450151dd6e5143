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
 * What almost fits stays as it is, with a reason (`nearMisses`; nearly.ts has those of forms): scores that something else reads too, a mask.
 */
import { attention, isAttention, type Places } from '../graph/attention.ts';
import { type Builder, builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/types.ts';
import { needed } from './linearize.ts';
import { changed, otherAxis, otherForm, otherScores } from './nearly.ts';
import { type Dot, is, lastAxis, made, type Site, siteOf, softmaxOf } from './softmax.ts';

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

/** Attention whose weights are this operand of a contraction; a text where it nearly is; undefined where no softmax of scores is in sight. */
const matchOf = (s: Site, n: Dot, side: 0 | 1): Match | string | undefined => {
  const weights = n.inputs[side] as Value;
  const values = n.inputs[1 - side] as Value;
  const [own, others] = side === 0 ? n.op.batch : ([n.op.batch[1], n.op.batch[0]] as const);
  const [sums, theirs] = side === 0 ? n.op.contract : ([n.op.contract[1], n.op.contract[0]] as const);
  const width = free(values, others, theirs);
  // what leaves no axis of the values mixes none: a loss over classes
  if (width.length === 0) return undefined;
  const mix = { weights, values, batch: own, sums, out: n.outputs[0] as Value };
  const found = softmaxOf(s, weights);
  if (!found) return otherForm(s, mix) ?? changed(s, mix);
  // the softmax runs along the last axis of the scores, which is that of the keys
  const last = [lastAxis(weights)];
  if (!is(sums, ...last)) return otherAxis(s, mix, found.x, last);
  const scores = peel(s, found.x, true);
  const product = made(s, scores.value, 'dot');
  if (!product) return otherScores(s, scores.value);
  const { batch, contract } = product.op;
  const [left, right] = product.inputs as readonly [Value, Value];
  const rank = batch[0].length;
  const [rows, columns] = [free(left, batch[0], contract[0]), free(right, batch[1], contract[1])];
  if (contract[0].length !== 1 || rows.length !== 1 || columns.length !== 1)
    return 'the contraction of queries and keys has more axes than one of rows, of columns and of products';
  const places = Array.from({ length: rank }, (_, i) => own.indexOf(i));
  if (own.length !== rank || places.includes(-1)) return 'weights and values have other batch axes than queries and keys';
  if (width.length !== 1) return 'the values have more than one axis beside those of the weights';
  const all = [left, right, values, n.outputs[0] as Value];
  if (!all.every((v) => v.type.dtype === 'f32')) return 'not all of it is f32';
  const first = product.meta;
  if (first.remat !== n.meta.remat || first.phase !== n.meta.phase) return 'its parts belong to different regions';
  // last, for backward phases read values of softmaxes that were not taken for another reason
  if (found.entangled) return found.entangled;
  if (s.uses(weights) !== 1) return 'the weights are read by more than one contraction';
  if (scores.value !== found.x && s.uses(scores.value) !== 1) return 'the scores are read before they are scaled';
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
};
const match = (s: Site, n: Dot): Match | string | undefined => matchOf(s, n, 0) ?? matchOf(s, n, 1);

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

/** Contractions with a softmax that are not attention, and why. What a gradient reads of their weights follows from them, and is not told. */
export const nearMisses = (g: Graph): readonly { readonly node: Node; readonly why: string }[] => {
  const s = siteOf(g);
  return g.nodes.flatMap((node) => {
    const deeper = 'body' in node.op && !isAttention(node) ? nearMisses(node.op.body) : [];
    const m = isDot(node) && node.meta.phase !== 'bwd' ? match(s, node) : undefined;
    return typeof m === 'string' ? [...deeper, { node, why: m }] : deeper;
  });
};
