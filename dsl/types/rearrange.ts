/**
 * The type rule of rearrange: groups in parentheses split and merge axes, the order of letters permutes them.
 *
 *   Rearrange<'b n (h k) -> b h n k', 'B N 384', { h: 6 }>  ->  'B 6 N 64'
 *   Rearrange<'b n (h k) -> b h n k', 'B N 384', { h: 5 }>  ->  { err: 'rearrange: 384 is not divisible by h=5' }
 */
import type { Err, Twice } from './einops.ts';
import type { DivW, EqW, Join, MulW, Wide, Words } from './words.ts';

/** A named size: the name is what types see, the number or symbol is what the tracer uses. */
export type WordOf<X> = X extends { readonly word: infer S extends string }
  ? S
  : X extends number
    ? number extends X
      ? '?'
      : `${X}`
    : never;

type Group = string | string[];
/** 'b n (h d)' -> ['b', 'n', ['h', 'd']] */
type Groups<S extends string, R extends Group[] = []> = S extends `${infer Pre}(${infer G})${infer Post}`
  ? Groups<Post, [...R, ...Words<Pre>, Words<G>]>
  : [...R, ...Words<S>];
type Flat<G extends readonly Group[], R extends string[] = []> = G extends readonly [
  infer H extends Group,
  ...infer T extends readonly Group[],
]
  ? Flat<T, H extends string[] ? [...R, ...H] : [...R, H & string]>
  : R;
type Letters<G extends readonly Group[]> = Exclude<Flat<G>[number], '1'>;

/** Z: sizes given by the caller. */
type BindGroups<G extends readonly Group[], S extends readonly string[], Z, E = unknown> = G extends readonly [
  infer H,
  ...infer GT extends readonly Group[],
]
  ? S extends readonly [infer X extends string, ...infer ST extends readonly string[]]
    ? H extends string
      ? H extends '1'
        ? EqW<X, '1'> extends true
          ? BindGroups<GT, ST, Z, E>
          : `rearrange: the pattern says 1 where the tensor has ${X}`
        : H extends keyof Z
          ? EqW<WordOf<Z[H]>, X> extends true
            ? BindGroups<GT, ST, Z, E & { [K in H]: X }>
            : `rearrange: axis ${H} is ${X}, not ${WordOf<Z[H]>}`
          : BindGroups<GT, ST, Z, E & { [K in H]: X }>
      : H extends string[]
        ? BindGroup<H, X, Z, X> extends infer E2
          ? E2 extends string
            ? E2
            : BindGroups<GT, ST, Z, E & E2>
          : never
        : never
    : `rearrange: the pattern has more axes than [${Join<S>}]`
  : S extends readonly []
    ? E
    : `rearrange: the pattern has fewer axes than the tensor (left over: ${Join<S>})`;
/** One group (h d) against the word X: Q is what is left of X after the known sizes, U the one letter without a size. */
type BindGroup<G extends string[], X extends string, Z, Q extends string, U extends string = never, E = unknown> = G extends [
  infer H extends string,
  ...infer T extends string[],
]
  ? H extends '1'
    ? BindGroup<T, X, Z, Q, U, E>
    : H extends keyof Z
      ? DivW<Q, WordOf<Z[H]>> extends infer Q2
        ? [Q2] extends [never]
          ? `rearrange: ${X} is not divisible by ${H}=${WordOf<Z[H]>}`
          : BindGroup<T, X, Z, Q2 & string, U, E & { [K in H]: WordOf<Z[H]> }>
        : never
      : [U] extends [never]
        ? BindGroup<T, X, Z, Q, H, E>
        : `rearrange: sizes of ${U} and ${H} are both unknown: pass one, e.g. { ${U}: ... }`
  : [U] extends [never]
    ? EqW<Q, '1'> extends true
      ? E
      : `rearrange: ${X} is not the product of the sizes given`
    : E & { [K in U]: Q };

type OutGroups<G extends readonly Group[], E, R extends string = ''> = G extends readonly [infer H, ...infer T extends readonly Group[]]
  ? (H extends string[] ? Product<H, E> : H extends keyof E ? E[H] : '1') extends infer X
    ? OutGroups<T, E, R extends '' ? X & string : `${R} ${X & string}`>
    : never
  : R;
type Product<G extends string[], E, R extends string = '1'> = G extends [infer H extends string, ...infer T extends string[]]
  ? Product<T, E, H extends keyof E ? MulW<R, E[H] & string> : R>
  : R;

export type Rearrange<P extends string, S extends string, Z> =
  Wide<P | S> extends true
    ? { dyn: 1 }
    : P extends `${string}...${string}`
      ? Err<'rearrange: give every axis a letter, it has no runs of axes'>
      : P extends `${infer L}->${infer R}`
        ? [Twice<Flat<Groups<L>>> | Twice<Flat<Groups<R>>>] extends [never]
          ? [Exclude<Letters<Groups<L>>, Letters<Groups<R>>>] extends [never]
            ? [Exclude<Letters<Groups<R>>, Letters<Groups<L>>>] extends [never]
              ? BindGroups<Groups<L>, Words<S>, Z> extends infer E
                ? E extends string
                  ? Err<E>
                  : [Exclude<keyof Z, Letters<Groups<L>>>] extends [never]
                    ? OutGroups<Groups<R>, E>
                    : Err<`rearrange: a size is given for ${Exclude<keyof Z, Letters<Groups<L>>> & string}, which is no axis of the pattern`>
                : never
              : Err<`rearrange: axis ${Exclude<Letters<Groups<R>>, Letters<Groups<L>>> & string} does not occur on the left-hand side`>
            : Err<`rearrange: axis ${Exclude<Letters<Groups<L>>, Letters<Groups<R>>> & string} is missing on the right-hand side`>
          : Err<`rearrange: axis ${Twice<Flat<Groups<L>>> | Twice<Flat<Groups<R>>>} is repeated`>
        : Err<'rearrange: missing ->'>;
