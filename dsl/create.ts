/**
 * Tensors from nothing: constants, ranges, sizes as numbers. Shapes are written with the names in force in the running body
 * (those of its signature, the module's sizes, the program's sizes).
 *
 *   fn(['B N D'], x => x.add(full(0.5, 'B N 1')))      // Tensor<'B N 1'>
 */
import { type Dim, eqDim, known, prodDim, showShape } from '../compiler/graph/dim.ts';
import type { DType } from '../compiler/graph/types.ts';
import { fail, located, shapeOf } from './context.ts';
import { literal, stretch } from './pointwise.ts';
import { type DimArg, dimValue } from './sizes.ts';
import { type Tensor, unwrap, wrap } from './tensor.ts';
import type { Checked, Expand } from './types/einops.ts';
import type { WordOf } from './types/rearrange.ts';
import type { Wide } from './types/words.ts';

/** Every element is v, by default in f32. FV0002 where the dtype has no such number, FV0003 for a shape that cannot be read. */
export const full = <const S extends string, T extends DType = 'f32'>(v: number, shape: S, dtype?: T): Tensor<S, T> =>
  located((b) => wrap(b.fill(literal('full', v, dtype ?? 'f32'), { dtype: dtype ?? 'f32', shape: shapeOf(shape) })));
/** full(0, ...); false of bool. */
export const zeros = <const S extends string, T extends DType = 'f32'>(shape: S, dtype?: T): Tensor<S, T> => full(0, shape, dtype);
/** full(1, ...); true of bool. */
export const ones = <const S extends string, T extends DType = 'f32'>(shape: S, dtype?: T): Tensor<S, T> => full(1, shape, dtype);

/** 0, 1, 2, ... along the last axis, by default in i32; not of bool (FV0002). */
export const iota = <const S extends string, T extends DType = 'i32'>(shape: S, dtype?: T): Tensor<S, T> =>
  located((b) => {
    const dims = shapeOf(shape);
    if (dims.length === 0) fail('FV0001', 'iota: a scalar has no axis to count along');
    return wrap(b.one({ prim: 'iota', shape: dims, axis: dims.length - 1, dtype: dtype ?? 'i32' }, []));
  });

/** A number or a size as a scalar: `scalar(K)` is the number K stands for, also where it is bound only later. */
export const scalar = <T extends DType = 'f32'>(z: DimArg, dtype?: T): Tensor<'', T> =>
  located((b) => wrap(b.constant(typeof z === 'number' ? literal('scalar', z, dtype ?? 'f32') : dimValue(z), dtype ?? 'f32')));

type Nested = number | boolean | readonly Nested[] | ArrayLike<number>;
const flatten = (x: Nested): number[] =>
  typeof x === 'number' || typeof x === 'boolean' ? [Number(x)] : Array.from(x as ArrayLike<Nested>).flatMap(flatten);

/** Numbers written in the program: nested lists or a typed array in row-major order. For more than a few thousand use an input. */
export const constant = <const S extends string, T extends DType = 'f32'>(data: Nested, shape: S, dtype?: T): Tensor<S, T> =>
  located((b) => {
    const dims = shapeOf(shape);
    const flat = flatten(data).map((n) => literal('constant', n, dtype ?? 'f32'));
    const symbolic = dims.find((d) => typeof d !== 'number');
    if (symbolic !== undefined)
      fail('FV0005', `constant: the size ${symbolic} in [${shape}] is not a number`, 'Constants have known sizes.');
    if (prodDim(dims) !== flat.length) fail('FV0001', `constant: ${flat.length} numbers for [${shape}]`);
    return wrap(b.one({ prim: 'array', data: flat, shape: dims.map(known), dtype: dtype ?? 'f32' }, []));
  });

/** x stretched to the shape: missing axes at the left, and axes of size 1, repeat. */
export const expand = <S extends string, T extends DType, const S2 extends string>(
  x: Tensor<S, T>,
  shape: Checked<Expand<S, S2>, S2>,
): Tensor<S2, T> =>
  located((b) => {
    const v = unwrap('expand', x);
    const to = shapeOf(shape);
    const from = v.type.shape;
    const lead = to.length - from.length;
    if (lead < 0 || !from.every((d, i) => d === 1 || eqDim(d, to[lead + i] as Dim)))
      fail('FV0001', `expand: ${showShape(from)} does not stretch to ${showShape(to)}`);
    return wrap(stretch(b, v, to));
  });

type Glue<S extends string, W extends string> = S extends '' ? W : `${S} ${W}`;
/** One row per index: 1 at the index, 0 elsewhere; an index out of range gives a row of zeros. */
export const oneHot = <S extends string, const Z extends DimArg>(
  index: Tensor<S, 'i32'>,
  n: Z,
): Tensor<Wide<S> extends true ? string : Glue<S, WordOf<Z>>, 'f32'> =>
  located((b) => {
    const i = unwrap('oneHot', index);
    const shape = [...i.type.shape, dimValue(n)];
    const axis = shape.length - 1;
    const range = b.one({ prim: 'iota', shape, axis, dtype: 'i32' }, []);
    return wrap(
      b.cast(
        b.compare(
          'eq',
          b.broadcast(
            i,
            shape,
            i.type.shape.map((_, k) => k),
          ),
          range,
        ),
        'f32',
      ),
    );
  });
