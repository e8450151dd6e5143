/**
 * The algebra of dims as words: `D`, `384`, `N+1`, `3*D`, `D/H`; `?` is a size that the types do not know, `...` a run of axes.
 *
 * The tracer applies the same rules to exact polynomials (compiler/graph/dim.ts); the words are not canonical (`B*N` and `N*B`
 * differ), so a program that needs such an equality says `.as('N*B')`, which the tracer checks.
 *
 *   AddW<'N+1', '4'>  ->  'N+5'      DivW<'3*D', '3'>  ->  'D'      SubstS<'B N+1', { B: '2*B'; N: '256' }>  ->  '2*B 257'
 */
import type { NAdd, NDiv, NMul, NSub } from './nat.ts';

/** 'B N  D' -> ['B', 'N', 'D'] */
export type Words<S extends string, R extends string[] = []> = S extends ` ${infer T}`
  ? Words<T, R>
  : S extends `${infer W} ${infer T}`
    ? Words<T, [...R, W]>
    : S extends ''
      ? R
      : [...R, S];
export type Join<L extends readonly string[], R extends string = ''> = L extends readonly [
  infer H extends string,
  ...infer T extends readonly string[],
]
  ? Join<T, R extends '' ? H : `${R} ${H}`>
  : R;
/** The last word: that of the last axis. */
export type Last<S extends string> = Words<S> extends readonly [...string[], infer X extends string] ? X : never;
/** True for `string`: the shape of a tensor that only the tracer knows. */
export type Wide<S> = string extends S ? true : false;

type Num<W extends string> = W extends `${infer N extends number}` ? N : never;
type IsNum<W extends string> = W extends `${number}` ? true : false;
/** 'A-B-C' at its last separator -> ['A-B', 'C']: - and / associate to the left. */
type SplitLast<S extends string, Sep extends string, Pre extends string = ''> = S extends `${infer A}${Sep}${infer B}`
  ? B extends `${string}${Sep}${string}`
    ? SplitLast<B, Sep, `${Pre}${A}${Sep}`>
    : [`${Pre}${A}`, B]
  : 'none';

export type EqW<A extends string, B extends string> = A extends '?'
  ? true
  : B extends '?'
    ? true
    : A extends B
      ? B extends A
        ? true
        : false
      : false;

/**
 * Product; sums are multiplied out, so that words need no parentheses: `2` * `N+1` -> `2*N+2`. AddW never comes back to MulW: mutually
 * recursive conditional types make tsc expand their constraints without end.
 */
export type MulW<A extends string, B extends string> = A extends '?'
  ? '?'
  : B extends '?'
    ? '?'
    : A extends '1'
      ? B
      : B extends '1'
        ? A
        : A extends `${infer X}+${infer Y}`
          ? [MulW<X, B>, MulW<Y, B>] extends [infer P extends string, infer Q extends string]
            ? AddW<P, Q>
            : never
          : MulSum<A, B>;
type MulSum<A extends string, B extends string> = B extends `${infer X}+${infer Y}`
  ? [MulSum<A, X>, MulSum<A, Y>] extends [infer P extends string, infer Q extends string]
    ? AddW<P, Q>
    : never
  : A extends '1'
    ? B
    : B extends '1'
      ? A
      : `${A} ${B}` extends `${string}-${string}`
        ? '?'
        : MulTerm<A, B>;
type MulTerm<A extends string, B extends string> =
  IsNum<A> extends true
    ? IsNum<B> extends true
      ? `${NMul<Num<A>, Num<B>>}`
      : MulNum<A, B>
    : IsNum<B> extends true
      ? MulNum<B, A>
      : B extends `${infer Q}/${A}`
        ? Q
        : A extends `${infer Q}/${B}`
          ? Q
          : B extends `${infer C extends number}*${infer R}`
            ? MulNum<`${C}`, `${A}*${R}`>
            : `${A}*${B}`;
