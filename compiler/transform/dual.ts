/**
 * The vocabulary of forward mode: a tangent is a value or null, the symbolic zero, which costs no node. A jvp rule emits
 * its primitive and returns the results together with their tangents; a tangent has the type of its primal.
 *
 *   sin:  %2 = sin(%0)                  results
 *         %3 = cos(%0)
 *         %4 = mul(%1, %3)              tangents, %1 being the tangent of %0
 */
import type { Builder } from '../graph/builder.ts';
import type { Graph, Meta, Op, OpOf, Prim, Value } from '../graph/types.ts';

export type Tangent = Value | null;

export interface Dual {
  readonly results: readonly Value[];
  readonly tangents: readonly Tangent[];
}

/** What every rule may use to go into regions; one per differentiation. */
export interface Forward {
  /** Inlines g into b with tangents; `meta` says where the nodes of g come from, given what they say themselves. */
  readonly jvp: (b: Builder, g: Graph, args: readonly Value[], tangents: readonly Tangent[], meta?: (m: Meta) => Meta) => Dual;
  /** A number that no checkpoint region has yet. */
  readonly region: () => number;
}

/** One application of a primitive: operands `x` and their tangents `t`, of which at least one is not zero. */
export interface AnySite extends Forward {
  readonly b: Builder;
  readonly op: Op;
  readonly x: readonly Value[];
  readonly t: readonly Tangent[];
}
export type Site<P extends Prim> = AnySite & { readonly op: OpOf<P> };

export type JvpRule<P extends Prim> = (s: Site<P>) => Dual;

export const addTangents = (b: Builder, s: Tangent, t: Tangent): Tangent => (s && t ? b.add(s, t) : (s ?? t));
/** The tangent as a value: a symbolic zero becomes zeros of the type of its primal. */
export const materialise = (b: Builder, t: Tangent, primal: Value): Value => t ?? b.fill(0, primal.type);
/** x times a number. */
export const scale = (b: Builder, x: Value, factor: number): Value => b.mul(x, b.fill(factor, x.type));

/** Results that do not depend differentiably on the operands. */
export const zero = ({ b, op, x }: AnySite): Dual => {
  const results = b.emit(op, x);
  return { results, tangents: results.map(() => null) };
};
