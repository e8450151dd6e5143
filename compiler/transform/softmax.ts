/**
 * Softmaxes in a graph: a composite whose definition is one, or one written out. Only what is exactly exp(x - max(x)) over its sum along the
 * last axis is taken, for a rewrite stands on it (recognise.ts); what is written in another way is explained instead (nearly.ts).
 *
 *   %4 = exp(%3 - broadcast(reduceMax(%3)))      x is %3
 *   %6 = %4 / broadcast(reduceSum(%4))
 */
import type { Graph, Node, OpOf, Value } from '../graph/types.ts';

export type Dot = Node & { readonly op: OpOf<'dot'> };
/** What may be asked about the graph in which a pattern is looked for. */
export interface Site {
  maker(v: Value): Node | undefined;
  /** How many operands and results of the graph v is. */
  uses(v: Value): number;
  /** The nodes that read v. */
  readers(v: Value): readonly Node[];
}

export const made = <P extends Node['op']['prim']>(
  s: Site,
  v: Value | undefined,
  prim: P,
): (Node & { readonly op: OpOf<P> }) | undefined => {
  const n = v && s.maker(v);
  return n?.op.prim === prim ? (n as Node & { readonly op: OpOf<P> }) : undefined;
};
export const lastAxis = (v: Value): number => v.type.shape.length - 1;
export const is = (xs: readonly number[], ...ys: readonly number[]): boolean => xs.length === ys.length && xs.every((x, i) => x === ys[i]);

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

export const siteOf = (g: Graph): Site => {
  const makers = new Map<Value, Node>();
  const readers = new Map<Value, Node[]>();
  const uses = new Map<Value, number>();
  for (const n of g.nodes) {
    for (const o of n.outputs) makers.set(o, n);
    for (const v of n.inputs) uses.set(v, (uses.get(v) ?? 0) + 1);
    for (const v of new Set(n.inputs)) {
      const those = readers.get(v);
      if (those) those.push(n);
      else readers.set(v, [n]);
    }
  }
  for (const r of g.results) uses.set(r, (uses.get(r) ?? 0) + 1);
  return { maker: (v) => makers.get(v), uses: (v) => uses.get(v) ?? 0, readers: (v) => readers.get(v) ?? [] };
};

/** The scores whose softmax v is, and why it is not one to take apart, where that is so. */
export const softmaxOf = (s: Site, v: Value): { readonly x: Value; readonly entangled?: string | undefined } | undefined => {
  const call = made(s, v, 'call');
  if (call) {
    const { body } = call.op;
    const inner = call.inputs.length === 1 && body.results.length === 1 ? writtenOut(siteOf(body), body.results[0] as Value)?.x : undefined;
    if (!inner || inner !== body.params[0]) return undefined;
    const x = call.inputs[0] as Value;
    return { x, entangled: s.uses(x) === 1 ? undefined : 'the scores are read by more than the softmax' };
  }
  const found = writtenOut(s, v);
  if (!found) return undefined;
  const apart = found.between.every(([u, n]) => s.uses(u) === n);
  return { x: found.x, entangled: apart ? undefined : 'a value inside the softmax is read elsewhere' };
};
