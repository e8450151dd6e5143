/**
 * Taking tensors apart and putting them together: slice, pad, concat, stack, split, unbind.
 *
 *   concat('b * d', cls, patches)      slice('b 1: d', x)      slice('b 0 d', x)      pad('b 1:n:0 d', x)
 */
import { addDim, type Dim, divDim, eqDim, eqShape, subDim } from '../compiler/graph/dim.ts';
import type { DType, Value } from '../compiler/graph/types.ts';
import { current, dimOf, fail, located, words } from './context.ts';
import { tensorName } from './parse.ts';
import { bare, literal } from './pointwise.ts';
import { type AnyTensor, type DTypeOf, type ShapeOf, type Tensor, unwrap, wrap } from './tensor.ts';
import type { Checked, Concat2, ConcatAll, Pad, Shape, Slice } from './types/einops.ts';
import type { DivW, Join, Last, Wide, Words } from './types/words.ts';

const axesOf = (op: string, pattern: string, x: Value): string[] => {
  const ws = words(pattern);
  if (ws.length !== x.type.shape.length)
    fail(
      'FV0001',
      `${op} of ${bare(x.type.shape)}: the pattern has ${ws.length > x.type.shape.length ? 'more' : 'fewer'} axes than the tensor`,
    );
  return ws;
};
const zeros = (x: Value): Dim[] => x.type.shape.map(() => 0);

/**
 * Part of each axis: `n` all, `1:` from 1 on, `:5` the first five, `0` one element (the axis goes away). FV0001 for a part that the axis does
 * not have, FV0003 for a pattern that cannot be read.
 */
export const slice = <const P extends string, S extends string, T extends DType>(
  pattern: Checked<Slice<P, S>, P>,
  x: Tensor<S, T>,
): Tensor<Shape<Slice<P, S>>, T> =>
  located((b) => {
    const v = unwrap('slice', x);
    const names = current().names;
    const ranges = axesOf('slice', pattern, v).map((w, i): readonly [Dim, Dim, boolean] => {
      const d = v.type.shape[i] as Dim;
      const range = w.match(/^([^:]*):([^:]*)$/);
      const [lo, hi] = range
        ? [range[1] ? dimOf(range[1], names) : 0, range[2] ? dimOf(range[2], names) : d]
        : /^\d+$/.test(w)
          ? [Number(w), Number(w) + 1]
          : /^[A-Za-z_]\w*$/.test(w)
            ? [0, d]
            : fail('FV0003', `slice: '${w}' is not an axis, an index or a range`);
      const over = [subDim(hi, lo), subDim(d, hi)].some((r) => typeof r === 'number' && r < 0);
      return over ? fail('FV0001', `slice of ${bare(v.type.shape)}: axis ${d} has no part ${w}`) : [lo, hi, !range && /^\d+$/.test(w)];
    });
    const whole = ranges.every(([lo, hi], i) => lo === 0 && eqDim(hi, v.type.shape[i] as Dim));
    const part = whole
      ? v
      : b.slice(
          v,
          ranges.map((r) => r[0]),
          ranges.map((r) => r[1]),
        );
    const kept = part.type.shape.filter((_, i) => !ranges[i]?.[2]);
    return wrap(kept.length === part.type.shape.length ? part : b.reshape(part, kept));
  });

/** Elements of `value` before and after an axis: 'b 1:n:2 d' makes [B N D] a [B N+3 D]. FV0002 where the dtype has no such value. */
export const pad = <const P extends string, S extends string, T extends DType>(
  pattern: Checked<Pad<P, S>, P>,
  x: Tensor<S, T>,
  value = 0,
): Tensor<Shape<Pad<P, S>>, T> =>
  located((b) => {
    const v = unwrap('pad', x);
    const names = current().names;
    const widths = axesOf('pad', pattern, v).map((w): readonly [Dim, Dim] => {
      const m = w.match(/^([^:]*):[A-Za-z_]\w*:([^:]*)$/);
      if (m) return [m[1] ? dimOf(m[1], names) : 0, m[2] ? dimOf(m[2], names) : 0];
      return /^[A-Za-z_]\w*$/.test(w) ? [0, 0] : fail('FV0003', `pad: '${w}' is neither an axis nor before:axis:after`);
    });
    return wrap(
      b.pad(
        v,
        widths.map((w) => w[0]),
        widths.map((w) => w[1]),
        literal('pad', value, v.type.dtype),
      ),
    );
  });

type Next<P extends string, Ss extends readonly string[], B extends string, T extends DType> = Checked<
  Concat2<P, ConcatAll<P, Ss>, B>,
  Tensor<B, NoInfer<T>>
