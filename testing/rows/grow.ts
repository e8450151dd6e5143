/** What a step of a random program works with: values so far, a source of numbers, and what is known of their sizes. */
import type { Builder } from '../../compiler/graph/builder.ts';
import { known } from '../../compiler/graph/dim.ts';
import type { DType, Prim, TensorType, Value } from '../../compiler/graph/types.ts';

export interface Grow {
  readonly b: Builder;
  readonly pool: Value[];
  /** The next number of the recipe, below n. */
  pick(n: number): number;
  readonly dtypes: readonly DType[];
  readonly depth: number;
  /** Largest magnitude that v can have. */
  boundOf(v: Value): number;
  /** Notes the bound of v; gives tanh(v) where it is too large. */
  settle(v: Value, bound: number): Value;
  number(dtype: DType): number;
  /** A value whose dtype is of a kind. */
  any(kind: (d: DType) => boolean): Value;
  where(ok: (v: Value) => boolean, make: () => Value): Value;
  /** A value of type t. */
  like(t: TensorType): Value;
  /** Whether shapes are small enough to go on with. */
  fits(...shapes: TensorType['shape'][]): boolean;
  shape(): TensorType['shape'];
  sub(params: readonly { type: TensorType; bound: number }[]): Grow;
  param(type: TensorType, bound: number): Value;
  step(prims: readonly Prim[]): void;
}

/** What a step adds: values, each with a bound on its size. */
export type Row = (g: Grow) => readonly (readonly [Value, number])[];

export const number = (d: DType): boolean => d !== 'bool';
export const bits = (d: DType): boolean => d === 'bool' || d === 'u32' || d === 'i32';
export const all = (): boolean => true;
export const rank = (v: Value): number => v.type.shape.length;
export const size = (v: Value, axis: number): number => known(v.type.shape[axis] ?? 1);
export const count = (v: Value): number => v.type.shape.reduce<number>((n, d) => n * known(d), 1);

/** A value with an axis; `make` one where there is none. */
export const tensor = (g: Grow, ok: (v: Value) => boolean = () => true): Value =>
  g.where(
    (v) => rank(v) > 0 && ok(v),
    () => g.b.fill(1, { dtype: 'f32', shape: [3] }),
  );