type MulNum<N extends string, S extends string> = N extends '0'
  ? '0'
  : S extends `${infer Q}/${N}`
    ? Q
    : S extends `${infer C extends number}*${infer R}`
      ? `${NMul<Num<N>, C>}*${R}`
      : `${N}*${S}`;

export type AddW<A extends string, B extends string> = A extends '?'
  ? '?'
  : B extends '?'
    ? '?'
    : A extends '0'
      ? B
      : B extends '0'
        ? A
        : IsNum<A> extends true
          ? IsNum<B> extends true
            ? `${NAdd<Num<A>, Num<B>>}`
            : AddNum<B, A>
          : IsNum<B> extends true
            ? AddNum<A, B>
            : A extends B
              ? A extends `${string}${'+' | '-'}${string}`
                ? '?'
                : MulNum<'2', A>
              : A extends `${infer M}+${infer C extends number}`
                ? B extends `${infer M2}+${infer C2 extends number}`
                  ? `${M}+${M2}+${NAdd<C, C2>}`
                  : `${M}+${B}+${C}`
                : `${A}+${B}`;
/** A name plus a number: `N+1` + 4 -> `N+5`, `N-1` + 4 -> `N+3`, `N-4` + 1 -> `N-3`. */
type AddNum<S extends string, N extends string> = S extends `${infer M}+${infer C extends number}`
  ? `${M}+${NAdd<C, Num<N>>}`
  : S extends `${infer M}-${infer C extends number}`
    ? `${C}` extends N
      ? M
      : [NSub<Num<N>, C>] extends [never]
        ? `${M}-${NSub<C, Num<N>>}`
        : `${M}+${NSub<Num<N>, C>}`
    : `${S}+${N}`;

/** Difference; `never` where two numbers give a negative size. */
export type SubW<A extends string, B extends string> = A extends '?'
  ? '?'
  : B extends '?'
    ? '?'
    : B extends '0'
      ? A
      : A extends B
        ? '0'
        : IsNum<A> extends true
          ? IsNum<B> extends true
            ? [NSub<Num<A>, Num<B>>] extends [never]
              ? never
              : `${NSub<Num<A>, Num<B>>}`
            : B extends `${string}${'+' | '-'}${string}`
              ? '?'
              : `${A}-${B}`
          : IsNum<B> extends true
            ? SubNum<A, B>
            : A extends `${B}+${infer R}`
              ? R
              : A extends `${infer R}+${B}`
                ? R
                : B extends `${string}${'+' | '-'}${string}`
                  ? '?'
                  : `${A}-${B}`;
/** A name minus a number: `N+5` - 1 -> `N+4`, `N+1` - 4 -> `N-3`, `N-1` - 4 -> `N-5`. */
type SubNum<S extends string, N extends string> = S extends `${infer M}+${infer C extends number}`
  ? `${C}` extends N
    ? M
    : [NSub<C, Num<N>>] extends [never]
      ? `${M}-${NSub<Num<N>, C>}`
      : `${M}+${NSub<C, Num<N>>}`
  : S extends `${infer M}-${infer C extends number}`
    ? `${M}-${NAdd<C, Num<N>>}`
    : `${S}-${N}`;

/** Exact quotient; `never` where it provably does not exist. */
export type DivW<A extends string, B extends string> = A extends '?'
  ? '?'
  : B extends '?'
    ? '?'
    : B extends '1'
      ? A
      : A extends B
        ? '1'
        : IsNum<A> extends true
          ? IsNum<B> extends true
            ? [NDiv<Num<A>, Num<B>>] extends [never]
              ? never
              : `${NDiv<Num<A>, Num<B>>}`
            : `${A}/${B}`
          : A extends `${infer X}+${infer Y}`
            ? [DivW<X, B>, DivW<Y, B>] extends [infer P, infer Q]
              ? DivSum<P, Q>
              : never
            : A extends `${B}*${infer R}`
              ? R
              : A extends `${infer L}*${B}`
                ? L
                : IsNum<B> extends true
                  ? A extends `${infer C extends number}*${infer R}`
                    ? [NDiv<C, Num<B>>] extends [never]
                      ? `${A}/${B}`
                      : MulW<`${NDiv<C, Num<B>>}`, R>
                    : `${A}/${B}`
                  : `${A}/${B}`;