>;
type Cat<P extends string, Ss extends readonly string[], T extends DType> = Tensor<ConcatAll<P, Ss>, T>;
/** Two to eight tensors; an overload each, because an error has to stand at the tensor that does not fit. */
interface ConcatF {
  <const P extends string, A extends string, B extends string, T extends DType>(
    pattern: P,
    a: Tensor<A, T>,
    b: Next<P, [A], B, T>,
  ): Cat<P, [A, B], T>;
  <const P extends string, A extends string, B extends string, C extends string, T extends DType>(
    pattern: P,
    a: Tensor<A, T>,
    b: Next<P, [A], B, T>,
    c: Next<P, [A, B], C, T>,
  ): Cat<P, [A, B, C], T>;
  <const P extends string, A extends string, B extends string, C extends string, D extends string, T extends DType>(
    pattern: P,
    a: Tensor<A, T>,
    b: Next<P, [A], B, T>,
    c: Next<P, [A, B], C, T>,
    d: Next<P, [A, B, C], D, T>,
  ): Cat<P, [A, B, C, D], T>;
  <const P extends string, A extends string, B extends string, C extends string, D extends string, E extends string, T extends DType>(
    pattern: P,
    a: Tensor<A, T>,
    b: Next<P, [A], B, T>,
    c: Next<P, [A, B], C, T>,
    d: Next<P, [A, B, C], D, T>,
    e: Next<P, [A, B, C, D], E, T>,
  ): Cat<P, [A, B, C, D, E], T>;
  <
    const P extends string,
    A extends string,
    B extends string,
    C extends string,
    D extends string,
    E extends string,
    F extends string,
    T extends DType,
  >(
    pattern: P,
    a: Tensor<A, T>,
    b: Next<P, [A], B, T>,
    c: Next<P, [A, B], C, T>,
    d: Next<P, [A, B, C], D, T>,
    e: Next<P, [A, B, C, D], E, T>,
    f: Next<P, [A, B, C, D, E], F, T>,
  ): Cat<P, [A, B, C, D, E, F], T>;
  <
    const P extends string,
    A extends string,
    B extends string,
    C extends string,
    D extends string,
    E extends string,
    F extends string,
    G extends string,
    T extends DType,
  >(
    pattern: P,
    a: Tensor<A, T>,
    b: Next<P, [A], B, T>,
    c: Next<P, [A, B], C, T>,
    d: Next<P, [A, B, C], D, T>,
    e: Next<P, [A, B, C, D], E, T>,
    f: Next<P, [A, B, C, D, E], F, T>,
    g: Next<P, [A, B, C, D, E, F], G, T>,
  ): Cat<P, [A, B, C, D, E, F, G], T>;
  <
    const P extends string,
    A extends string,
    B extends string,
    C extends string,
    D extends string,
    E extends string,
    F extends string,
    G extends string,
    H extends string,
    T extends DType,
  >(
    pattern: P,
    a: Tensor<A, T>,
    b: Next<P, [A], B, T>,
    c: Next<P, [A, B], C, T>,
    d: Next<P, [A, B, C], D, T>,
    e: Next<P, [A, B, C, D], E, T>,
    f: Next<P, [A, B, C, D, E], F, T>,
    g: Next<P, [A, B, C, D, E, F], G, T>,
    h: Next<P, [A, B, C, D, E, F, G], H, T>,
  ): Cat<P, [A, B, C, D, E, F, G, H], T>;
}
/** Joins along the axis written `*`; the other axes (FV0001) and dtypes (FV0002) agree. */
export const concat: ConcatF = (pattern: string, ...xs: unknown[]) =>
  located((b) => {
    const vs = xs.map((x) => unwrap('concat', x));
    const first = vs[0] as Value;
    const ws = axesOf('concat', pattern, first);
    const axis = ws.indexOf('*');
    if (axis < 0 || ws.lastIndexOf('*') !== axis)
      fail(
        'FV0003',
        `concat: '${pattern}' marks ${axis < 0 ? 'no' : 'more than one'} axis with *`,
        "Write the axis to join as *, e.g. 'b * d'.",
      );
    for (const v of vs) {
      const head = `concat: ${bare(first.type.shape)} with ${bare(v.type.shape)}`;
      if (v.type.dtype !== first.type.dtype) fail('FV0002', `concat: dtypes differ: ${first.type.dtype} vs ${v.type.dtype} (use .cast())`);
      if (v.type.shape.length !== ws.length) fail('FV0001', `${head}: ranks differ`);
      const off = ws.findIndex((_, i) => i !== axis && !eqDim(first.type.shape[i] as Dim, v.type.shape[i] as Dim));
      if (off >= 0) fail('FV0001', `${head}: axis ${ws[off]} is ${first.type.shape[off]} vs ${v.type.shape[off]}`);
    }
    // the overloads say what the types know; the value is the tensor
    return wrap<never>(b.concat(vs, axis));
  });

