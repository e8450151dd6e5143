/**
 * A transformer block: two residual branches, each LayerNorm -> attention or feed-forward -> LayerScale.
 *
 * In training with stochastic depth a branch runs on some of the images only: their rows are gathered, go through the branch,
 * and are added back scaled by batch / kept, so that the expected output is that of the whole batch. Which images are kept is
 * an input (one index list a branch); how many is fixed by rate and batch, so every shape is static.
 *
 *   apply(block(c), p)(x)                                 x: Tensor<'B N D'>
 *   apply(thinnedBlock(c), p)(x, attnKeep, ffnKeep)       the same parameters; index lists of I and J images
 */
import { type F32, gather, module, scatterAdd, size, type Tensor } from '../../dsl/index.ts';
import { sizeAt } from '../layers/sizes.ts';
import { attention, layerNorm, layerScale, mlp, swiglu, swigluHidden } from '../layers.ts';

export interface BlockConfig {
  readonly width: number;
  readonly heads: number;
  readonly ffn: 'mlp' | 'swiglu' | 'identity';
  /** Hidden width of the feed-forward over `width`, 4 unless given; SwiGLU takes two thirds of it. */
  readonly mlpRatio?: number;
  /** First value of LayerScale; null: the block has none. */
  readonly layerScale: number | null;
  readonly bias?: { readonly qkv?: boolean; readonly proj?: boolean; readonly ffn?: boolean };
}

const sizes = (c: BlockConfig) => {
  const hidden = Math.trunc(c.width * (c.mlpRatio ?? 4));
  return { D: size('D', c.width), H: size('H', c.heads), F: size('F', c.ffn === 'swiglu' ? swigluHidden(hidden) : hidden) };
};

const parts = (c: BlockConfig) => {
  const { D, H, F } = sizes(c);
  const feedForward = c.ffn === 'swiglu' ? swiglu : mlp;
  return {
    norm1: layerNorm(D),
    attn: attention(D, H, c.bias),
    ...(c.layerScale ? { ls1: layerScale(D, c.layerScale) } : {}),
    norm2: layerNorm(D),
    mlp: feedForward(D, F, c.bias?.ffn),
    ...(c.layerScale ? { ls2: layerScale(D, c.layerScale) } : {}),
  };
};
type Layer = (x: F32<'B N D'>) => F32<'B N D'>;
/** What the body of a block sees of them. */
interface Parts extends Readonly<Record<'norm1' | 'attn' | 'norm2' | 'mlp', Layer>> {
  readonly ls1?: Layer;
  readonly ls2?: Layer;
}

const attend = (p: Parts, x: F32<'B N D'>): F32<'B N D'> => {
  const y = p.attn(p.norm1(x));
  return p.ls1 ? p.ls1(y) : y;
};
const feed = (p: Parts, x: F32<'B N D'>): F32<'B N D'> => {
  const y = p.mlp(p.norm2(x));
  return p.ls2 ? p.ls2(y) : y;
};

export const block = (c: BlockConfig) =>
  module(
    sizes(c),
    () => parts(c),
    ['B N D'],
    (p, x) => {
      const y = x.add(attend(p, x));
      return y.add(feed(p, y));
    },
  );

/** x with branch(rows) added to the rows that `keep` names, scaled by all rows / kept rows. */
const thinned = (x: F32<'B N D'>, keep: Tensor<string, 'i32'>, branch: (rows: F32<'B N D'>) => F32<'B N D'>): F32<'B N D'> => {
  const rows = branch(gather(x, keep) as F32<'B N D'>);
  return scatterAdd(x, keep, rows.mul(sizeAt(x, 0) / sizeAt(keep, 0)));
};

export const thinnedBlock = (c: BlockConfig) =>
  module(
    sizes(c),
    () => parts(c),
    ['B N D', 'I:i32', 'J:i32'],
    (p, x, attnKeep, ffnKeep) => {
      const y = thinned(x, attnKeep, (rows) => attend(p, rows));
      return thinned(y, ffnKeep, (rows) => feed(p, rows));
    },
  );
