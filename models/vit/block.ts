/**
 * A transformer block: two residual branches, each LayerNorm -> attention or feed-forward -> LayerScale.
 *
 *   apply(block(c), p)(x)                             x: Tensor<'B N D'>
 *   apply(packedBlock(c, segments, drop), p)(rows)    the same parameters; rows: Tensor<'T D'> of images of several sizes, one after
 *                                                     the other, and what stochastic depth does to them (drop-path.ts)
 */
import { type F32, module, size } from '../../dsl/index.ts';
import type { Segment } from '../layers/packing.ts';
import { attention, layerNorm, layerScale, mlp, packedAttention, swiglu, swigluHidden } from '../layers.ts';
import { type BlockDrop, branchSegments, dropped, none } from './drop-path.ts';

export interface BlockConfig {
  readonly width: number;
  readonly heads: number;
  /**
   * 'identity' keeps the branch: it adds ls2(norm2(x)), as the original does. 'none' leaves the branch out.
   */
  readonly ffn: 'mlp' | 'swiglu' | 'identity' | 'none';
  /** Hidden width of the feed-forward over `width`, 4 unless given; SwiGLU takes two thirds of it. */
  readonly mlpRatio?: number;
  /** First value of LayerScale; null or 0: the block has none. */
  readonly layerScale: number | null;
  readonly bias?: { readonly qkv?: boolean; readonly proj?: boolean; readonly ffn?: boolean };
}

const sizes = (c: BlockConfig) => {
  const hidden = Math.trunc(c.width * (c.mlpRatio ?? 4));
  return { D: size('D', c.width), H: size('H', c.heads), F: size('F', c.ffn === 'swiglu' ? swigluHidden(hidden) : hidden) };
};

/** Parts by the names of checkpoints. `attn` is the dense or the packed layer: their parameters are the same. */
const parts = <A>(c: BlockConfig, attn: A) => {
  const { D, F } = sizes(c);
  const norm = layerNorm(D);
  const scale = layerScale(D, c.layerScale ?? 0);
  const feedForward = (c.ffn === 'swiglu' ? swiglu : mlp)(D, F, c.bias?.ffn);
  const scaled = Boolean(c.layerScale);
  const second: { readonly norm2?: typeof norm; readonly mlp?: typeof feedForward; readonly ls2?: typeof scale } = {
    ...(c.ffn === 'none' ? {} : { norm2: norm }),
    ...(c.ffn === 'mlp' || c.ffn === 'swiglu' ? { mlp: feedForward } : {}),
    ...(scaled && c.ffn !== 'none' ? { ls2: scale } : {}),
  };
  const first: { readonly ls1?: typeof scale } = scaled ? { ls1: scale } : {};
  return { norm1: norm, attn, ...first, ...second };
};
type Layer<X> = (x: X) => X;
/** What the body of a block sees of them. */
interface Parts<X> {
  readonly norm1: Layer<X>;
  readonly attn: Layer<X>;
  readonly ls1?: Layer<X>;
  readonly norm2?: Layer<X>;
  readonly mlp?: Layer<X>;
  readonly ls2?: Layer<X>;
}

const attend = <X>(p: Parts<X>, x: X): X => {
  const y = p.attn(p.norm1(x));
  return p.ls1 ? p.ls1(y) : y;
};
/** The second branch, if there is one. Without a feed-forward layer it adds the normalised tokens. */
const feed = <X>({ norm2, mlp, ls2 }: Parts<X>): Layer<X> | undefined =>
  norm2 &&
  ((x) => {
    const y = norm2(x);
    const z = mlp ? mlp(y) : y;
    return ls2 ? ls2(z) : z;
  });

export const block = (c: BlockConfig) =>
  module(
    sizes(c),
    ({ D, H }) => parts(c, attention(D, H, c.bias)),
    ['B N D'],
    (p: Parts<F32<'B N D'>>, x) => {
      const y = x.add(attend(p, x));
      const second = feed(p);
      return second ? y.add(second(y)) : y;
    },
  );

/** The block on a packed sequence of `segments`, with stochastic depth where `drop` lists anything. */
export const packedBlock = (c: BlockConfig, segments: readonly Segment[], drop: BlockDrop = none) =>
  module(
    sizes(c),
    ({ D, H }) => parts(c, packedAttention(D, H, branchSegments(segments, drop.attn), c.bias)),
    ['T D'],
    (p: Parts<F32<'T D'>>, x) => {
      const y = dropped(x, segments, drop.attn, drop, (rows) => attend(p, rows));
      const second = feed(p);
      return second ? dropped(y, segments, drop.ffn, drop, second) : y;
    },
  );