type Count<L extends readonly unknown[]> = number extends L['length'] ? '?' : `${L['length']}`;
type StackFits<L extends readonly AnyTensor[]> = L extends readonly [Tensor<infer S, infer T>, ...AnyTensor[]]
  ? Wide<ShapeOf<L[number]>> extends true
    ? L
    : [L[number]] extends [Tensor<S, T>]
      ? L
      : `stack: not all are [${S}] of ${T}`
  : L;
type Stacked<L extends readonly AnyTensor[], S extends string = ShapeOf<L[number]>> =
  Wide<S> extends true ? string : S extends '' ? Count<L> : `${Count<L>} ${S}`;
/** Tensors of one shape (FV0001) and dtype (FV0002), at least one of them, along a new first axis. */
export const stack = <const L extends readonly AnyTensor[]>(xs: StackFits<L>): Tensor<Stacked<L>, DTypeOf<L[number]>> =>
  located((b) => {
    const vs = (xs as L).map((x) => unwrap('stack', x));
    const first = vs[0] ?? fail('FV0001', 'stack: no tensors');
    for (const v of vs) {
      if (v.type.dtype !== first.type.dtype) fail('FV0002', `stack: dtypes differ: ${first.type.dtype} vs ${v.type.dtype} (use .cast())`);
      if (!eqShape(v.type.shape, first.type.shape))
        fail('FV0001', `stack: shapes differ: ${bare(first.type.shape)} vs ${bare(v.type.shape)}`);
    }
    return wrap(
      b.concat(
        vs.map((v) => b.reshape(v, [1, ...v.type.shape])),
        0,
      ),
    );
  });

type Repeat<X, N extends number, R extends X[] = []> = number extends N ? X[] : R['length'] extends N ? R : Repeat<X, N, [...R, X]>;
type Init<S extends string> = Words<S> extends readonly [...infer I extends string[], string] ? I : [];

type Unbound<S extends string, T extends DType> =
  Wide<S> extends true
    ? Tensor<string, T>[]
    : Words<S> extends readonly [infer H extends string, ...infer R extends readonly string[]]
      ? H extends `${infer N extends number}`
        ? Repeat<Tensor<Join<R>, T>, N>
        : Tensor<Join<R>, T>[]
      : never;
/** The slices along the first axis, whose size is a number (FV0005), each without it: [3 B N] is three [B N]. */
export const unbind = <S extends string, T extends DType>(x: Tensor<S, T>): Unbound<S, T> =>
  located((b) => {
    const v = unwrap('unbind', x);
    const n = v.type.shape[0];
    if (typeof n !== 'number') return fail('FV0005', `unbind: the first axis of ${bare(v.type.shape)} has no known size`);
    const rest = v.type.shape.slice(1);
    const row = (i: number): AnyTensor => wrap(b.reshape(b.slice(v, [i, ...zeros(v).slice(1)], [i + 1, ...rest]), rest));
    return Array.from({ length: n }, (_, i) => row(i)) as unknown as Unbound<S, T>; // a tuple where the types know n
  });

type SplitOk<S extends string, N extends number> =
  Wide<S> extends true ? N : [DivW<Last<S>, `${N}`>] extends [never] ? `split: last axis of [${S}] is not divisible by ${N}` : N;
type SplitShape<S extends string, N extends number> = Wide<S> extends true ? string : Join<[...Init<S>, DivW<Last<S>, `${N}`>]>;
/** n equal parts along the last axis: [B D] is n tensors [B D/n]. FV0001 where n does not divide it. */
export const split = <S extends string, T extends DType, const N extends number>(
  x: Tensor<S, T>,
  n: SplitOk<S, N>,
): Repeat<Tensor<SplitShape<S, N>, T>, N> =>
  located((b) => {
    const v = unwrap('split', x);
    const count = n as number;
    const d = v.type.shape.at(-1) ?? fail('FV0001', 'split: a scalar has no last axis');
    const part = divDim(d, count) ?? fail('FV0001', `split: last axis of ${tensorName(v)} is not divisible by ${count}`);
    let lo: Dim = 0;
    const parts = Array.from({ length: count }, () => {
      const hi = addDim(lo, part);
      const p = b.slice(v, [...zeros(v).slice(1), lo], [...v.type.shape.slice(0, -1), hi]);
      lo = hi;
      return wrap<AnyTensor>(p);
    });
    return parts as unknown as Repeat<Tensor<SplitShape<S, N>, T>, N>; // a tuple: n parts of one type
  });
