/**
 * Stochastic depth: in training a residual branch is left out for some of the images (arXiv 1603.09382), in the two forms of DINOv2.
 *
 *   subset   the branch runs on some of the images only. Their rows are gathered, go through the branch and are added back, scaled by
 *            batch / kept so that the expected output is that of the whole batch. Work is saved, and every shape is static because the
 *            rate and the batch fix how many images are kept. m = max(int(b (1 - rate)), 1).
 *   mask     the branch runs on all images and is multiplied by 0 or 1 / (1 - rate) for each of them.
 *
 * Which images, is an input: one tensor for each crop size and branch, i32 for a list of kept images, f32 for a factor for each image.
 * Of a batch in shards every shard keeps as many of its own images as the original does on a rank: lists are shard after shard and count within it.
 * The original packs lists and uses `subset` at any rate; on a single tensor it uses `mask` up to a rate of 0.1 (`dropForm`).
 */
import { type F32, full, gather, perShard, rearrange, scatterAdd, type Tensor } from '../../dsl/index.ts';
import { byShard, concatRows, fromShards, rowsOfImages, type Segment, type ShardRows } from '../layers/packing.ts';
import { sizeAt } from '../layers/sizes.ts';

export type DropForm = 'subset' | 'mask';

/** What happens to the images of one crop size in one branch. */
export type Drop = Tensor<string, 'i32'> | F32<string>;

/** The two branches of a block, one entry for each crop size; empty lists: nothing is dropped. */
export interface Keep {
  readonly attn: readonly Drop[];
  readonly ffn: readonly Drop[];
}

/** Factor on a branch that ran on kept images: 'kept' is batch / kept, the original's; a number is 1 / (1 - rate). */
export type DropScale = 'kept' | number;

export interface BlockDrop extends Keep {
  readonly scale: DropScale;
  readonly shards?: DropShards | undefined;
}
export const none: BlockDrop = { attn: [], ffn: [], scale: 'kept' };

/** Parts of the batch each of which has lists of its own: how many, and images of one. */
export interface DropShards {
  readonly count: number;
  readonly images: number;
}

/** The form that the original uses at a rate: lists of crops are always thinned, a single tensor above 0.1 only. */
export const dropForm = (rate: number, crops: 'list' | 'tensor'): DropForm => (crops === 'list' || rate > 0.1 ? 'subset' : 'mask');

/** Images that a branch runs on, of a batch of b: at least one. */
export const kept = (b: number, rate: number): number => Math.max(Math.trunc(b * (1 - rate)), 1);

const isList = (d: Drop): d is Tensor<string, 'i32'> => d.dtype === 'i32';

/** The segments that a branch sees: with lists of kept images, fewer images. */
export const branchSegments = (segments: readonly Segment[], drops: readonly Drop[]): readonly Segment[] =>
  segments.map((s, i) => {
    const d = drops[i];
    return d && isList(d) ? { images: sizeAt(d, 0), tokens: s.tokens } : s;
  });

/** One number for every row of a packed sequence, from one for each segment or one for each image. */
const perRow = (segments: readonly Segment[], factor: (i: number) => number | F32<string>): F32<'T 1'> =>
  concatRows<F32<string>>(
    segments.map(({ images, tokens }, i) => {
      const f = factor(i);
      return typeof f === 'number'
        ? full(f, `${images * tokens} 1` as string)
        : rearrange('b n -> (b n) 1', rearrange('b -> b 1', f).mul(full(1, `1 ${tokens}` as string)));
    }),
  ) as F32<'T 1'>;

type Rows = F32<'T D'>;
type List = Tensor<string, 'i32'>;

/** Rows of kept images, taken and added back: of the whole sequence, or of each shard's part of it by the shard's own lists. */
const thinned = (x: Rows, segments: readonly Segment[], keep: readonly List[], shards: DropShards | undefined) => {
  if (!shards || shards.count === 1) {
    const rows = rowsOfImages(segments, keep);
    return { rows: gather(x, rows) as Rows, addTo: (y: Rows): Rows => scatterAdd(x, rows, y) };
  }
  const { count } = shards;
  const all: ShardRows = {
    shards: count,
    own: segments.map(({ images, tokens }) => ({ images: images / count, tokens })),
    run: () => shards.images,
  };
  const left: ShardRows = {
    shards: count,
    own: keep.map((list, i) => ({ images: sizeAt(list, 0) / count, tokens: (segments[i] as Segment).tokens })),
    run: ({ images }) => images,
  };
  const mine = byShard(x, all);
  const lists = keep.map((list) => rearrange('(w m) -> w m' as string, list, { w: count }));
  const take = perShard((part: F32<string>, list: readonly List[]) => gather(part, rowsOfImages(all.own, list)));
  const add = perShard((part: F32<string>, list: readonly List[], y: F32<string>) => scatterAdd(part, rowsOfImages(all.own, list), y));
  return {
    rows: fromShards(take(mine as never, lists as never) as F32<string>, left) as Rows,
    addTo: (y: Rows): Rows => fromShards(add(mine as never, lists as never, byShard(y, left) as never) as F32<string>, all) as Rows,
  };
};

/** x + branch(x) on a packed sequence, the branch dropped for some images. */
export const dropped = (
  x: Rows,
  segments: readonly Segment[],
  drops: readonly Drop[],
  { scale, shards }: Pick<BlockDrop, 'scale' | 'shards'>,
  branch: (rows: Rows) => Rows,
): Rows => {
  if (drops.length === 0) return x.add(branch(x));
  const keep = drops.filter(isList);
  if (keep.length === 0) return x.add(branch(x).mul(perRow(segments, (i) => drops[i] as F32<string>)));
  const { rows, addTo } = thinned(x, segments, keep, shards);
  const left = branchSegments(segments, drops);
  const factors = perRow(left, (i) => (scale === 'kept' ? (segments[i] as Segment).images / (left[i] as Segment).images : scale));
  return addTo(branch(rows).mul(factors));
};
