/**
 * The tensor that a model sees: `Tensor<'B N 384'>` is a frozen handle on a value of the graph that is being traced. It has a shape
 * and a dtype but no numbers; pointwise operations are its methods, operations that change the shape are functions of patterns.
 *
 * `Tensor<string>` is a tensor whose shape the types do not know: it is accepted everywhere and checked when traced.
 *
 *   const y = x.mul(0.5).add(bias);      // x: Tensor<'B N D'>, bias: Tensor<'D'>  ->  Tensor<'B N D'>
 */
import { type Dim, eqShape, showShape } from '../compiler/graph/dim.ts';
import type { Compare, DType, FloatType, Value } from '../compiler/graph/types.ts';
import { current, fail, type Handle, isTensor, lift, located, shapeOf, slot } from './context.ts';
import { type Binary, binary, compare } from './pointwise.ts';
import type { Broadcast, Err } from './types/einops.ts';
import type { Wide } from './types/words.ts';

export type { DType };

declare const brand: unique symbol;

export interface Tensor<out S extends string = string, out T extends DType = 'f32'> {
  readonly [brand]: S;
  /** Sizes as traced: numbers, or polynomials over named sizes. */
  readonly shape: readonly Dim[];
  readonly dtype: T;
  // Both operands have one dtype; shapes align at the right, where a missing axis or a literal 1 stretches (FV0001), a number is a constant
  // of the tensor's dtype (FV0002). Whole numbers wrap at 32 bits.
  add<B extends Operand>(b: Fits<'add', S, T, B>): Tensor<Both<S, B>, T>;
  sub<B extends Operand>(b: Fits<'sub', S, T, B>): Tensor<Both<S, B>, T>;
  mul<B extends Operand>(b: Fits<'mul', S, T, B>): Tensor<Both<S, B>, T>;
  /** Whole numbers truncate; by 0 they give 0. */
  div<B extends Operand>(b: Fits<'div', S, T, B>): Tensor<Both<S, B>, T>;
  /** Of floats. x ** 0 is 1; NaN where x < 0 and the exponent is not whole. */
  pow<B extends Operand>(b: Fits<'pow', S, T, B>): Tensor<Both<S, B>, T>;
  /** NaN where either is. */
  max<B extends Operand>(b: Fits<'max', S, T, B>): Tensor<Both<S, B>, T>;
  min<B extends Operand>(b: Fits<'min', S, T, B>): Tensor<Both<S, B>, T>;
  /** Remainder with the sign of the dividend. */
  rem<B extends Operand>(b: Fits<'rem', S, T, B>): Tensor<Both<S, B>, T>;
  // comparisons with NaN are false, but for `ne`; bool has only eq and ne
  lt<B extends Operand>(b: Fits<'lt', S, T, B>): Tensor<Both<S, B>, 'bool'>;
  le<B extends Operand>(b: Fits<'le', S, T, B>): Tensor<Both<S, B>, 'bool'>;
  gt<B extends Operand>(b: Fits<'gt', S, T, B>): Tensor<Both<S, B>, 'bool'>;
  ge<B extends Operand>(b: Fits<'ge', S, T, B>): Tensor<Both<S, B>, 'bool'>;
  eq<B extends Operand>(b: Fits<'eq', S, T, B>): Tensor<Both<S, B>, 'bool'>;
  ne<B extends Operand>(b: Fits<'ne', S, T, B>): Tensor<Both<S, B>, 'bool'>;
  // of bool, or bit by bit of whole numbers
  and<B extends Operand>(b: Fits<'and', S, T, B>): Tensor<Both<S, B>, T>;
  or<B extends Operand>(b: Fits<'or', S, T, B>): Tensor<Both<S, B>, T>;
  xor<B extends Operand>(b: Fits<'xor', S, T, B>): Tensor<Both<S, B>, T>;
  not(): Tensor<S, T>;
  neg(): Tensor<S, T>;
  /** Floats to whole numbers truncate; to bool, everything but 0 is true. */
  cast<U extends DType>(dtype: U): Tensor<S, U>;
  /** Asserts a shape that the types cannot derive; checked when traced. */
  as<S2 extends string>(shape: S2): Tensor<S2, T>;
}
export type NumberType = Exclude<DType, 'bool'>;
export type F32<S extends string> = Tensor<S, 'f32'>;
export type Scalar = Tensor<'', 'f32'>;
/** A key of random numbers: two words. */
export type Key = Tensor<'2', 'u32'>;
export type AnyTensor = Tensor<string, DType>;
export type Operand = number | AnyTensor;
export type ShapeOf<X> = X extends Tensor<infer S, DType> ? S : never;
export type DTypeOf<X> = X extends Tensor<string, infer T> ? T : never;

