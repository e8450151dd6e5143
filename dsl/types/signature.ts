/**
 * Functions that are polymorphic in sizes. TypeScript cannot compute with type parameters inside a body, so a body is written over
 * rigid names and quantified at its boundary: a callable carries its signature and result as data, a call matches the signature with
 * the actual shapes and substitutes what it found in the result.
 *
 *   Fn1<'B N D', Tensor<'B N 3*D'>, { D: '384' }>   called with Tensor<'2*B 257 384'>   gives   Tensor<'2*B 257 1152'>
 */
import type { AnyTensor, DType, ShapeOf, Tensor } from '../tensor.ts';
import type { SubstS, UnifyL, Words } from './words.ts';

/** 'B N:bool' -> 'B N' */
export type SigShape<S extends string> = S extends `${infer A}:${DType}` ? A : S;
/** 'B N:bool' -> 'bool'; f32 where nothing is written. */
export type SigDType<S extends string> = S extends `${string}:${infer T extends DType}` ? T : 'f32';
export type SigTensors<Sig extends readonly string[]> = { [K in keyof Sig]: Tensor<SigShape<Sig[K]>, SigDType<Sig[K]>> };

/** The tree R with the names of E replaced in every tensor; shapes are unknown after an error (E a sentence). */
export type Subst<R, E> =
  R extends Tensor<infer S, infer T>
    ? Tensor<E extends string ? string : SubstS<S, E>, T>
    : R extends (...a: never) => unknown
      ? R
      : R extends object
        ? { [K in keyof R]: Subst<R[K], E> }
        : R;

/** True for `any`, which matches everything. */
type IsAny<A> = 0 extends 1 & A ? true : false;
/** E extended by what argument A says about the names of Sig. */
export type Unify<Sig extends string, A, E> = E extends string
  ? E
  : IsAny<A> extends true
    ? E
    : string extends ShapeOf<A>
      ? E
      : UnifyL<Words<SigShape<Sig>>, Words<ShapeOf<A>>, E>;
type Got<A> = A extends Tensor<infer S, infer T> ? (T extends 'f32' ? `[${S}]` : `[${S}:${T}]`) : 'no tensor';
/** The argument's own type, or a sentence. */
type Arg<I extends number, Sig extends string, A, E> = E extends string
  ? A
  : IsAny<A> extends true
    ? A
    : A extends Tensor<string, SigDType<Sig>>
      ? Unify<Sig, A, E> extends infer R
        ? R extends string
          ? `argument ${I}: expected [${Sig}], got ${Got<A>}: ${R}`
          : A
        : never
      : `argument ${I}: expected [${Sig}], got ${Got<A>}`;

type T = AnyTensor;
type U1<S1 extends string, A, E> = Unify<S1, A, E>;
type U2<S1 extends string, S2 extends string, A, B, E> = Unify<S2, B, U1<S1, A, E>>;
type U3<S1 extends string, S2 extends string, S3 extends string, A, B, C, E> = Unify<S3, C, U2<S1, S2, A, B, E>>;
type U4<S1 extends string, S2 extends string, S3 extends string, S4 extends string, A, B, C, D, E> = Unify<
  S4,
  D,
  U3<S1, S2, S3, A, B, C, E>
>;
type U5<S1 extends string, S2 extends string, S3 extends string, S4 extends string, S5 extends string, A, B, C, D, F, E> = Unify<
  S5,
  F,
  U4<S1, S2, S3, S4, A, B, C, D, E>
>;

