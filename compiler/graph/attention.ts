/**
 * Attention as a call: softmax(scale q k') v for batches of queries, keys and values, with the logarithm of each row's sum of exponentials,
 * from which the derivative recomputes the weights. Three tags (under `fovea.`, where a user's composites have no names), each with a
 * definition that follows from the operands' types:
 *
 *   attention          (scale, q, k, v) -> (o, lse)                        s = scale q k',  lse = log(sum(exp(s))),  p = exp(s - lse),  o = p v
 *   attention.tangent  (scale, q, k, v, o, lse, dq, dk, dv) -> (do, dlse)  ds = scale (dq k' + q dk'),  dlse = sum(p ds),  do = p (ds - dlse) v + p dv
 *   attention.grad     (scale, q, k, v, lse, delta, do) -> (dq, dk, dv)    ds = scale p (do v' - delta),  dq = ds k,  dk = ds' q,  dv = p' do
 *
 * with delta = sum(do o) - (cotangent of lse); the second definition leaves o alone, its transpose, the third, needs it for delta. scale is
 * a scalar, q [... N K], k [... M K], v [... M V]; lse and delta are [... N]. A backend with the stream templates runs the first and the
 * third without ever forming the N x M weights (Dao et al., arXiv 2205.14135); everything else reads the bodies.
 *
 * Each definition has three parts, which a user wrote on lines of their own: scores, weights, mix. Its nodes keep those places, so that each line is
 * found in the kernels that it became (`placesIn`). Scopes they have not: calls of equal blocks are to be equal, and share one kernel.
 *
 * All of it is f32. The first and the third also take rows (q, k, v and the last operand, do) of bf16 or f16, all of one type: then ds, and p
 * before it is divided by the sum of its row, are rounded to that type in front of the contractions that read them. Results stay f32.
 */
import { type Builder, builder } from './builder.ts';
import type { Meta, Node, OpOf, Value } from './types.ts';

/** What the names of calls begin with that users cannot make. */
export const reserved = 'fovea.';
export const attentionTags = ['fovea.attention', 'fovea.attention.tangent', 'fovea.attention.grad'] as const;
export type AttentionTag = (typeof attentionTags)[number];

export const isAttention = (n: { readonly op: Node['op'] }): n is { readonly op: OpOf<'call'> & { readonly tag: AttentionTag } } =>
  n.op.prim === 'call' && (attentionTags as readonly string[]).includes(n.op.tag);

/** The least finite f32. */
export const lowest = -(2 - 2 ** -23) * 2 ** 127;

const range = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
/** x y' over the last axis of both, for each batch: [... N K] and [... M K] give [... N M]. */
const outer = (b: Builder, x: Value, y: Value): Value => {
  const r = x.type.shape.length - 2;
  return b.one({ prim: 'dot', batch: [range(r), range(r)], contract: [[r + 1], [r + 1]], dtype: 'f32' }, [x, y]);
};
/** w y over axis `i` of w, r for w' y and r + 1 for w y: the last axis of the result is that of y. */
const along = (b: Builder, w: Value, y: Value, i: 0 | 1): Value => {
  const r = y.type.shape.length - 2;
  return b.one({ prim: 'dot', batch: [range(r), range(r)], contract: [[r + i], [r]], dtype: 'f32' }, [b.cast(w, y.type.dtype), y]);
};
/** [... N] as [... N M]. */
const rows = (b: Builder, x: Value, like: Value): Value => b.broadcast(x, like.type.shape, range(x.type.shape.length));
const scaled = (b: Builder, x: Value, scale: Value): Value => b.mul(x, b.broadcast(scale, x.type.shape, []));
const last = (x: Value): readonly number[] => [x.type.shape.length - 1];
const scores = (b: Builder, q: Value, k: Value, scale: Value): Value => scaled(b, outer(b, q, k), scale);

/** Where the parts of attention stand in the user's text: queries with keys, their softmax, its contraction with the values. */
export type Places = { readonly [P in 'scores' | 'weights' | 'mix']: Meta['loc'] };
/** Runs what makes nodes of a part. */
type Parts = { readonly [P in keyof Places]: <T>(f: () => T) => T };

type Definition = (b: Builder, at: Parts, ...operands: readonly Value[]) => readonly Value[];
/** The table below names as many operands as its rows have. */
type Row = (
  b: Builder,
  at: Parts,
  ...operands: readonly [scale: Value, q: Value, k: Value, v: Value, Value, Value, Value, Value, Value]
) => readonly Value[];

const definitions: { readonly [T in AttentionTag]: Row } = {
  'fovea.attention': (b, at, scale, q, k, v) => {
    const s = at.scores(() => scores(b, q, k, scale));
    const { e, sum, lse } = at.weights(() => {
      // as a constant of the derivative: it cancels. Finite, so that a row of nothing but -inf has the logarithm of 0
      const max = b.one({ prim: 'reduceMax', axes: last(s) }, [s]);
      const top = b.stopGradient(b.max(max, b.fill(lowest, max.type)));
      const e = b.exp(b.sub(s, rows(b, top, s)));
      const sum = b.sum(e, last(s));
      return { e, sum, lse: b.add(top, b.log(sum)) };
    });
    const divided = (x: Value): Value => at.weights(() => b.div(x, rows(b, sum, x)));
    const mixed = (w: Value): Value => at.mix(() => along(b, w, v, 1));
    return [v.type.dtype === 'f32' ? mixed(divided(e)) : divided(mixed(e)), lse];
  },
  'fovea.attention.tangent': (b, at, scale, q, k, v, _o, lse, dq, dk, dv) => {
    const s = at.scores(() => scores(b, q, k, scale));
    const p = at.weights(() => b.exp(b.sub(s, rows(b, lse, s))));
    const ds = at.scores(() => scaled(b, b.add(outer(b, dq, k), outer(b, q, dk)), scale));
    const { dlse, dp } = at.weights(() => {
      const dlse = b.sum(b.mul(p, ds), last(s));
      return { dlse, dp: b.mul(p, b.sub(ds, rows(b, dlse, s))) };
    });
    return [at.mix(() => b.add(along(b, dp, v, 1), along(b, p, dv, 1))), dlse];
  },
  'fovea.attention.grad': (b, at, scale, q, k, v, lse, delta, grad) => {
    const s = at.scores(() => scores(b, q, k, scale));
    const p = at.weights(() => b.exp(b.sub(s, rows(b, lse, s))));
    const dp = at.mix(() => outer(b, grad, v));
    const ds = at.scores(() =>
      scaled(
        b,
        at.weights(() => b.mul(p, b.sub(dp, rows(b, delta, s)))),
        scale,
      ),
    );
    const [dq, dk] = at.scores(() => [along(b, ds, k, 1), along(b, ds, q, 0)] as const);
    return [dq, dk, at.mix(() => along(b, p, grad, 0))];
  },
};

