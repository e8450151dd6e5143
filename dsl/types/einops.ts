/**
 * What a pattern does to a shape, computed by the type checker: the rules of dsl/patterns.ts, once more, as types.
 *
 * Each rule gives a shape string, or `{ err: sentence }`. `Checked` turns the second into the type of the offending argument, so
 * that tsc prints the sentence at the argument; `Shape` gives `string` after an error, so that one mistake is reported once.
 *
 *   Einsum<'b n d, e d -> b n e', ['B N 384', '768 384']>  ->  'B N 768'
 *   Einsum<'b n d, e d -> b n e', ['B N 384', '768 1536']> ->  { err: 'einsum: axis d is 384 in an earlier operand but 1536 in operand 2 [768 1536]' }
 */
import type { AddW, EqW, Join, SubW, Wide, Words } from './words.ts';

export type Err<M extends string> = { readonly err: M };
/** The argument's own type X, or the sentence. */
export type Checked<R, X> = R extends Err<infer M> ? M : X;
export type Shape<R> = R extends string ? R : string;
type Glue<R extends string, X extends string> = X extends '' ? R : R extends '' ? X : `${R} ${X}`;

// ---- pointwise: right-aligned broadcasting; only a literal 1 or a missing axis stretches
type BcWord<X extends string, Y extends string> =
  EqW<X, Y> extends true ? (X extends '?' ? Y : X) : X extends '1' ? Y : Y extends '1' ? X : never;
export type BcList<A extends readonly string[], B extends readonly string[], R extends string[] = []> = A extends readonly [
  ...infer AI extends string[],
  infer X extends string,
]
  ? B extends readonly [...infer BI extends string[], infer Y extends string]
    ? [BcWord<X, Y>] extends [never]
      ? `${X} vs ${Y}`
      : BcList<AI, BI, [BcWord<X, Y>, ...R]>
    : [...A, ...R]
  : [...B, ...R];
export type Broadcast<Op extends string, A extends string, B extends string> =
  Wide<A> extends true
    ? { dyn: 1 }
    : Wide<B> extends true
      ? { dyn: 1 }
      : A extends B
        ? A
        : BcList<Words<A>, Words<B>> extends infer R
          ? R extends readonly string[]
            ? Join<R>
            : Err<`${Op}: cannot broadcast [${A}] with [${B}]: ${R & string}`>
          : never;
/** The shape S stretched to exactly S2. */
export type Expand<S extends string, S2 extends string> =
  Wide<S> extends true
    ? S2
    : BcList<Words<S>, Words<S2>> extends infer R
      ? R extends readonly string[]
        ? Join<R> extends Join<Words<S2>>
          ? S2
          : Err<`expand: [${S}] does not stretch to [${S2}]`>
        : Err<`expand: [${S}] does not stretch to [${S2}]: ${R & string}`>
      : never;

// ---- binding pattern letters to words
/** Binds the letters N to the words S on top of E; a sentence where they clash. Op names the operand in the sentence. */
export type Bind<F extends string, N extends readonly string[], S extends readonly string[], E, Op extends string> = N extends readonly [
  infer H extends string,
  ...infer NT extends readonly string[],
]
  ? H extends '...'
    ? BindRight<F, NT, S, E, Op>
    : S extends readonly [infer X extends string, ...infer ST extends readonly string[]]
      ? BindOne<F, H, X, E, Op> extends infer E2
        ? E2 extends string
          ? E2
          : Bind<F, NT, ST, E2, Op>
        : never
      : `${F}: ${Op} has fewer axes than its pattern`
  : S extends readonly []
    ? E
    : `${F}: ${Op} has more axes than its pattern (left over: ${Join<S>})`;
