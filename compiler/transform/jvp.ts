/**
 * Forward mode: jvp inlines a graph and carries tangents beside its values, by one rule a primitive. Reverse mode is this
 * table, split by linearize.ts and turned round by transpose.ts; nothing else in the compiler knows a derivative.
 *
 *   graph (%0: f32[4]) { %1 = sin(%0); return %1 }     at (x, t) becomes
 *   %2 = sin(x)
 *   %3 = cos(x)
 *   %4 = mul(t, %3)                                    results [%2], tangents [%4]
 */
import { FoveaError } from '../error.ts';
import type { Builder } from '../graph/builder.ts';
import { eqType, showType } from '../graph/infer.ts';
import { type Graph, isFloat, type Meta, type Node, type Prim, type Value } from '../graph/types.ts';
import type { Dual, Forward, JvpRule, Tangent } from './dual.ts';
import { pointwise } from './jvp-pointwise.ts';
import { regions } from './jvp-regions.ts';
import { structure } from './jvp-structure.ts';

export type { Dual, JvpRule, Site, Tangent } from './dual.ts';

export const jvpRules: { readonly [P in Prim]: JvpRule<P> } = { ...pointwise, ...structure, ...regions };

/** A number above those of all checkpoint regions in `nodes`. */
export const freeRegion = (nodes: readonly Node[]): number => nodes.reduce((max, n) => Math.max(max, n.meta.remat ?? 0), 0) + 1;

const keep = (m: Meta): Meta => m;

const run = (
  forward: Forward,
  b: Builder,
  g: Graph,
  args: readonly Value[],
  tangents: readonly Tangent[],
  meta: (m: Meta) => Meta,
): Dual => {
  const primals = new Map<Value, Value>(g.params.map((p, i) => [p, args[i] as Value]));
  const moving = new Map<Value, Value>();
  const bind = (from: Value, tangent: Tangent): unknown => tangent && isFloat(from.type.dtype) && moving.set(from, tangent);
  g.params.forEach((p, i) => bind(p, tangents[i] ?? null));
  for (const n of g.nodes) {
    const x = n.inputs.map((v) => primals.get(v) as Value);
    const t = n.inputs.map((v) => moving.get(v) ?? null);
    const { scope, phase, loc, remat } = meta(n.meta);
    const { results, tangents } = b.at({ scope, phase, loc, remat }, () => {
      if (t.every((v) => v === null)) return { results: b.emit(n.op, x), tangents: [] };
      // the row belongs to the primitive; TypeScript does not correlate the two lookups
      return (jvpRules[n.op.prim] as JvpRule<Prim>)({ ...forward, b, op: n.op, x, t });
    });
    n.outputs.forEach((o, i) => {
      primals.set(o, results[i] as Value);
      bind(o, tangents[i] ?? null);
    });
  }
  return { results: g.results.map((r) => primals.get(r) as Value), tangents: g.results.map((r) => moving.get(r) ?? null) };
};

/**
 * Inlines `g` into `b` at `args` and propagates `tangents`, of the types of the arguments, null being zero.
 * Throws FV0103 where a tangent does not fit its argument.
 */
export const jvp = (b: Builder, g: Graph, args: readonly Value[], tangents: readonly Tangent[]): Dual => {
  tangents.forEach((t, i) => {
    const x = args[i];
    if (t && !(x && isFloat(x.type.dtype) && eqType(t.type, x.type)))
      throw new FoveaError('FV0103', `jvp: argument ${i} is ${x ? showType(x.type) : 'missing'}, its tangent ${showType(t.type)}`, {
        loc: b.meta.loc,
        scope: b.meta.scope,
        hint: 'A tangent has the type of its argument, and only float arguments have one.',
      });
  });
  let next: number | undefined;
  const region = (): number => {
    next ??= Math.max(freeRegion(b.build([]).nodes), freeRegion(g.nodes));
    return next++;
  };
  const forward: Forward = { region, jvp: (into, body, xs, ts, meta = keep) => run(forward, into, body, xs, ts, meta) };
  return forward.jvp(b, g, args, tangents);
};