/** The call of a tag: its body is the definition for operands of these types. Operands in the order of the header. */
export const attention = (b: Builder, tag: AttentionTag, operands: readonly Value[], places?: Places): readonly Value[] =>
  b.emit(attentionCall(tag, operands, places), operands);
const attentionCall = (tag: AttentionTag, operands: readonly Value[], places?: Places): OpOf<'call'> => {
  const inner = builder();
  const params = operands.map((v) => inner.param(v.type));
  const part =
    (name: keyof Places): Parts[keyof Places] =>
    (f) =>
      places?.[name] ? inner.at({ loc: places[name] }, f) : f();
  const at: Parts = { scores: part('scores'), weights: part('weights'), mix: part('mix') };
  return { prim: 'call', tag, body: inner.build((definitions[tag] as Definition)(inner, at, ...params)) };
};

/** The places of a call's parts, for the call that is made of it: each definition begins with the scores, and ends with a contraction of the mix. */
export const placesIn = ({ body: { nodes } }: OpOf<'call'>): Places => {
  const dots = nodes.filter((n) => n.op.prim === 'dot');
  return {
    scores: dots[0]?.meta.loc,
    weights: nodes.find((n) => n.op.prim === 'exp')?.meta.loc,
    mix: dots.at(-1)?.meta.loc,
  };
};

/** Operands that templates read as tiles of rows, [... N K]: what contractions contract. */
export const tiled: { readonly [T in 'fovea.attention' | 'fovea.attention.grad']: readonly number[] } = {
  'fovea.attention': [1, 2, 3],
  'fovea.attention.grad': [1, 2, 3, 6],
};
export type StreamOp = OpOf<'call'> & { readonly tag: keyof typeof tiled };

/** Widest row of a query, key or value that a template takes: a few tiles of them lie in the nearest cache. */
const widest = 256;
/** Most numbers of the queries of one head whose gradients a block may hold: 4 MiB, a quarter of the stack of a thread. */
const most = 2 ** 20;
/**
 * The gradient of more queries than a template takes: parts of them one after another, of which each adds to the gradients of all keys and values.
 * Memory stays linear in the rows. Undefined where `keep` would not take the parts either.
 */
export const inParts = (
  b: Builder,
  op: OpOf<'call'>,
  operands: readonly Value[],
  keep: (op: OpOf<'call'>) => boolean,
): readonly Value[] | undefined => {
  if (op.tag !== 'fovea.attention.grad') return undefined;
  const [scale, q, k, v, ...others] = operands as readonly [Value, Value, Value, Value, Value, Value, Value];
  const at = q.type.shape.length - 2;
  const [rows, width] = q.type.shape.slice(-2);
  if (typeof rows !== 'number' || typeof width !== 'number') return undefined;
  const each = Math.floor(most / Math.max(1, width));
  if (each < 1 || rows <= each) return undefined;
  const part = (x: Value, from: number, to: number): Value =>
    b.slice(
      x,
      x.type.shape.map((_, i) => (i === at ? from : 0)),
      x.type.shape.map((size, i) => (i === at ? to : size)),
    );
  const starts = range(Math.ceil(rows / each)).map((i) => i * each);
  const made = starts.map((from) => {
    const to = Math.min(rows, from + each);
    const [queries, lse, delta, grad] = [q, ...others].map((x) => part(x, from, to)) as [Value, Value, Value, Value];
    return [scale, queries, k, v, lse, delta, grad];
  });
  if (!made.every((xs) => keep(attentionCall('fovea.attention.grad', xs)))) return undefined;
  const results = made.map((xs) => attention(b, 'fovea.attention.grad', xs, placesIn(op)) as readonly [Value, Value, Value]);
  const all = (i: 0 | 1 | 2): readonly Value[] => results.map((r) => r[i]);
  return [b.concat(all(0), at), all(1).reduce((x, y) => b.add(x, y)), all(2).reduce((x, y) => b.add(x, y))];
};

/** Whether a template computes the call: sizes are numbers, no tensor is empty, rows are not too wide, and gradients not too many. */
export const streams = (op: OpOf<'call'>): op is StreamOp => {
  if (!Object.hasOwn(tiled, op.tag)) return false;
  const [, q, , v] = op.body.params as readonly [Value, Value, Value, Value];
  const sizes = op.body.params.flatMap((p) => p.type.shape);
  if (!sizes.every((d) => typeof d === 'number' && d > 0)) return false;
  const [rows, width] = q.type.shape.slice(-2) as [number, number];
  const held = op.tag === 'fovea.attention.grad' ? rows * width : 0;
  return width <= widest && (v.type.shape.at(-1) as number) <= widest && held <= most;
};