type BindOne<F extends string, H extends string, X extends string, E, Op extends string> = H extends '1'
  ? EqW<X, '1'> extends true
    ? E
    : `${F}: the pattern says 1 where ${Op} has ${X}`
  : H extends keyof E
    ? EqW<E[H] & string, X> extends true
      ? E
      : `${F}: axis ${H} is ${E[H] & string} in an earlier operand but ${X} in ${Op}`
    : E & { [K in H]: X };
type BindRight<F extends string, N extends readonly string[], S extends readonly string[], E, Op extends string> = N extends readonly [
  ...infer NI extends readonly string[],
  infer H extends string,
]
  ? S extends readonly [...infer SI extends readonly string[], infer X extends string]
    ? BindOne<F, H, X, E, Op> extends infer E2
      ? E2 extends string
        ? E2
        : BindRight<F, NI, SI, E2, Op>
      : never
    : `${F}: ${Op} has fewer axes than its pattern`
  : '...' extends keyof E
    ? EqW<E['...'] & string, Join<S>> extends true
      ? E
      : `${F}: ... is [${E['...'] & string}] in an earlier operand but [${Join<S>}] in ${Op}`
    : E & { '...': Join<S> };
type Missing<F extends string> = F extends 'einsum' ? 'does not occur in any operand' : 'does not occur on the left-hand side';
/** The words of the output letters; `1` makes an axis of size 1. */
type Out<F extends string, N extends readonly string[], E, R extends string = ''> = N extends readonly [
  infer H extends string,
  ...infer T extends readonly string[],
]
  ? H extends keyof E
    ? Out<F, T, E, Glue<R, E[H] & string>>
    : H extends '1'
      ? Out<F, T, E, Glue<R, '1'>>
      : Err<`${F}: ${F extends 'einsum' ? 'output ' : ''}axis ${H} ${Missing<F>}`>
  : R;

// ---- einsum
type Commas<S extends string, R extends string[][] = []> = S extends `${infer A},${infer B}`
  ? Commas<B, [...R, Words<A>]>
  : [...R, Words<S>];
/** The first letter that a list has twice. */
export type Twice<N extends readonly string[]> = N extends readonly [infer H extends string, ...infer T extends readonly string[]]
  ? H extends '1'
    ? Twice<T>
    : H extends T[number]
      ? H
      : Twice<T>
  : never;
type BindAll<Ins extends readonly string[][], Ss extends readonly string[], E = unknown, K extends 0[] = []> = Ins extends readonly [
  infer N extends string[],
  ...infer IT extends string[][],
]
  ? Ss extends readonly [infer S extends string, ...infer ST extends readonly string[]]
    ? [Twice<N>] extends [never]
      ? Bind<'einsum', N, Words<S>, E, `operand ${[...K, 0]['length'] & number} [${S}]`> extends infer E2
        ? E2 extends string
          ? E2
          : BindAll<IT, ST, E2, [...K, 0]>
        : never
      : `einsum: axis ${Twice<N>} is repeated in operand ${[...K, 0]['length'] & number}`
    : 'einsum: pattern has more operands than tensors given'
  : Ss extends readonly []
    ? E
    : 'einsum: pattern has fewer operands than tensors given';
export type Einsum<P extends string, Ss extends readonly string[]> =
  Wide<P | Ss[number]> extends true
    ? { dyn: 1 }
    : P extends `${string}(${string}`
      ? Err<'einsum: groups in parentheses are for rearrange'>
      : P extends `${infer L}->${infer R}`
        ? BindAll<Commas<L>, Ss> extends infer E
          ? E extends string
            ? Err<E>
            : [Twice<Words<R>>] extends [never]
              ? Out<'einsum', Words<R>, E>
              : Err<`einsum: axis ${Twice<Words<R>>} is repeated in the output`>
          : never
        : Err<'einsum: missing ->'>;

