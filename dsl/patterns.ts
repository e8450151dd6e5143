/**
 * Operations on axes, by pattern: rearrange, reductions, cumsum and reverse. Letters are local to a pattern; nothing has axis numbers.
 *
 *   rearrange('b n (h k) -> b h n k', x, { h: 6 })      mean('b n d -> b d', x)      cumsum('b *n', x)
 */
import type { Builder } from '../compiler/graph/builder.ts';
import { type Dim, divDim, eqDim, eqShape, prodDim } from '../compiler/graph/dim.ts';
import { type DType, type FloatType, isFloat, type Value } from '../compiler/graph/types.ts';
import { fail, located, words } from './context.ts';
import { bindLetters, type Group, letters, parsePattern, parseSide, spread, tensorName } from './parse.ts';
import { type DimArg, dimValue } from './sizes.ts';
import { type NumberType, type Tensor, unwrap, wrap } from './tensor.ts';
import type { Checked, Marked, Reduce, ReduceOne, Shape } from './types/einops.ts';
import type { Rearrange } from './types/rearrange.ts';

const reshape = (b: Builder, x: Value, shape: readonly Dim[]): Value => (eqShape(x.type.shape, shape) ? x : b.reshape(x, shape));
const permute = (b: Builder, x: Value, perm: readonly number[]): Value => (perm.every((p, i) => p === i) ? x : b.transpose(x, perm));

/** Sizes of the letters on the left-hand side of a rearrange. */
const splitGroups = (left: readonly Group[], v: Value, sizes: Readonly<Record<string, DimArg>>): Map<string, Dim> => {
  const given = new Map(Object.entries(sizes).map(([k, z]) => [k, dimValue(z)]));
  const env = new Map<string, Dim>();
  left.forEach((g, i) => {
    const d = v.type.shape[i] as Dim;
    if (typeof g === 'string') {
      const z = given.get(g);
      if (z !== undefined && !eqDim(z, d)) fail('FV0001', `rearrange: axis ${g} is ${d}, not ${z}`);
      bindLetters('rearrange', [g], { ...v, type: { ...v.type, shape: [d] } }, env, tensorName(v));
      return;
    }
    const names = g.filter((n) => n !== '1');
    const open = names.filter((n) => !given.has(n));
    if (open.length > 1) fail('FV0005', `rearrange: sizes of ${open.join(' and ')} are both unknown: pass one, e.g. { ${open[0]}: ... }`);
    if (names.some((n) => given.get(n) === 0)) {
      if (d !== 0) fail('FV0001', `rearrange: ${d} is not the product of the sizes given`);
      if (open[0] !== undefined) fail('FV0005', `rearrange: the size of ${open[0]} is unknown: pass it, 0 is 0 times anything`);
      for (const n of names) env.set(n, given.get(n) as Dim);
      return;
    }
    let rest = d;
    for (const n of names) {
      const z = given.get(n);
      if (z === undefined) continue;
      rest =
        divDim(rest, z) ??
        fail(
          'FV0001',
          `rearrange: ${d} is not divisible by ${n}=${z}`,
          typeof d === 'number' ? undefined : `Bind the size where the program is compiled, e.g. dims: { ... }, or pass the other factor.`,
        );
      env.set(n, z);
    }
    if (open[0] !== undefined) env.set(open[0], rest);
    else if (rest !== 1) fail('FV0001', `rearrange: ${d} is not the product of the sizes given`);
  });
  return env;
};

