/**
 * Batching rules of the primitives with a region, and of random bits. A call keeps its name: its body becomes a body of batches; attention
 * takes batches as they are. A scan, and a region for each shard, runs once for all examples: its slices are batches, so stacked operands
 * and results carry the batch as their second axis. Random bits of a key for each example are a loop over the keys.
 */
import { type AttentionTag, attention, isAttention, placesIn } from '../graph/attention.ts';
import { type Builder, builder } from '../graph/builder.ts';
import type { Dim } from '../graph/dim.ts';
import type { Graph, Op, Prim, TensorType, Value } from '../graph/types.ts';
import { all, type Batched, type BatchRule, type BatchSite, repeated } from './batched.ts';

const lifted = (t: TensorType, isBatched: boolean, size: Dim): TensorType => (isBatched ? { ...t, shape: [size, ...t.shape] } : t);

/** The region as one of batches, its results batched as `want` says at least; and how they are. */
const bodyOf = (
  s: Pick<BatchSite<Prim>, 'b' | 'size' | 'vmap'>,
  g: Graph,
  batched: readonly boolean[],
  want: (i: number) => boolean = () => false,
): { readonly body: Graph; readonly batched: readonly boolean[] } => {
  const inner: Builder = builder(s.b.meta);
  const params = g.params.map((p, i) => inner.param(lifted(p.type, batched[i] as boolean, s.size), p.name));
  const out: Batched = s.vmap(inner, g, params, batched, s.size);
  const values = out.values.map((v, i) => (want(i) ? repeated(inner, v, out.batched[i] as boolean, s.size) : v));
  return { body: inner.build(values), batched: out.batched.map((is, i) => is || want(i)) };
};

const region: BatchRule<'call'> = (s) => {
  const { body, batched } = bodyOf(s, s.op.body, s.batched);
  return { values: s.b.emit({ ...s.op, body } as Op, s.x), batched };
};

const call: BatchRule<'call'> = (s) => {
  const { b, op, x, batched, size } = s;
  if (!isAttention({ op })) return region(s);
  // with a scale for each example it is a program like any other
  if (batched[0]) return s.vmap(b, op.body, x, batched, size);
  const operands = x.map((v, i) => (i === 0 ? v : repeated(b, v, batched[i] as boolean, size)));
  return all(attention(b, op.tag as AttentionTag, operands, placesIn(op)));
};

const swapped = (b: Builder, x: Value): Value => b.transpose(x, [1, 0, ...x.type.shape.slice(2).map((_, i) => i + 2)]);

const scan: BatchRule<'scan'> = (s) => {
  const { b, op, size } = s;
  const fixed = op.carries + op.constants;
  // a carry is batched if it ever becomes so
  let flags = [...s.batched];
  for (;;) {
    const out = bodyOf(s, op.body, flags).batched;
    const next = flags.map((is, i) => is || (i < op.carries && (out[i] as boolean)));
    if (next.every((is, i) => is === flags[i])) break;
    flags = next;
  }
  const { body, batched } = bodyOf(s, op.body, flags, (i) => i < op.carries && (flags[i] as boolean));
  const operands = s.x.map((v, i) => {
    const given = s.batched[i] as boolean;
    if (i < fixed) return flags[i] ? repeated(b, v, given, size) : v;
    return given ? swapped(b, v) : v;
  });
  const results = b.emit({ ...op, body }, operands);
  return { values: results.map((v, i) => (i >= op.carries && batched[i] ? swapped(b, v) : v)), batched };
};

const perShard: BatchRule<'perShard'> = (s) => {
  const { body, batched } = bodyOf(s, s.op.body, s.batched);
  const operands = s.x.map((v, i) => (s.batched[i] ? swapped(s.b, v) : v));
  const results = s.b.emit({ ...s.op, body }, operands);
  return { values: results.map((v, i) => (batched[i] ? swapped(s.b, v) : v)), batched };
};

const randomBits: BatchRule<'randomBits'> = ({ b, op, x, size }) => {
  const inner = builder(b.meta);
  const key = inner.param({ dtype: 'u32', shape: [2] });
  const body = inner.build([inner.one(op, [key])]);
  return all(b.emit({ prim: 'scan', length: size, carries: 0, constants: 0, reverse: false, body }, x));
};

export const regions = { call, perShard, scan, randomBits } satisfies { readonly [P in Prim]?: BatchRule<P> };
