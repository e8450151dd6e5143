/**
 * Operations that are regions: softmax, layerNorm, gelu, ... Each is a `call` node with a tag and its definition as body, so that every
 * transformation works on the definition unless it has a better rule for the tag. Users add their own with `composite`.
 *
 *   softmax(x)
 *     %1: f32[B N] = call(%0) softmax { ... max, sub, exp, sum, div ... }
 */
import { reserved } from '../compiler/graph/attention.ts';
import { eqDim, eqShape } from '../compiler/graph/dim.ts';
import type { FloatType } from '../compiler/graph/types.ts';
import { region } from './closure.ts';
import { fail, located } from './context.ts';
import { erf, exp, log, rsqrt, stopGradient, tanh, where } from './functions.ts';
import { max, mean, sum } from './patterns.ts';
import { bare } from './pointwise.ts';
import { type AnyTensor, type Tensor, unwrap } from './tensor.ts';
import type { EqW, Last, Wide } from './types/words.ts';

/** f as one node with the given tag. Results are a tree of tensors. FV0007 for a tag of the compiler's own. */
export const composite = <A extends readonly AnyTensor[], R>(tag: string, f: (...xs: A) => R, ...xs: A): R =>
  located(() => {
    if (tag.startsWith(reserved))
      fail('FV0007', `composite: the name '${tag}' is reserved`, `Names that start with ${reserved} are the compiler's.`);
    return region(tag, xs, f as unknown as (...a: never[]) => unknown, true) as R;
  });

/** Inside a definition shapes are unknown to the types: the tracer checks them. */
type Any = Tensor<string>;
type Same = <S extends string, T extends FloatType>(x: Tensor<S, T>) => Tensor<S, T>;
const same =
  (tag: string, f: (x: Any) => Any): Same =>
  (x) =>
    composite(tag, f as unknown as (y: AnyTensor) => AnyTensor, x) as unknown as typeof x;

/** x Phi(x), with the exact error function. */
export const gelu = same('gelu', (x) => x.mul(erf(x.mul(Math.SQRT1_2)).add(1).mul(0.5)));
/** 1 / (1 + exp(-x)), computed as 0.5 tanh(x / 2) + 0.5, which never overflows. */
export const sigmoid = same('sigmoid', (x) => tanh(x.mul(0.5)).mul(0.5).add(0.5));
/** x sigmoid(x) */
export const silu = same('silu', (x) => x.mul(tanh(x.mul(0.5)).mul(0.5).add(0.5)));
export const relu = same('relu', (x) => where(x.gt(0), x, 0));

const lastAxis = (op: string, x: AnyTensor): void => {
  if (unwrap(op, x).type.shape.length === 0) fail('FV0001', `${op}: a scalar has no last axis`);
};
/** exp(x) normalised over the last axis; the maximum is subtracted first, as a constant of the derivative: it cancels. */
export const softmax = same('softmax', (x) => {
  lastAxis('softmax', x);
  const e = exp(x.sub(stopGradient(max('... d -> ... 1', x))));
  return e.div(sum('... d -> ... 1', e));
});
/** log(softmax(x)) over the last axis, without forming the softmax. */
export const logSoftmax = same('logSoftmax', (x) => {
  lastAxis('logSoftmax', x);
  const c = x.sub(stopGradient(max('... d -> ... 1', x)));
  return c.sub(log(sum('... d -> ... 1', exp(c))));
});

type NormFits<S extends string, V extends string, T extends FloatType> =
  Wide<S> extends true
    ? Tensor<V, T>
    : Wide<V> extends true
      ? Tensor<V, T>
      : EqW<Last<S>, V> extends true
        ? Tensor<V, T>
        : `layerNorm: last axis of [${S}] does not match weight [${V}]`;
/**
 * Zero mean and unit variance over the last axis, then weight and bias, vectors of its size (FV0001). The variance is that of the
 * population, eps is added to it under the root.
 */
export const layerNorm = <S extends string, V extends string, T extends FloatType>(
  x: Tensor<S, T>,
  weight: NormFits<S, V, T>,
  bias: Tensor<V, NoInfer<T>>,
  eps = 1e-6,
): Tensor<S, T> => {
  const define = (x0: AnyTensor, w0: AnyTensor, b0: AnyTensor): AnyTensor => {
    const [y, w, b] = [x0, w0, b0] as [Any, Any, Any];
    const c = y.sub(mean('... d -> ... 1', y));
    const variance = mean('... d -> ... 1', c.mul(c));
    return c
      .mul(rsqrt(variance.add(eps)))
      .mul(w)
      .add(b);
  };
  return located(() => {
    const [s, v] = [unwrap('layerNorm', x).type.shape, unwrap('layerNorm', weight).type.shape];
    const d = s.at(-1);
    if (d === undefined || v.length !== 1 || !eqDim(d, v[0] ?? 0))
      fail('FV0001', `layerNorm: last axis of ${bare(s)} does not match weight ${bare(v)}`);
    const w = unwrap('layerNorm', bias).type.shape;
    if (!eqShape(v, w)) fail('FV0001', `layerNorm: weight ${bare(v)} and bias ${bare(w)} differ`);
    return composite('layerNorm', define, x, weight as unknown as AnyTensor, bias) as unknown as Tensor<S, T>;
  });
};