const rearrangeOn = (b: Builder, pattern: string, x: Value, sizes: Readonly<Record<string, DimArg>>): Value => {
  const { ins, out } = parsePattern('rearrange', pattern);
  const left =
    ins.length === 1 ? (ins[0] as Group[]) : fail('FV0003', `rearrange: takes one tensor, the pattern '${pattern}' has ${ins.length}`);
  if (left.includes('...')) fail('FV0003', `rearrange: '...' in '${pattern}'`, 'Give every axis a letter: rearrange has no runs of axes.');
  if (left.length !== x.type.shape.length)
    fail('FV0001', `rearrange: the pattern has ${left.length > x.type.shape.length ? 'more' : 'fewer'} axes than ${tensorName(x)}`);
  const names = (side: readonly Group[]): string[] => side.flat().filter((n) => n !== '1');
  const [from, to] = [names(left), names(out)];
  const lost = from.find((n) => !to.includes(n));
  const found = to.find((n) => !from.includes(n));
  const idle = Object.keys(sizes).find((n) => !from.includes(n));
  if (idle !== undefined) fail('FV0003', `rearrange: a size is given for ${idle}, which is no axis of '${pattern}'`);
  if (lost !== undefined) fail('FV0003', `rearrange: axis ${lost} is missing on the right-hand side`);
  if (found !== undefined) fail('FV0003', `rearrange: axis ${found} does not occur on the left-hand side`);
  const env = splitGroups(left, x, sizes);
  const dim = (n: string): Dim => (n === '1' ? 1 : (env.get(n) as Dim));
  const apart = reshape(b, x, from.map(dim));
  const moved = permute(
    b,
    apart,
    to.map((n) => from.indexOf(n)),
  );
  return reshape(
    b,
    moved,
    out.map((g) => (typeof g === 'string' ? dim(g) : prodDim(g.map(dim)))),
  );
};

/**
 * Splits, merges and permutes axes: 'b n (t h k) -> t b h n k' with sizes for all but one letter of a group; `1` is an axis of size 1.
 * FV0003 for the pattern, FV0001 where a size does not divide its axis, FV0005 where two letters of a group have no size.
 */
export const rearrange = <
  const P extends string,
  S extends string,
  T extends DType,
  const Z extends Readonly<Record<string, DimArg>> = Record<never, never>,
>(
  pattern: Checked<Rearrange<P, S, Z>, P>,
  x: Tensor<S, T>,
  sizes?: Z,
): Tensor<Shape<Rearrange<P, S, Z>>, T> => located((b) => wrap(rearrangeOn(b, pattern, unwrap('rearrange', x), sizes ?? {})));

interface Reduction {
  /** The axes that go away. */
  readonly axes: readonly number[];
  /** What is left, in the order of the output pattern with its 1s. */
  finish(b: Builder, y: Value): Value;
}
const reduction = (op: string, pattern: string, x: Value): Reduction => {
  const { ins, out: outGroups } = parsePattern(op, pattern);
  if (ins.length !== 1) fail('FV0003', `${op}: takes one tensor, the pattern '${pattern}' has ${ins.length}`);
  const names = letters(op, ins[0] as Group[], x.type.shape.length, tensorName(x));
  const env = new Map<string, Dim>();
  bindLetters(op, names, x, env, tensorName(x));
  const out = spread(op, ins, outGroups, env);
  const kept = names.filter((n) => n !== '1' && out.includes(n));
  const order = out.filter((n) => n !== '1');
  return {
    axes: names.flatMap((n, i) => (kept.includes(n) ? [] : [i])),
    finish: (b, y) =>
      reshape(
        b,
        permute(
          b,
          y,
          order.map((n) => kept.indexOf(n)),
        ),
        out.map((n) => (n === '1' ? 1 : (env.get(n) as Dim))),
      ),
  };
};

type Reducer<F extends string, K extends DType> = <const P extends string, S extends string, T extends K>(
  pattern: Checked<Reduce<F, P, S>, P>,
  x: Tensor<S, T>,
) => Tensor<Shape<Reduce<F, P, S>>, T>;
const reducer =
  <K extends DType>() =>
  <F extends string>(op: F, f: (b: Builder, x: Value, axes: readonly number[]) => Value): Reducer<F, K> =>
  (pattern, x) =>
    located((b) => {
      const v = unwrap(op, x);
      const r = reduction(op, pattern, v);
      return wrap(r.finish(b, r.axes.length === 0 ? v : f(b, v, r.axes)));
    });

