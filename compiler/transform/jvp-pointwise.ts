/**
 * jvp rules of the pointwise primitives. A rule of one operand is a coefficient times the tangent; a rule of two operands
 * is one such product for each, summed. Where an operation has a kink the convention is JAX's: equal operands of max and
 * min share the derivative in halves, abs and sign have derivative sign(0) = 0 and 0 at 0.
 */
import type { Builder } from '../graph/builder.ts';
import { isFloat, type Prim, type Value } from '../graph/types.ts';
import { type AnySite, addTangents, type Dual, type JvpRule, scale, zero } from './dual.ts';

type UnaryRule = (s: { readonly b: Builder; readonly t: Value; readonly x: Value; readonly y: Value }) => Value;
type BinaryRule = (s: { readonly b: Builder; readonly t: Value; readonly x: Value; readonly y: Value; readonly z: Value }) => Value;

/** y = f(x): the tangent of y from the tangent t of x. */
const unary =
  (rule: UnaryRule) =>
  ({ b, op, x, t }: AnySite): Dual => {
    const y = b.one(op, x);
    return { results: [y], tangents: [rule({ b, t: t[0] as Value, x: x[0] as Value, y })] };
  };

/** z = f(x, y): what the tangent t of x, and of y, contributes to that of z. */
const binary =
  (left: BinaryRule, right: BinaryRule) =>
  ({ b, op, x: [x, y], t: [s, t] }: AnySite): Dual => {
    const at = { b, x: x as Value, y: y as Value, z: b.one(op, [x as Value, y as Value]) };
    return { results: [at.z], tangents: [addTangents(b, s ? left({ ...at, t: s }) : null, t ? right({ ...at, t }) : null)] };
  };

/** 1 where x wins, 0 where y wins, 1/2 where they are equal. */
const share =
  (wins: 'gt' | 'lt', first: 'x' | 'y'): BinaryRule =>
  ({ b, t, x, y }) => {
    const [p, q] = first === 'x' ? [x, y] : [y, x];
    const tie = b.select(b.compare('eq', p, q), b.fill(0.5, p.type), b.fill(0, p.type));
    return b.mul(t, b.select(b.compare(wins, p, q), b.fill(1, p.type), tie));
  };

/** y x^(y-1), and 0 where y = 0 even if x = 0. */
const powerInBase: BinaryRule = ({ b, t, x, y }) => {
  const [none, one] = [b.compare('eq', y, b.fill(0, y.type)), b.fill(1, y.type)];
  const slope = b.mul(y, b.pow(x, b.select(none, one, b.sub(y, one))));
  return b.mul(t, b.select(none, b.fill(0, y.type), slope));
};

/** x^y log x, and 0 where x = 0. The logarithm never sees the 0, so that no derivative of it is infinite either. */
const powerInExponent: BinaryRule = ({ b, t, x, z }) => {
  const none = b.compare('eq', x, b.fill(0, x.type));
  const slope = b.mul(z, b.log(b.select(none, b.fill(1, x.type), x)));
  return b.mul(t, b.select(none, b.fill(0, x.type), slope));
};

export const pointwise = {
  neg: unary(({ b, t }) => b.neg(t)),
  exp: unary(({ b, t, y }) => b.mul(t, y)),
  log: unary(({ b, t, x }) => b.div(t, x)),
  sin: unary(({ b, t, x }) => b.mul(t, b.cos(x))),
  cos: unary(({ b, t, x }) => b.mul(t, b.neg(b.sin(x)))),
  tanh: unary(({ b, t, y }) => b.mul(t, b.sub(b.fill(1, y.type), b.mul(y, y)))),
  sqrt: unary(({ b, t, y }) => b.div(t, scale(b, y, 2))),
  rsqrt: unary(({ b, t, y }) => b.mul(t, scale(b, b.mul(y, b.mul(y, y)), -0.5))),
  erf: unary(({ b, t, x }) => b.mul(t, scale(b, b.exp(b.neg(b.mul(x, x))), 2 / Math.sqrt(Math.PI)))),
  abs: unary(({ b, t, x }) => b.mul(t, b.sign(x))),
  sign: zero,
  floor: zero,
  not: zero,
  stopGradient: zero,
  cast: (s) => {
    if (!isFloat(s.op.dtype)) return zero(s);
    return { results: [s.b.one(s.op, s.x)], tangents: [s.b.cast(s.t[0] as Value, s.op.dtype)] };
  },
  add: binary(
    ({ t }) => t,
    ({ t }) => t,
  ),
  sub: binary(
    ({ t }) => t,
    ({ b, t }) => b.neg(t),
  ),
  mul: binary(
    ({ b, t, y }) => b.mul(t, y),
    ({ b, t, x }) => b.mul(t, x),
  ),
  div: binary(
    ({ b, t, y }) => b.div(t, y),
    ({ b, t, y, z }) => b.mul(t, b.neg(b.div(z, y))),
  ),
  pow: binary(powerInBase, powerInExponent),
  max: binary(share('gt', 'x'), share('gt', 'y')),
  min: binary(share('lt', 'x'), share('lt', 'y')),
  // x rem y = x - k y; k = (x - z) / y is piecewise constant, which stopGradient says for the second derivative
  rem: binary(
    ({ t }) => t,
    ({ b, t, x, y, z }) => b.mul(t, b.stopGradient(b.div(b.sub(z, x), y))),
  ),
  and: zero,
  or: zero,
  xor: zero,
  shiftLeft: zero,
  shiftRight: zero,
  compare: zero,
  select: ({ b, x: [c, x, y], t: [, s, t] }) => {
    const [cond, p, q] = [c as Value, x as Value, y as Value];
    const tangent = b.select(cond, s ?? b.fill(0, p.type), t ?? b.fill(0, q.type));
    return { results: [b.select(cond, p, q)], tangents: [tangent] };
  },
} satisfies { readonly [P in Prim]?: JvpRule<P> };
