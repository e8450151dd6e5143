/**
 * The layers of a vision transformer, each a module: sizes, parameters, argument shapes, formula. Parameter names are the keys
 * of DINOv2's checkpoints, so a released file is a parameter tree as it stands.
 *
 * Inside a module D, H, F are names; `attention(size('D', 384), 6)` binds them. Linear layers start as N(0, 0.02) with zero
 * bias, LayerNorm has epsilon 1e-6, GELU is the exact one.
 *
 *   const y = apply(mlp(384, 1536), params)(x)          x: Tensor<'B N 384'>, y: Tensor<'B N 384'>
 */
import {
  type DimArg,
  einsum,
  type F32,
  fn,
  gelu,
  initializers,
  module,
  layerNorm as normalize,
  over,
  type Param,
  param,
  rearrange,
  rsqrt,
  scalar,
  silu,
  softmax,
  split,
  times,
  unbind,
} from '../dsl/index.ts';
import { concatRows, type Segment, segmentRows } from './layers/packing.ts';

const { ones, zeros, truncNormal, constant } = initializers;

/** x W^T + b. Without bias the parameter does not exist, as in checkpoints of such models. */
export const linear = <I extends DimArg, O extends DimArg>(inputs: I, outputs: O, bias = true) =>
  module(
    { I: inputs, O: outputs },
    (): { readonly weight: Param<'O I'>; readonly bias?: Param<'O'> } => ({
      weight: param('O I', truncNormal(0.02)),
      ...(bias ? { bias: param('O', zeros) } : {}),
    }),
    ['... I'],
    (p, x) => {
      const y = einsum('... i, o i -> ... o', x, p.weight);
      return p.bias ? y.add(p.bias) : y;
    },
  );

export const layerNorm = <D extends DimArg>(dim: D) =>
  module(
    { D: dim },
    () => ({ weight: param('D', ones), bias: param('D', zeros) }),
    ['... D'],
    (p, x) => normalize(x, p.weight, p.bias, 1e-6),
  );

/** A learned factor for every feature, small at first, so that a deep network starts close to the identity. */
export const layerScale = <D extends DimArg>(dim: D, start: number) =>
  module(
    { D: dim },
    () => ({ gamma: param('D', constant(start)) }),
    ['... D'],
    (p, x) => x.mul(p.gamma),
  );

/** What each query finds: softmax(q k^T / sqrt(K)) v, for every image and head. */
const lookUp = (K: DimArg) =>
  fn(['B H N K', 'B H M K', 'B H M K'], (q, k, v) => {
    const weights = softmax(einsum('b h n k, b h m k -> b h n m', q.mul(rsqrt(scalar(K))), k));
    return einsum('b h n m, b h m k -> b h n k', weights, v);
  });

const projections = <D extends DimArg>(D: D, bias: AttentionBias) => ({
  qkv: linear(D, times(3, D), bias.qkv),
  proj: linear(D, D, bias.proj),
});

export interface AttentionBias {
  readonly qkv?: boolean;
  readonly proj?: boolean;
}

/** Every token looks at all tokens of its image. Rows of qkv are [query key value][head][width of a head]. */
export const attention = <D extends DimArg, H extends DimArg>(dim: D, heads: H, bias: AttentionBias = {}) =>
  module(
    { D: dim, H: heads, K: over(dim as DimArg, heads as DimArg) },
    ({ D }) => projections(D, bias),
    ['B N D'],
    ({ qkv, proj, H, K }, x) => {
      const [q, k, v] = unbind(rearrange('b n (t h k) -> t b h n k', qkv(x), { t: 3, h: H }));
      return proj(rearrange('b h n k -> b n (h k)', lookUp(K)(q, k, v)));
    },
  );

/** The same layer on a packed sequence: the two products run on all rows at once, the look-up image by image. */
export const packedAttention = <D extends DimArg, H extends DimArg>(
  dim: D,
  heads: H,
  segments: readonly Segment[],
  bias: AttentionBias = {},
) =>
  module(
    { D: dim, H: heads, K: over(dim as DimArg, heads as DimArg) },
    ({ D }) => projections(D, bias),
    ['T D'],
    ({ qkv, proj, H, K }, x) => {
      const found = segmentRows(qkv(x), segments).map((rows, i) => {
        const { images } = segments[i] as Segment;
        const [q, k, v] = unbind(rearrange('(b n) (t h k) -> t b h n k' as string, rows, { b: images, t: 3, h: H }) as F32<'3 B H N K'>);
        return rearrange('b h n k -> (b n) (h k)', lookUp(K)(q, k, v)) as F32<string>;
      });
      return proj(concatRows(found) as F32<'T D'>);
    },
  );

export const mlp = <D extends DimArg, F extends DimArg>(dim: D, hidden: F, bias = true) =>
  module(
    { D: dim, F: hidden },
    ({ D, F }) => ({ fc1: linear(D, F, bias), fc2: linear(F, D, bias) }),
    ['... D'],
    (p, x) => p.fc2(gelu(p.fc1(x))),
  );

/** Gated feed-forward: the first half of w12, through SiLU, scales the second. */
export const swiglu = <D extends DimArg, F extends DimArg>(dim: D, hidden: F, bias = true) =>
  module(
    { D: dim, F: hidden },
    ({ D, F }) => ({ w12: linear(D, times(2, F), bias), w3: linear(F, D, bias) }),
    ['... D'],
    (p, x) => {
      const [gate, value] = split(p.w12(x), 2);
      return p.w3(silu(gate).mul(value));
    },
  );

/** The same formula with the gate, the value and the way back as three layers of their own: DINOv2's vision-text head. */
export const swigluAligned = <D extends DimArg, F extends DimArg>(dim: D, hidden: F, bias = true) =>
  module(
    { D: dim, F: hidden },
    ({ D, F }) => ({ w1: linear(D, F, bias), w2: linear(D, F, bias), w3: linear(F, D, bias) }),
    ['... D'],
    (p, x) => p.w3(silu(p.w1(x)).mul(p.w2(x))),
  );

/** Two thirds of the hidden width of an MLP, rounded up to a multiple of 8 (64 in the vision-text head): as many parameters with three matrices as with two. */
export const swigluHidden = (hidden: number, multiple = 8): number => Math.ceil(Math.trunc((hidden * 2) / 3) / multiple) * multiple;