/** Sums the axes whose letters the right-hand side lacks; 'b n -> b 1' keeps one of size 1, '...' is a run of axes. Not of bool (FV0002). */
export const sum = reducer<NumberType>()('sum', (b, x, axes) => b.sum(x, axes));
/** The largest element over the axes that go away, NaN if there is one; patterns as in `sum`. */
export const max = reducer<NumberType>()('max', (b, x, axes) => b.one({ prim: 'reduceMax', axes }, [x]));
/** The smallest element over the axes that go away, NaN if there is one; patterns as in `sum`. */
export const min = reducer<NumberType>()('min', (b, x, axes) => b.one({ prim: 'reduceMin', axes }, [x]));
/** The sum over the number of elements summed, which may be a named size; patterns as in `sum`. Of floats only (FV0002). */
export const mean = reducer<FloatType>()('mean', (b, x, axes) => {
  if (!isFloat(x.type.dtype)) fail('FV0002', `mean: the tensor is ${x.type.dtype}`, "Use .cast('f32') first.");
  const s = b.sum(x, axes);
  return b.div(s, b.fill(prodDim(axes.map((a) => x.type.shape[a] as Dim)), s.type));
});
/** Index, i32, of the first maximum along the one axis that the pattern drops. */
export const argmax = <const P extends string, S extends string, T extends NumberType>(
  pattern: Checked<ReduceOne<'argmax', P, S>, P>,
  x: Tensor<S, T>,
): Tensor<Shape<ReduceOne<'argmax', P, S>>, 'i32'> =>
  located((b) => {
    const v = unwrap('argmax', x);
    const r = reduction('argmax', pattern, v);
    if (r.axes.length !== 1)
      fail('FV0003', `argmax: '${pattern}' drops ${r.axes.length} axes, not one`, 'Merge axes with rearrange first.');
    return wrap(r.finish(b, b.one({ prim: 'argmax', axis: r.axes[0] as number }, [v])));
  });

/** The numbers of the axes that a pattern such as 'b *n' marks. */
const marked = (op: string, pattern: string, x: Value): number[] => {
  const ws = words(pattern);
  const names = letters(op, parseSide(op, ws.map((w) => w.replace(/^\*/, '')).join(' ')), x.type.shape.length, tensorName(x));
  const stars = ws.filter((w) => w.startsWith('*')).map((w) => names.indexOf(w.slice(1)));
  if (stars.length === 0) fail('FV0003', `${op}: no axis is marked with *`, "Mark the axis, e.g. 'b *n'.");
  if (stars.includes(-1)) fail('FV0003', `${op}: a * stands before no axis in '${pattern}'`);
  return stars;
};
/** Running sum along the marked axis: 'b *n'. */
export const cumsum = <const P extends string, S extends string, T extends NumberType>(
  pattern: Checked<Marked<'cumsum', P, S>, P>,
  x: Tensor<S, T>,
): Tensor<S, T> =>
  located((b) => {
    const v = unwrap('cumsum', x);
    const axes = marked('cumsum', pattern, v);
    if (axes.length !== 1) fail('FV0003', `cumsum: '${pattern}' marks ${axes.length} axes, not one`);
    return wrap(b.one({ prim: 'cumsum', axis: axes[0] as number }, [v]));
  });
/** The marked axes from back to front: 'b *h *w'. */
export const reverse = <const P extends string, S extends string, T extends DType>(
  pattern: Checked<Marked<'reverse', P, S>, P>,
  x: Tensor<S, T>,
): Tensor<S, T> =>
  located((b) => {
    const v = unwrap('reverse', x);
    return wrap(b.one({ prim: 'reverse', axes: marked('reverse', pattern, v) }, [v]));
  });
