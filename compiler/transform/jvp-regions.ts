/**
 * jvp rules of the primitives that have a region. A call is its body, inlined; that of tag `checkpoint` gets a region
 * number, by which remat.ts finds what to recompute. A region inside a region belongs to the outer one: recomputing the
 * outer recomputes it too. Attention has a rule of its own: it stays a call, and so does its tangent (graph/attention.ts).
 *
 * The rule of scan is already linearised: the primal scan also stacks the values that the derivative needs, and a second
 * scan, linear in its tangents, consumes them. Reverse mode has then only to transpose the second one. Checkpoint regions
 * inside the body need no pass: what they do not save is not stacked, and the second scan computes it again.
 *
 *   %1, %2 = scan(c, x)            body: c' = c * x;   y = c         %2 stacks c for the derivative
 *   %3     = scan(dc, x, %2, dx)   body: dc' = dc * x + c * dx
 */
import { attention, placesIn } from '../graph/attention.ts';
import { builder } from '../graph/builder.ts';
import type { Meta, Node, Prim, Value } from '../graph/types.ts';
import { type Dual, type JvpRule, materialise, type Site, type Tangent } from './dual.ts';
import { extract, linearize, needed } from './linearize.ts';
import { leaving } from './remat.ts';

const attentionRule: JvpRule<'call'> = ({ b, op, x, t }) => {
  const places = placesIn(op);
  const results = attention(b, 'fovea.attention', x, places);
  const moving = x.slice(1).map((v, i) => materialise(b, t[i + 1] ?? null, v));
  return { results, tangents: attention(b, 'fovea.attention.tangent', [...x, ...results, ...moving], places) };
};

const call: JvpRule<'call'> = (site) => {
  const { b, op, x, t, jvp, region } = site;
  // a scale that is learned needs the scores themselves; the rule is that of f32
  if (op.tag === 'fovea.attention' && t[0] === null && x[1]?.type.dtype === 'f32') return attentionRule(site);
  const { phase, remat: outer } = b.meta;
  const own = outer ?? (op.tag === 'checkpoint' ? region() : undefined);
  const meta = (m: Meta): Meta => ({ ...m, phase: phase === 'fwd' ? m.phase : phase, remat: own ?? m.remat });
  return jvp(b, op.body, x, t, meta);
};

/** The tangent region computes its own primal values: they are those of one shard and do not leave it. */
const perShard: JvpRule<'perShard'> = ({ b, op, x, t, jvp }) => {
  const inner = builder(b.meta);
  const params = op.body.params.map((p) => inner.param(p.type, p.name));
  const moving = params.map((p, i) => (t[i] ? inner.param(p.type) : null));
  const { tangents } = jvp(inner, op.body, params, moving);
  const given = [...params, ...moving].filter((p) => p !== null);
  const operands = [...x, ...t].filter((v) => v !== null);
  const out = tangents.filter((v) => v !== null);
  const results = b.emit(op, x);
  if (out.length === 0) return { results, tangents };
  const moved = b.emit({ prim: 'perShard', axis: op.axis, body: extract(inner.build([]).nodes, given, out) }, operands);
  let k = 0;
  return { results, tangents: tangents.map((v) => (v ? (moved[k++] as Value) : null)) };
};

/** The body of a scan with tangents: all carries whose tangent becomes non-zero in some iteration have one. */
const dualBody = ({ b, op, t, jvp }: Site<'scan'>) => {
  let moves = t.map((v) => v !== null);
  for (;;) {
    const inner = builder(b.meta);
    const params = op.body.params.map((p) => inner.param(p.type, p.name));
    const moving = params.map((p, i) => (moves[i] ? inner.param(p.type) : null));
    const { results, tangents } = jvp(inner, op.body, params, moving);
    const next = moves.map((m, i) => m || (i < op.carries && (tangents[i] ?? null) !== null));
    if (next.every((m, i) => m === moves[i])) {
      const carried: Tangent[] = tangents.map((v, i) => (i < op.carries && moves[i] ? materialise(inner, v, results[i] as Value) : v));
      return { nodes: inner.build([]).nodes, params, moving, results, tangents: carried };
    }
    moves = next;
  }
};

/** Nodes that depend on no parameter: cheaper to compute again in each iteration than to stack. */
const closed = (nodes: readonly Node[]): Set<Node> => {
  const values = new Set<Value>();
  const found = new Set<Node>();
  for (const n of nodes) {
    if (!n.inputs.every((v) => values.has(v))) continue;
    found.add(n);
    for (const o of n.outputs) values.add(o);
  }
  return found;
};

const scan = (s: Site<'scan'>): Dual => {
  const { b, op, x, t } = s;
  const fixed = op.carries + op.constants;
  const { nodes, params, moving, results, tangents } = dualBody(s);
  const out = tangents.filter((v) => v !== null);
  if (out.length === 0) return { results: b.emit(op, x), tangents: tangents };

  // residuals: what the linear body takes from the primal one
  const { primal } = linearize(
    nodes,
    moving.filter((v) => v !== null),
  );
  const cheap = closed(primal);
  const live = needed(primal, results);
  const forward = primal.filter((n) => live.has(n));
  const outside = leaving(forward, results);
  const kept = (n: Node, o: Value): boolean => !cheap.has(n) && (n.meta.remat === undefined || outside.has(o));
  const saved = forward.flatMap((n) => n.outputs.filter((o) => kept(n, o)));
  const stops = new Set([...saved, ...params]);
  const reads = [...needed(nodes, out, stops)].flatMap((n) => n.inputs);
  const used = new Set([...reads, ...out].filter((v) => stops.has(v)));
  const sliced = params.filter((p, i) => i >= fixed && used.has(p));
  const constant = params.filter((p, i) => i >= op.carries && i < fixed && used.has(p));
  const stacked = [...params.slice(0, op.carries), ...nodes.flatMap((n) => n.outputs)].filter((v) => used.has(v));

  const body = extract(nodes, params, [...results, ...stacked]);
  const values = b.emit({ ...op, body }, x);
  const stacks = values.slice(results.length);

  const of = (keep: (i: number) => boolean): number[] => params.map((_, i) => i).filter((i) => moving[i] && keep(i));
  const [tc, tk, tx] = [of((i) => i < op.carries), of((i) => i >= op.carries && i < fixed), of((i) => i >= fixed)];
  const at = (is: readonly number[]): Value[] => is.map((i) => moving[i] as Value);
  const operand = (p: Value): Value => x[params.indexOf(p)] as Value;
  const tangentBody = extract(nodes, [...at(tc), ...constant, ...at(tk), ...sliced, ...stacked, ...at(tx)], out);
  const moved = b.emit({ ...op, carries: tc.length, constants: constant.length + tk.length, body: tangentBody }, [
    ...tc.map((i) => materialise(b, t[i] ?? null, x[i] as Value)),
    ...constant.map(operand),
    ...tk.map((i) => t[i] as Value),
    ...sliced.map(operand),
    ...stacks,
    ...tx.map((i) => t[i] as Value),
  ]);
  let k = 0;
  return { results: values.slice(0, results.length), tangents: tangents.map((v) => (v ? (moved[k++] as Value) : null)) };
};

export const regions = { call, scan, perShard } satisfies { readonly [P in Prim]?: JvpRule<P> };