type DivSum<X, Y> = [X] extends [never] ? never : [Y] extends [never] ? never : AddW<X & string, Y & string>;

/** One word with its names replaced by what E says. */
export type SubstW<W extends string, E> = W extends keyof E
  ? E[W] & string
  : IsNum<W> extends true
    ? W
    : W extends `${infer A}+${infer B}`
      ? [SubstW<A, E>, SubstW<B, E>] extends [infer P extends string, infer Q extends string]
        ? AddW<P, Q>
        : never
      : SplitLast<W, '-'> extends [infer A extends string, infer B extends string]
        ? [SubstW<A, E>, SubstW<B, E>] extends [infer P extends string, infer Q extends string]
          ? SubW<P, Q>
          : never
        : W extends `${infer A}*${infer B}`
          ? [SubstW<A, E>, SubstW<B, E>] extends [infer P extends string, infer Q extends string]
            ? MulW<P, Q>
            : never
          : SplitLast<W, '/'> extends [infer A extends string, infer B extends string]
            ? [SubstW<A, E>, SubstW<B, E>] extends [infer P extends string, infer Q extends string]
              ? DivW<P, Q>
              : never
            : W;
type SubstL<L extends readonly string[], E, R extends string = ''> = L extends readonly [
  infer H extends string,
  ...infer T extends readonly string[],
]
  ? SubstW<H, E> extends infer X extends string
    ? SubstL<T, E, X extends '' ? R : R extends '' ? X : `${R} ${X}`>
    : never
  : R;
export type SubstS<S extends string, E> = SubstL<Words<S>, E>;

/** Matches a signature's words with actual words under E: an environment, or a sentence that says why not. */
export type UnifyL<P extends readonly string[], A extends readonly string[], E> = P extends readonly [
  infer H extends string,
  ...infer PT extends readonly string[],
]
  ? H extends '...'
    ? UnifyR<PT, A, E>
    : A extends readonly [infer X extends string, ...infer AT extends readonly string[]]
      ? UnifyW<H, X, E> extends infer E2
        ? E2 extends string
          ? E2
          : UnifyL<PT, AT, E2>
        : never
      : `too few axes: none for ${H}`
  : A extends readonly []
    ? E
    : `too many axes: left over ${Join<A>}`;
type UnifyR<P extends readonly string[], A extends readonly string[], E> = P extends readonly [
  ...infer PI extends readonly string[],
  infer H extends string,
]
  ? A extends readonly [...infer AI extends readonly string[], infer X extends string]
    ? UnifyW<H, X, E> extends infer E2
      ? E2 extends string
        ? E2
        : UnifyR<PI, AI, E2>
      : never
    : `too few axes: none for ${H}`
  : '...' extends keyof E
    ? EqW<E['...'] & string, Join<A>> extends true
      ? E
      : `... is [${E['...'] & string}] in an earlier argument, here [${Join<A>}]`
    : E & { '...': Join<A> };
type UnifyW<H extends string, X extends string, E> = H extends keyof E
  ? EqW<E[H] & string, X> extends true
    ? E
    : `${H} = ${E[H] & string} here, got ${X}`
  : H extends `${number}`
    ? EqW<H, X> extends true
      ? E
      : `axis must be ${H}, got ${X}`
    : H extends `${infer V}+${infer C extends number}`
      ? V extends keyof E
        ? UnifyFixed<H, X, E>
        : [SubW<X, `${C}`>] extends [never]
          ? `${X} is smaller than ${H}`
          : E & { [K in V]: SubW<X, `${C}`> }
      : H extends `${string}${'*' | '/' | '-'}${string}`
        ? UnifyFixed<H, X, E>
        : E & { [K in H]: X };
type UnifyFixed<H extends string, X extends string, E> = EqW<SubstW<H, E>, X> extends true ? E : `${H} = ${SubstW<H, E>} here, got ${X}`;