// ---- reductions: 'b n d -> b d', 'b n d -> b 1 d'
export type Reduce<F extends string, P extends string, S extends string> =
  Wide<P | S> extends true
    ? { dyn: 1 }
    : P extends `${string}(${string}`
      ? Err<`${F}: groups in parentheses are for rearrange`>
      : P extends `${infer L}->${infer R}`
        ? [Twice<Words<L>> | Twice<Words<R>>] extends [never]
          ? Bind<F, Words<L>, Words<S>, unknown, `the tensor [${S}]`> extends infer E
            ? E extends string
              ? Err<E>
              : Out<F, Words<R>, E>
            : never
          : Err<`${F}: axis ${Twice<Words<L>> | Twice<Words<R>>} is repeated`>
        : Err<`${F}: missing ->`>;
/** As Reduce, for what picks along one axis: the pattern drops exactly one. */
export type ReduceOne<F extends string, P extends string, S extends string> =
  Reduce<F, P, S> extends infer R
    ? R extends string
      ? P extends `${infer L}->${infer Q}`
        ? Single<Dropped<Words<L>, Words<Q>[number]>> extends true
          ? R
          : Err<`${F}: the pattern drops ${Dropped<Words<L>, Words<Q>[number]>['length'] & number} axes, not one`>
        : R
      : R
    : never;
type Dropped<L extends readonly string[], Kept extends string, R extends string[] = []> = L extends readonly [
  infer H extends string,
  ...infer T extends readonly string[],
]
  ? Dropped<T, Kept, H extends '...' ? R : H extends '1' ? [...R, H] : H extends Kept ? R : [...R, H]>
  : R;
type Single<L extends readonly string[]> = L['length'] extends 1 ? true : false;
// ---- 'b *n': one rank, marked axes
type Plains<L extends readonly string[], R extends string[] = []> = L extends readonly [
  infer W extends string,
  ...infer T extends readonly string[],
]
  ? Plains<T, [...R, W extends `*${infer N}` ? N : W]>
  : R;
export type Marked<F extends string, P extends string, S extends string> =
  Wide<P | S> extends true
    ? { dyn: 1 }
    : P extends `${string}*${string}`
      ? [F, P] extends ['cumsum', `${string}*${string}*${string}`]
        ? Err<'cumsum: the pattern marks more than one axis with *'>
        : Bind<F, Plains<Words<P>>, Words<S>, unknown, `the tensor [${S}]`> extends infer E
          ? E extends string
            ? Err<E>
            : S
          : never
      : Err<`${F}: no axis is marked with *`>;

// ---- concat: 'b * d'
type CatWords<
  P extends readonly string[],
  A extends readonly string[],
  B extends readonly string[],
  R extends string = '',
> = P extends readonly [infer H extends string, ...infer PT extends readonly string[]]
  ? A extends readonly [infer X extends string, ...infer AT extends readonly string[]]
    ? B extends readonly [infer Y extends string, ...infer BT extends readonly string[]]
      ? H extends '*'
        ? CatWords<PT, AT, BT, Glue<R, AddW<X, Y>>>
        : EqW<X, Y> extends true
          ? CatWords<PT, AT, BT, Glue<R, X extends '?' ? Y : X>>
          : Err<`axis ${H} is ${X} vs ${Y}`>
      : Err<'ranks differ'>
    : Err<'ranks differ'>
  : A extends readonly []
    ? B extends readonly []
      ? R
      : Err<'ranks differ'>
    : Err<'ranks differ'>;
export type Concat2<P extends string, A extends string, B extends string> =
  Wide<P> extends true
    ? { dyn: 1 }
    : P extends `${string}*${string}*${string}`
      ? Err<`concat: '${P}' marks more than one axis with *`>
      : P extends `${string}*${string}`
        ? Wide<A> extends true
          ? { dyn: 1 }
          : Wide<B> extends true
            ? { dyn: 1 }
            : Cat2<P, A, B>
        : Err<`concat: '${P}' marks no axis with *`>;
