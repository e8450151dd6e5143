/**
 * Transposition: runs linear nodes backwards. A cotangent enters at every linear value that the results use and is
 * carried from the results of each node to its linear operands by one rule a primitive; where a value has several uses
 * their cotangents are added in the order in which the uses are met, last use first.
 *
 *   %5 = dot(%4, %1) contract=[1][0]        %4 linear, %9 the cotangent of %5
 *   %10 = dot(%9, %1) contract=[1][1]       the cotangent of %4
 */
import type { Builder } from '../graph/builder.ts';
import type { Node, Op, OpOf, Prim, Value } from '../graph/types.ts';
import type { Tangent } from './dual.ts';
import { regionTransposes } from './transpose-regions.ts';
import { structureTransposes } from './transpose-structure.ts';

/** What the jvp rules may apply to a tangent. */
export type LinearPrim =
  | 'neg'
  | 'cast'
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'select'
  | 'broadcast'
  | 'reshape'
  | 'transpose'
  | 'slice'
  | 'pad'
  | 'concat'
  | 'reverse'
  | 'gather'
  | 'scatterAdd'
  | 'dot'
  | 'reduceSum'
  | 'cumsum'
  | 'call'
  | 'scan'
  | 'reshard'
  | 'perShard';
/** What they may not: constants, and functions of tangents that are not linear. */
export type NonlinearPrim =
  | 'const'
  | 'array'
  | 'iota'
  | 'randomBits'
  | 'axisIndex'
  | 'collective'
  | 'start'
  | 'wait'
  | 'exp'
  | 'log'
  | 'sin'
  | 'cos'
  | 'tanh'
  | 'sqrt'
  | 'rsqrt'
  | 'erf'
  | 'abs'
  | 'sign'
  | 'floor'
  | 'not'
  | 'stopGradient'
  | 'pow'
  | 'max'
  | 'min'
  | 'rem'
  | 'and'
  | 'or'
  | 'xor'
  | 'shiftLeft'
  | 'shiftRight'
  | 'compare'
  | 'reduceMax'
  | 'reduceMin'
  | 'argmax';
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type Holds<T extends true> = T;
/** Does not compile unless each primitive is in exactly one of the two. */
export type Partition = Holds<Same<Prim, LinearPrim | NonlinearPrim>> & Holds<Same<never, LinearPrim & NonlinearPrim>>;

export interface AnyLinearSite {
  readonly b: Builder;
  readonly op: Op;
  readonly x: readonly Value[];
  /** Which operands are linear; only their cotangents are asked for. The values of the others may be used. */
  readonly linear: readonly boolean[];
  /** Cotangents of the results, at least one of them not zero. */
  readonly ct: readonly Tangent[];
  readonly transpose: typeof transposeLinear;
}
export type LinearSite<P extends Prim> = AnyLinearSite & { readonly op: OpOf<P> };
/** Cotangents of the operands; what is returned for an operand that is not linear is not looked at. */
export type TransposeRule<P extends Prim> = (s: LinearSite<P>) => readonly Tangent[];

export const transposeRules: { readonly [P in LinearPrim]: TransposeRule<P> } = { ...structureTransposes, ...regionTransposes };

const isLinearPrim = (p: Prim): p is LinearPrim => p in transposeRules;

/**
 * Emits the transpose of `nodes`, all linear in `values`, into b, where their values stand. `seeds` are pairs of a value
 * and its cotangent. Returns the cotangents of all linear values that got one.
 */
export const transposeLinear = (
  b: Builder,
  nodes: readonly Node[],
  values: ReadonlySet<Value>,
  seeds: readonly (readonly [Value, Value])[],
): ReadonlyMap<Value, Value> => {
  const cotangents = new Map<Value, Value>();
  const add = (v: Value, ct: Value): void => {
    const before = cotangents.get(v);
    cotangents.set(v, before ? b.add(before, ct) : ct);
  };
  for (const [v, ct] of seeds) if (values.has(v)) add(v, ct);
  for (let i = nodes.length - 1; i >= 0; i--) {
    const { op, inputs: x, outputs, meta } = nodes[i] as Node;
    const ct = outputs.map((o) => cotangents.get(o) ?? null);
    if (ct.every((c) => c === null)) continue;
    if (!isLinearPrim(op.prim)) throw new Error(`internal: a jvp rule applied ${op.prim} to a tangent`);
    const rule = transposeRules[op.prim] as TransposeRule<Prim>;
    const linear = x.map((v) => values.has(v));
    b.at({ scope: meta.scope, phase: 'bwd', loc: meta.loc, remat: undefined }, () => {
      const back = rule({ b, op, x, linear, ct, transpose: transposeLinear });
      x.forEach((v, k) => {
        const c = back[k];
        if (linear[k] && c) add(v, c);
      });
    });
  }
  return cotangents;
};
