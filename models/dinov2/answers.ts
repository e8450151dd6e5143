/**
 * From features to scores: class tokens go through the DINO head, masked patches through the iBOT head or, where it is shared,
 * through the DINO head too. A head is called once, on all its rows, so that its wide last layer is read once and its gradient is
 * one product.
 *
 *   answers(recipe, params, [local, global], hidden)   ->   { cls: [F32<'L*B K'>, F32<'2*B K'>], patches: F32<'U J'> }
 */
import { apply, concat, type F32, gather, perShard, rearrange, scope, size, slice, type Tensor } from '../../dsl/index.ts';
import { dinoHead } from '../heads.ts';
import { sizeAt } from '../layers/sizes.ts';
import type { Recipe } from '../recipes.ts';
import { ibotHead, type Network } from './types.ts';

type Rows<X extends readonly F32<string>[]> = { readonly [I in keyof X]: X[I] extends F32<`${infer B} D`> ? F32<`${B} K`> : F32<string> };

export interface Answers<X extends readonly F32<string>[]> {
  readonly cls: Rows<X>;
  /** Absent where no patches were asked about. */
  readonly patches: F32<'U J'> | undefined;
}

/** The tokens of the given numbers, counted over the images of a shard. */
export const rowsAt = (r: Pick<Recipe, 'shards'>, tokens: F32<'2*B N D'>, index: Tensor<'U', 'i32'>): F32<'U D'> => {
  const shards = r.shards ?? 1;
  if (shards === 1) return gather(rearrange('b n d -> (b n) d', tokens), index);
  const own = rearrange('(v w b) n d -> w (v b n) d' as string, tokens, { v: 2, w: shards });
  const picked = perShard((rows: F32<string>, list: Tensor<string, 'i32'>) => gather(rows, list))(
    own,
    rearrange('(w u) -> w u', index, { w: shards }),
  );
  return rearrange('w u d -> (w u) d' as string, picked as F32<string>) as F32<'U D'>;
};

/** One call of f on the rows of all parts, its result taken apart again. */
const together = (f: (rows: F32<string>) => F32<string>, parts: readonly F32<string>[]): F32<string>[] => {
  const [first, ...rest] = parts as readonly [F32<string>, ...F32<string>[]];
  const scores = f(rest.reduce((a, b) => concat('* d' as string, a, b), first));
  let from = 0;
  return parts.map((rows) => {
    const to = from + sizeAt(rows, 0);
    const part = slice(`${from}:${to} k` as string, scores);
    from = to;
    return part;
  });
};

export const answers = <const X extends readonly F32<string>[]>(
  r: Recipe,
  params: Network,
  cls: X,
  patches: F32<'U D'> | undefined,
): Answers<X> => {
  const D = size('D', r.model.width);
  const dino = apply(dinoHead(D, size('K', r.dino.prototypes), r.dino), params.dino_head);
  const own = ibotHead(r);
  const shared = patches && !(own && params.ibot_head) ? [patches] : [];
  const rows = [...cls, ...shared];
  const scores = rows.length > 0 ? scope('dino_head', () => together(dino, rows)) : [];
  const separate = (): F32<string> | undefined =>
    patches &&
    own &&
    params.ibot_head &&
    scope('ibot_head', () => apply(dinoHead(D, size('J', own.prototypes), own), params.ibot_head!)(patches));
  return {
    cls: scores.slice(0, cls.length) as unknown as Rows<X>,
    patches: (shared.length > 0 ? scores.at(-1) : separate()) as F32<'U J'> | undefined,
  };
};
