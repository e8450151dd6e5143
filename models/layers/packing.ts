/**
 * Images of several sizes as ONE sequence of tokens, image after image, so that a linear layer is one product whatever the sizes
 * (the packing of the paper's section 5). A token may look at the tokens of its own image only: the attention mask of the sequence is
 * block-diagonal. The blocks are known when the program is traced, so no mask is made: attention runs on views of the sequence, one for
 * each run of images of equal size.
 *
 *   pack([global, local])  ->  { rows: [2*257 + 4*50, 384], segments: [{ images: 2, tokens: 257 }, { images: 4, tokens: 50 }] }
 */
import { type AnyTensor, concat, type F32, iota, rearrange, slice, type Tensor } from '../../dsl/index.ts';
import { sizeAt } from './sizes.ts';

/** A run of `images` images of `tokens` tokens each. A packed sequence is a list of them. */
export interface Segment {
  readonly images: number;
  readonly tokens: number;
}

/** Any number of tensors along the axis that the pattern marks: the first of two unless given. */
export const concatRows = <X extends AnyTensor>(parts: readonly X[], pattern = '* d'): X => {
  const [first, ...others] = parts as unknown as readonly [F32<string>, ...F32<string>[]];
  return others.reduce((a, b) => concat(pattern as string, a, b), first) as unknown as X;
};

/** Stacks of token sequences [images tokens D] as one sequence [T D], and where each of them lies. */
export const pack = (stacks: readonly F32<string>[]): { readonly rows: F32<string>; readonly segments: readonly Segment[] } => ({
  rows: concatRows(stacks.map((x) => rearrange('b n d -> (b n) d', x))),
  segments: stacks.map((x) => ({ images: sizeAt(x, 0), tokens: sizeAt(x, 1) })),
});

/** The rows of every segment: [images * tokens, D]. */
export const segmentRows = (rows: F32<string>, segments: readonly Segment[]): readonly F32<string>[] => {
  if (segments.length === 1) return [rows];
  let from = 0;
  return segments.map(({ images, tokens }) => {
    const to = from + images * tokens;
    const part = slice(`${from}:${to} d` as string, rows);
    from = to;
    return part;
  });
};

/** The inverse of pack: [images tokens D] of every segment. */
export const unpack = (rows: F32<string>, segments: readonly Segment[]): readonly F32<string>[] =>
  segmentRows(rows, segments).map((part, i) => rearrange('(b n) d -> b n d', part, { b: (segments[i] as Segment).images }));

/** Numbers of the rows that belong to some images of each segment: keep[i] are images of segment i. */
export const rowsOfImages = (segments: readonly Segment[], keep: readonly Tensor<string, 'i32'>[]): Tensor<string, 'i32'> => {
  let from = 0;
  return concatRows(
    segments.map(({ images, tokens }, i) => {
      const first = rearrange('m -> m 1', (keep[i] as Tensor<string, 'i32'>).mul(tokens).add(from));
      from += images * tokens;
      return rearrange('m t -> (m t)', first.add(iota(`${tokens}` as string)));
    }),
    '*',
  );
};

/** Segments of one shard of a batch, and how many images of each stand side by side: crops are crop-major over all shards, [v w b]. */
export interface ShardRows {
  readonly shards: number;
  readonly own: readonly Segment[];
  readonly run: (own: Segment) => number;
}

/** A packed sequence of all shards as one for each: [T D] -> [w T/w D]. */
export const byShard = (rows: F32<string>, { shards, own, run }: ShardRows): F32<string> =>
  concatRows(
    segmentRows(
      rows,
      own.map(({ images, tokens }) => ({ images: images * shards, tokens })),
    ).map((part, i) => {
      const s = own[i] as Segment;
      return rearrange('(v w r) d -> w (v r) d' as string, part, { w: shards, r: run(s) * s.tokens });
    }),
    'w * d',
  );

/** The inverse of byShard. */
export const fromShards = (rows: F32<string>, { own, run }: ShardRows): F32<string> => {
  let from = 0;
  return concatRows(
    own.map((s) => {
      const to = from + s.images * s.tokens;
      const part = slice(`w ${from}:${to} d` as string, rows);
      from = to;
      return rearrange('w (v r) d -> (v w r) d' as string, part, { r: run(s) * s.tokens });
    }),
  );
};