type Cat2<P extends string, A extends string, B extends string> =
  CatWords<Words<P>, Words<A>, Words<B>> extends infer R ? (R extends Err<infer M> ? Err<`concat: [${A}] with [${B}]: ${M}`> : R) : never;
/** The shape of all of them; `string` after an error. */
export type ConcatAll<P extends string, Ss extends readonly string[]> = Ss extends readonly [
  infer A extends string,
  infer B extends string,
  ...infer T extends readonly string[],
]
  ? ConcatAll<P, [Shape<Concat2<P, A, B>>, ...T]>
  : Ss[0];

// ---- slice 'b 1: d', 'b 0 d'; pad 'b 1:n:2'
type SliceWords<P extends readonly string[], A extends readonly string[], R extends string = ''> = P extends readonly [
  infer H extends string,
  ...infer PT extends readonly string[],
]
  ? A extends readonly [infer X extends string, ...infer AT extends readonly string[]]
    ? SliceWord<H, X> extends infer Y
      ? [Y] extends [never]
        ? Err<`axis ${X} has no part ${H}`>
        : SliceWords<PT, AT, Glue<R, Y & string>>
      : never
    : Err<'the pattern has more axes than the tensor'>
  : A extends readonly []
    ? R
    : Err<'the pattern has fewer axes than the tensor'>;
type SliceWord<H extends string, X extends string> = H extends `${infer I}:${infer J}`
  ? [SubW<X, J extends '' ? '0' : J>] extends [never]
    ? never
    : SubW<J extends '' ? X : J, I extends '' ? '0' : I>
  : H extends `${infer I extends number}`
    ? [SubW<X, AddW<`${I}`, '1'>>] extends [never]
      ? never
      : ''
    : X;
export type Slice<P extends string, S extends string> =
  Wide<P | S> extends true
    ? { dyn: 1 }
    : SliceWords<Words<P>, Words<S>> extends infer R
      ? R extends Err<infer M>
        ? Err<`slice of [${S}]: ${M}`>
        : R
      : never;
type PadWords<P extends readonly string[], A extends readonly string[], R extends string = ''> = P extends readonly [
  infer H extends string,
  ...infer PT extends readonly string[],
]
  ? A extends readonly [infer X extends string, ...infer AT extends readonly string[]]
    ? PadWords<PT, AT, Glue<R, PadWord<H, X>>>
    : Err<'the pattern has more axes than the tensor'>
  : A extends readonly []
    ? R
    : Err<'the pattern has fewer axes than the tensor'>;
type PadWord<H extends string, X extends string> = H extends `${infer L}:${string}:${infer G}`
  ? AddW<AddW<X, L extends '' ? '0' : L>, G extends '' ? '0' : G>
  : X;
export type Pad<P extends string, S extends string> =
  Wide<P | S> extends true
    ? { dyn: 1 }
    : PadWords<Words<P>, Words<S>> extends infer R
      ? R extends Err<infer M>
        ? Err<`pad of [${S}]: ${M}`>
        : R
      : never;

// ---- matmul: [... m k] @ [... k n]
export type MatMul<A extends string, B extends string> =
  Wide<A> extends true
    ? { dyn: 1 }
    : Wide<B> extends true
      ? { dyn: 1 }
      : Words<A> extends readonly [...infer AB extends string[], infer M extends string, infer K extends string]
        ? Words<B> extends readonly [...infer BB extends string[], infer K2 extends string, infer N extends string]
          ? EqW<K, K2> extends true
            ? BcList<AB, BB> extends infer L
              ? L extends string[]
                ? Join<[...L, M, N]>
                : Err<`matmul: batch dims of [${A}] @ [${B}] do not broadcast: ${L & string}`>
              : never
            : Err<`matmul: inner dims differ: [${A}] @ [${B}]: ${K} vs ${K2}`>
          : Err<`matmul: right operand [${B}] needs rank >= 2`>
        : Err<`matmul: left operand [${A}] needs rank >= 2`>;
