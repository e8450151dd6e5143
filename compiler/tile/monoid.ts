/**
 * How each reduction accumulates: a state of one or two numbers, its identity, and a combination that is associative and
 * commutative up to rounding. Templates keep one state a lane and combine them in a fixed tree.
 *
 *   argmax: (value, position), combine keeps the larger value and, between equal ones, the smaller position; NaN counts
 *           as larger than every number and equal to NaN, so the first NaN wins, as in the interpreter
 */
import type { DType, Node, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr, KReduce, KType } from '../kernel/types.ts';
import { held, rounded } from './emit.ts';

export interface Monoid {
  readonly types: readonly KType[];
  readonly identity: readonly number[];
  combine(a: readonly Expr[], b: readonly Expr[]): readonly Expr[];
  /** The state of one element; `j` is its position as i32. */
  element(x: Expr, j: Expr): readonly Expr[];
  /** The state of all lanes, as scalars. */
  across(a: readonly Expr[]): readonly Expr[];
  result(a: readonly Expr[]): Expr;
}

const lowest = (t: KType): number => (t === 'f32' ? Number.NEGATIVE_INFINITY : t === 'i32' ? -(2 ** 31) : 0);
const highest = (t: KType): number => (t === 'f32' ? Number.POSITIVE_INFINITY : t === 'i32' ? 2 ** 31 - 1 : 2 ** 32 - 1);

const simple = (op: KReduce, t: DType, identity: (t: KType) => number): Monoid => ({
  types: [held(t)],
  identity: [identity(held(t))],
  combine: (a, b) => [e.binary(op, a[0] as Expr, b[0] as Expr)],
  element: (x) => [x],
  across: (a) => [e.across(op, a[0] as Expr)],
  result: (a) => rounded(a[0] as Expr, t),
});

/** Where x is NaN; undefined for integers, which have none. */
const nan = (x: Expr): Expr | undefined => (x.dtype === 'f32' ? e.compare('ne', x, x) : undefined);

/** Whether `b` beats `a`, and whether neither beats the other. */
const larger = (b: Expr, a: Expr): { readonly yes: Expr; readonly tie: Expr } => {
  const [yes, tie, na, nb] = [e.compare('gt', b, a), e.compare('eq', b, a), nan(a), nan(b)];
  return na && nb ? { yes: e.or(yes, e.and(nb, e.not(na))), tie: e.or(tie, e.and(nb, na)) } : { yes, tie };
};

const argmax = (t: DType): Monoid => ({
  types: [held(t), 'i32'],
  identity: [lowest(held(t)), 2 ** 31 - 1],
  combine: ([x, i], [y, j]) => {
    const [a, b, p, q] = [x, y, i, j] as [Expr, Expr, Expr, Expr];
    const { yes, tie } = larger(b, a);
    const take = e.or(yes, e.and(tie, e.compare('lt', q, p)));
    return [e.select(take, b, a), e.select(take, q, p)];
  },
  element: (x, j) => [x, j],
  across: ([x, i]) => {
    const [a, p] = [x, i] as [Expr, Expr];
    const best = e.across('max', a);
    // the maximum is NaN where one lane is
    return [best, e.across('min', e.select(larger(e.splat(best, a.lanes), a).tie, p, 2 ** 31 - 1))];
  },
  result: (a) => a[1] as Expr,
});

export const monoidOf = (n: Node): Monoid => {
  const t = (n.inputs[0] as Value).type.dtype;
  switch (n.op.prim) {
    case 'reduceSum':
      return simple('add', t, () => 0);
    case 'reduceMax':
      return simple('max', t, lowest);
    case 'reduceMin':
      return simple('min', t, highest);
    case 'argmax':
      return argmax(t);
    default:
      throw new Error(`internal: ${n.op.prim} is no reduction`);
  }
};