/** Operations and the dtypes that they are not defined for. */
type Undefined =
  | readonly ['add' | 'sub' | 'mul' | 'div' | 'pow' | 'max' | 'min' | 'rem' | 'lt' | 'le' | 'gt' | 'ge', 'bool']
  | readonly ['pow', 'i32' | 'u32']
  | readonly ['and' | 'or' | 'xor', FloatType];
/** The operand's own type, or a sentence. */
export type Fits<Op extends string, S extends string, T extends DType, B extends Operand> = readonly [Op, T] extends Undefined
  ? `${Op}: not defined for ${T} tensors (use .cast())`
  : B extends Tensor<infer S2, infer T2>
    ? [T2] extends [T]
      ? Broadcast<Op, S, S2> extends Err<infer M>
        ? M
        : B
      : `${Op}: dtypes differ: ${T} vs ${T2} (use .cast())`
    : B;
/** Shape of a pointwise result; `string` after an error. */
export type Both<S extends string, B> =
  B extends Tensor<infer S2, DType>
    ? S extends S2
      ? Wide<S2> extends true
        ? string
        : S
      : Broadcast<'', S, S2> extends infer R
        ? R extends string
          ? R
          : string
        : never
    : S;

const noValue = (what: string): never =>
  fail(
    'FV0004',
    `a traced tensor has no value: it cannot be used in ${what}`,
    'Use add, mul, where(condition, a, b), lt, ...; only numbers and sizes can decide what is traced.',
  );

/** Result of `f` on the value of a tensor, as a tensor. */
const method = (f: (x: Value, y: never) => Value) =>
  function (this: Handle, y?: unknown): Handle {
    return located(() => wrap(f(lift(this), y as never)));
  };
const arithmetic = (op: Binary) => method((x, y: Handle | number) => binary(current().builder, op, x, y));
const comparison = (cmp: Compare) => method((x, y: Handle | number) => compare(current().builder, cmp, x, y));

const proto = {
  add: arithmetic('add'),
  sub: arithmetic('sub'),
  mul: arithmetic('mul'),
  div: arithmetic('div'),
  pow: arithmetic('pow'),
  max: arithmetic('max'),
  min: arithmetic('min'),
  rem: arithmetic('rem'),
  and: arithmetic('and'),
  or: arithmetic('or'),
  xor: arithmetic('xor'),
  lt: comparison('lt'),
  le: comparison('le'),
  gt: comparison('gt'),
  ge: comparison('ge'),
  eq: comparison('eq'),
  ne: comparison('ne'),
  not: method((x) => current().builder.not(x)),
  neg: method((x) => current().builder.neg(x)),
  cast: method((x, dtype: DType) => current().builder.cast(x, dtype)),
  as(this: Handle, shape: string): Handle {
    return located(() => {
      const [have, want] = [lift(this).type.shape, shapeOf(shape)];
      return eqShape(have, want)
        ? this
        : fail(
            'FV0001',
            `as: the tensor is ${showShape(have)}, not [${shape}]${String(want.join(' ')) === shape ? '' : ` = ${showShape(want)}`}`,
          );
    });
  },
  get shape(): readonly Dim[] {
    return (this as unknown as Handle)[slot].value.type.shape;
  },
  get dtype(): DType {
    return (this as unknown as Handle)[slot].value.type.dtype;
  },
  [Symbol.toPrimitive](hint: string): never {
    return noValue(hint === 'string' ? 'a string' : 'JavaScript arithmetic or a comparison');
  },
  [Symbol.iterator](): never {
    return fail('FV0004', 'a traced tensor cannot be iterated over', 'Use unbind(x) for the slices along the first axis.');
  },
  [Symbol.for('nodejs.util.inspect.custom')](this: Handle): string {
    const { type } = this[slot].value;
    return `Tensor ${type.dtype}${showShape(type.shape)}`;
  },
};

/** A tensor of the running trace. The caller states its type: the one place where types are asserted instead of derived. */
export const wrap = <X = Tensor<string, DType>>(value: Value): X & Handle =>
  Object.freeze(Object.assign(Object.create(proto) as object, { [slot]: { value, trace: current() } })) as unknown as X & Handle;

/** The value of a tensor in the running trace; FV0002 for anything else. */
export const unwrap = (op: string, x: unknown): Value =>
  isTensor(x) ? lift(x) : fail('FV0002', `${op}: expected a tensor, got ${x === null ? 'null' : typeof x}`);
