/**
 * Pointwise functions and selection by index: exp(x), where(mask, a, b), gather(rows, indices). Shape in, shape out; operations that
 * move or sum axes take patterns and live in patterns.ts.
 *
 *   where(mask, x, 0), gather(embedding, tokens)
 */
import { showShape } from '../compiler/graph/dim.ts';
import type { DType, FloatType, Value } from '../compiler/graph/types.ts';
import { fail, type Handle, located } from './context.ts';
import { select } from './pointwise.ts';
import { type AnyTensor, type NumberType, type Operand, type Tensor, unwrap, wrap } from './tensor.ts';
import type { Broadcast, Err, Shape } from './types/einops.ts';
import type { Join, Wide, Words } from './types/words.ts';

type Pointwise<K extends DType> = <S extends string, T extends K>(x: Tensor<S, T>) => Tensor<S, T>;
type Name = 'exp' | 'log' | 'sin' | 'cos' | 'tanh' | 'sqrt' | 'rsqrt' | 'erf' | 'abs' | 'sign' | 'floor' | 'stopGradient';
/** f(x) for every element; FV0002 for a dtype that the function does not take. */
const primitive =
  <K extends DType>(name: Name): Pointwise<K> =>
  (x) =>
    located((b) => wrap(b[name](unwrap(name, x))));

// Floats in, floats out, shape by shape; f16 and bf16 stay what they are
export const exp = primitive<FloatType>('exp');
/** Natural logarithm: -Infinity at 0, NaN below. */
export const log = primitive<FloatType>('log');
export const sin = primitive<FloatType>('sin');
export const cos = primitive<FloatType>('cos');
export const tanh = primitive<FloatType>('tanh');
/** NaN below 0; the derivative at 0 is infinite. */
export const sqrt = primitive<FloatType>('sqrt');
/** 1 / sqrt(x) */
export const rsqrt = primitive<FloatType>('rsqrt');
/** 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x. */
export const erf = primitive<FloatType>('erf');
/** Its derivative at 0 is 0. */
export const abs = primitive<NumberType>('abs');
/** -1, 0 or 1 */
export const sign = primitive<NumberType>('sign');
export const floor = primitive<FloatType>('floor');
/** x, as a constant for differentiation */
export const stopGradient = primitive<DType>('stopGradient');

type ShapeIn<A> = A extends Tensor<infer S, DType> ? S : '';
type DTypeIn<A, B> = A extends Tensor<string, infer T> ? T : B extends Tensor<string, infer T> ? T : 'f32';
type WhereShape<C extends string, A, B> = Broadcast<'where', C, Shape<Broadcast<'where', ShapeIn<A>, ShapeIn<B>>>>;
type WhereFits<C extends string, A, B> =
  Broadcast<'where', ShapeIn<A>, ShapeIn<B>> extends Err<infer M> ? M : WhereShape<C, A, B> extends Err<infer M> ? M : WhereTypes<A, B>;
type WhereTypes<A, B> =
  A extends Tensor<string, infer T>
    ? B extends Tensor<string, infer T2>
      ? [T2] extends [T]
        ? B
        : `where: dtypes differ: ${T} vs ${T2} (use .cast())`
      : B
    : B;
/**
 * a where the condition holds, b elsewhere; all three broadcast (FV0001), a and b have one dtype (FV0002) or are numbers. The branch that is
 * not taken has derivative 0, but an infinite slope in it still gives NaN.
 */
export const where = <C extends string, A extends Operand, B extends Operand>(
  c: Tensor<C, 'bool'>,
  a: A,
  b: WhereFits<C, A, B>,
): Tensor<Shape<WhereShape<C, A, B>>, DTypeIn<A, B>> =>
  located((builder) => {
    const cond = unwrap('where', c);
    if (cond.type.dtype !== 'bool') fail('FV0002', `where: the condition is ${cond.type.dtype}, not bool`);
    return wrap(select(builder, cond, a as number | (Handle & A), b as unknown as number | Handle));
  });

type Gathered<S extends string, I extends string> =
  Wide<S | I> extends true
    ? string
    : Words<S> extends readonly [string, ...infer R extends readonly string[]]
      ? Join<[...Words<I>, ...R]>
      : string;
/** Rows of x: [R ...] at an i32 index [I] is [I ...], axis 0 replaced by the axes of the index. An index out of range reads zeros. */
export const gather = <S extends string, T extends DType, I extends string>(
  x: Tensor<S, T>,
  index: Tensor<I, 'i32'>,
): Tensor<Gathered<S, I>, T> => located((b) => wrap(b.gather(rows('gather', x), unwrap('gather', index), 0)));

type Updates<S extends string, I extends string, T extends DType, V> =
  V extends Tensor<infer U, infer T2>
    ? [T2] extends [T]
      ? Wide<S | I | U> extends true
        ? V
        : Words<Gathered<S, I>> extends Words<U>
          ? V
          : `scatterAdd: updates are [${U}], expected [${Gathered<S, I>}]`
      : `scatterAdd: dtypes differ: ${T} vs ${T2} (use .cast())`
    : V;
/**
 * x plus every row of the updates at its index: x [R ...], i32 index [I], updates [I ...] of x's dtype (FV0001, FV0002). Rows of one index
 * add up; an index out of range is dropped.
 */
export const scatterAdd = <S extends string, T extends DType, I extends string, V extends AnyTensor>(
  x: Tensor<S, T>,
  index: Tensor<I, 'i32'>,
  updates: Updates<S, I, T, V>,
): Tensor<S, T> => located((b) => wrap(b.scatterAdd(rows('scatterAdd', x), unwrap('scatterAdd', index), unwrap('scatterAdd', updates), 0)));

const rows = (op: string, x: AnyTensor): Value => {
  const v = unwrap(op, x);
  return v.type.shape.length === 0 ? fail('FV0001', `${op}: ${showShape(v.type.shape)} has no axis 0`) : v;
};
