/** Rows of constants and of what computes each element from the same element of its operands. */
import { known } from '../../compiler/graph/dim.ts';
import { type Compare, type DType, isFloat, type Prim, type Value } from '../../compiler/graph/types.ts';
import { all, bits, type Grow, number, type Row } from './grow.ts';

/** x * x + 1/2 with |x| <= 2: away from 0 and from overflow. */
const positive = (g: Grow, x: Value): Value => {
  const small = g.boundOf(x) <= 2 ? x : g.b.tanh(x);
  return g.b.add(g.b.mul(small, small), g.b.fill(0.5, x.type));
};
const small = (g: Grow, x: Value): Value => (g.boundOf(x) <= 3 ? x : g.b.tanh(x));

const unary =
  (f: (g: Grow, x: Value) => Value, kind: (d: DType) => boolean, bound: (b: number) => number): Row =>
  (g) => {
    const x = g.any(kind);
    return [[f(g, x), bound(g.boundOf(x))]];
  };
const binary =
  (f: (g: Grow, x: Value, y: Value) => Value, kind: (d: DType) => boolean, bound: (x: number, y: number) => number): Row =>
  (g) => {
    const old = g.any(kind);
    const other = g.like(old.type);
    // a constant stands on either side
    const [x, y] = g.pick(2) === 0 ? [old, other] : [other, old];
    return [[f(g, x, y), bound(g.boundOf(x), g.boundOf(y))]];
  };

const compares: readonly Compare[] = ['lt', 'eq', 'ne', 'le', 'gt', 'ge'];
/** Truth values have no order. */
const equalities: readonly Compare[] = ['eq', 'ne', 'eq', 'ne', 'eq', 'ne'];

export const pointwise = {
  const: (g) => {
    const dtype = g.dtypes[g.pick(g.dtypes.length)] as DType;
    return [[g.b.constant(g.number(dtype), dtype), 4]];
  },
  array: (g) => {
    const dtype = g.dtypes[g.pick(g.dtypes.length)] as DType;
    const n = g.pick(4);
    return [[g.b.one({ prim: 'array', data: Array.from({ length: n }, () => g.number(dtype)), shape: [n], dtype }, []), 1]];
  },
  iota: (g) => {
    const shape = [...g.shape(), 3];
    const dtype = g.dtypes.filter(number)[g.pick(3)] ?? 'f32';
    const axis = g.pick(shape.length);
    return g.fits(shape) ? [[g.b.one({ prim: 'iota', shape, axis, dtype }, []), known(shape[axis] as number)]] : [];
  },
  neg: unary(
    (g, x) => g.b.neg(x),
    number,
    (b) => b,
  ),
  exp: unary(
    (g, x) => g.b.exp(small(g, x)),
    isFloat,
    () => Math.exp(3),
  ),
  log: unary(
    (g, x) => g.b.log(positive(g, x)),
    isFloat,
    () => 2,
  ),
  sin: unary(
    (g, x) => g.b.sin(x),
    isFloat,
    () => 1,
  ),
  cos: unary(
    (g, x) => g.b.cos(x),
    isFloat,
    () => 1,
  ),
  tanh: unary(
    (g, x) => g.b.tanh(x),
    isFloat,
    () => 1,
  ),
  sqrt: unary(
    (g, x) => g.b.sqrt(positive(g, x)),
    isFloat,
    () => 3,
  ),
  rsqrt: unary(
    (g, x) => g.b.rsqrt(positive(g, x)),
    isFloat,
    () => 2,
  ),
  erf: unary(
    (g, x) => g.b.erf(x),
    isFloat,
    () => 1,
  ),
  abs: unary(
    (g, x) => g.b.abs(x),
    number,
    (b) => b,
  ),
  sign: unary(
    (g, x) => g.b.sign(x),
    number,
    () => 1,
  ),
  floor: unary(
    (g, x) => g.b.floor(x),
    isFloat,
    (b) => b + 1,
  ),
  not: unary(
    (g, x) => g.b.not(x),
    bits,
    () => 1,
  ),
  cast: (g) => {
    const x = g.any(all);
    const dtype = g.dtypes[g.pick(g.dtypes.length)] as DType;
    return [[g.b.one({ prim: 'cast', dtype }, [x]), g.boundOf(x)]];
  },
  stopGradient: unary(
    (g, x) => g.b.stopGradient(x),
    all,
    (b) => b,
  ),
  add: binary(
    (g, x, y) => g.b.add(x, y),
    number,
    (a, b) => a + b,
  ),
  sub: binary(
    (g, x, y) => g.b.sub(x, y),
    number,
    (a, b) => a + b,
  ),
  mul: binary(
    (g, x, y) => g.b.mul(x, y),
    number,
    (a, b) => a * b,
  ),
  div: binary(
    (g, x, y) => g.b.div(x, isFloat(y.type.dtype) ? positive(g, y) : g.b.or(y, g.b.fill(1, y.type))),
    number,
    (a) => 2 * a,
  ),
  pow: binary(
    (g, x, y) => g.b.pow(positive(g, x), g.pick(2) === 1 ? g.b.fill([2, -1, 1][g.pick(3)] as number, y.type) : small(g, y)),
    isFloat,
    () => 4.5 ** 3,
  ),
  max: binary((g, x, y) => g.b.max(x, y), number, Math.max),
  min: binary((g, x, y) => g.b.min(x, y), number, Math.max),
  rem: binary(
    (g, x, y) => g.b.rem(x, isFloat(y.type.dtype) ? positive(g, y) : g.b.or(y, g.b.fill(1, y.type))),
    number,
    (a) => a,
  ),
  and: binary(
    (g, x, y) => g.b.and(x, y),
    bits,
    () => 1,
  ),
  or: binary(
    (g, x, y) => g.b.or(x, y),
    bits,
    () => 1,
  ),
  xor: binary(
    (g, x, y) => g.b.xor(x, y),
    bits,
    () => 1,
  ),
  shiftLeft: binary(
    (g, x, y) => g.b.shiftLeft(x, y),
    (d) => d === 'u32',
    () => 1,
  ),
  shiftRight: binary(
    (g, x, y) => g.b.shiftRight(x, y),
    (d) => d === 'u32',
    () => 1,
  ),
  compare: binary(
    (g, x, y) => g.b.compare((x.type.dtype === 'bool' ? equalities : compares)[g.pick(6)] as Compare, x, y),
    all,
    () => 1,
  ),
  select: (g) => {
    const x = g.any(all);
    const y = g.like(x.type);
    return [[g.b.select(g.like({ dtype: 'bool', shape: x.type.shape }), x, y), Math.max(g.boundOf(x), g.boundOf(y))]];
  },
} satisfies { readonly [P in Prim]?: Row };