/** `$` is [signature, result tree, sizes already fixed]; it exists in the types only. */
export interface Fn1<S1 extends string, R, E> {
  <A extends T>(a: Arg<1, S1, A, E>): Subst<R, U1<S1, A, E>>;
  readonly $?: [[S1], R, E];
}
export interface Fn2<S1 extends string, S2 extends string, R, E> {
  <A extends T, B extends T>(a: Arg<1, S1, A, E>, b: Arg<2, S2, B, U1<S1, A, E>>): Subst<R, U2<S1, S2, A, B, E>>;
  readonly $?: [[S1, S2], R, E];
}
export interface Fn3<S1 extends string, S2 extends string, S3 extends string, R, E> {
  <A extends T, B extends T, C extends T>(
    a: Arg<1, S1, A, E>,
    b: Arg<2, S2, B, U1<S1, A, E>>,
    c: Arg<3, S3, C, U2<S1, S2, A, B, E>>,
  ): Subst<R, U3<S1, S2, S3, A, B, C, E>>;
  readonly $?: [[S1, S2, S3], R, E];
}
export interface Fn4<S1 extends string, S2 extends string, S3 extends string, S4 extends string, R, E> {
  <A extends T, B extends T, C extends T, D extends T>(
    a: Arg<1, S1, A, E>,
    b: Arg<2, S2, B, U1<S1, A, E>>,
    c: Arg<3, S3, C, U2<S1, S2, A, B, E>>,
    d: Arg<4, S4, D, U3<S1, S2, S3, A, B, C, E>>,
  ): Subst<R, U4<S1, S2, S3, S4, A, B, C, D, E>>;
  readonly $?: [[S1, S2, S3, S4], R, E];
}
export interface Fn5<S1 extends string, S2 extends string, S3 extends string, S4 extends string, S5 extends string, R, E> {
  <A extends T, B extends T, C extends T, D extends T, F extends T>(
    a: Arg<1, S1, A, E>,
    b: Arg<2, S2, B, U1<S1, A, E>>,
    c: Arg<3, S3, C, U2<S1, S2, A, B, E>>,
    d: Arg<4, S4, D, U3<S1, S2, S3, A, B, C, E>>,
    f: Arg<5, S5, F, U4<S1, S2, S3, S4, A, B, C, D, E>>,
  ): Subst<R, U5<S1, S2, S3, S4, S5, A, B, C, D, F, E>>;
  readonly $?: [[S1, S2, S3, S4, S5], R, E];
}
export interface Fn6<
  S1 extends string,
  S2 extends string,
  S3 extends string,
  S4 extends string,
  S5 extends string,
  S6 extends string,
  R,
  E,
> {
  <A extends T, B extends T, C extends T, D extends T, F extends T, G extends T>(
    a: Arg<1, S1, A, E>,
    b: Arg<2, S2, B, U1<S1, A, E>>,
    c: Arg<3, S3, C, U2<S1, S2, A, B, E>>,
    d: Arg<4, S4, D, U3<S1, S2, S3, A, B, C, E>>,
    f: Arg<5, S5, F, U4<S1, S2, S3, S4, A, B, C, D, E>>,
    g: Arg<6, S6, G, U5<S1, S2, S3, S4, S5, A, B, C, D, F, E>>,
  ): Subst<R, Unify<S6, G, U5<S1, S2, S3, S4, S5, A, B, C, D, F, E>>>;
  readonly $?: [[S1, S2, S3, S4, S5, S6], R, E];
}
type Str<X> = X extends string ? X : never;
/** A function of 1 to 6 tensors, known by its signature. */
export type Callable<Sig extends readonly string[] = readonly string[], R = unknown, E = unknown> = Sig extends readonly [
  infer S1,
  infer S2,
  infer S3,
  infer S4,
  infer S5,
  infer S6,
]
  ? Fn6<Str<S1>, Str<S2>, Str<S3>, Str<S4>, Str<S5>, Str<S6>, R, E>
  : Sig extends readonly [infer S1, infer S2, infer S3, infer S4, infer S5]
    ? Fn5<Str<S1>, Str<S2>, Str<S3>, Str<S4>, Str<S5>, R, E>
    : Sig extends readonly [infer S1, infer S2, infer S3, infer S4]
      ? Fn4<Str<S1>, Str<S2>, Str<S3>, Str<S4>, R, E>
      : Sig extends readonly [infer S1, infer S2, infer S3]
        ? Fn3<Str<S1>, Str<S2>, Str<S3>, R, E>
        : Sig extends readonly [infer S1, infer S2]
          ? Fn2<Str<S1>, Str<S2>, R, E>
          : Sig extends readonly [infer S1]
            ? Fn1<Str<S1>, R, E>
            : never;
