/**
 * A training step of DINOv2 on several ranks: where its arguments lie, and a batch for all from one for each.
 *
 *   const r = { ...demo, shards: 2 };                         batch 32: each rank has 16 images
 *   joinBatches(r, [batch of rank 0, batch of rank 1])        crop-major over all images: crop 0 of all, crop 1 of all, local crops
 */
import { FoveaError } from '../../compiler/error.ts';
import type { FloatType, Placement } from '../../compiler/graph/types.ts';
import { flatten, type HostOf, type HostTensor, host, rebuild } from '../../dsl/index.ts';
import type { Recipe } from '../recipes.ts';
import type { Batch } from './types.ts';

/** The recipe of one of the shards of r. Throws FV0702 where the images of a step cannot be shared evenly. */
export const ofOneShard = (r: Recipe): Recipe => {
  const { shards = 1, ...rest } = r;
  if (r.batch % shards !== 0)
    throw new FoveaError('FV0702', `a batch of ${r.batch} images cannot be shared evenly by ${shards} ranks`, {
      hint: `Take a batch of ${Math.max(1, Math.round(r.batch / shards)) * shards} images.`,
    });
  return { ...rest, batch: r.batch / shards };
};

/**
 * A leaf of a batch, by its path, in runs of rows, each with a piece of every shard: crops of images, and factors of stochastic depth for each of
 * them, are crop-major; lists are of one run.
 */
const runsOf = (r: Recipe, path: string): number => {
  const [name, ...rest] = path.split('.');
  const { locals } = r.crops;
  // keep.<block>.<branch>.<entry>: global crops, local ones if there are any, global ones again
  if (name === 'keep') return r.dropPath.form === 'mask' ? ([2, ...(locals > 0 ? [locals] : []), 2][Number(rest[2])] as number) : 1;
  return name === 'global' || name === 'masks' ? 2 : name === 'local' ? locals : 1;
};

/** Where the leaves of a batch lie, by their path: `global`, `masks`, ... */
export const batchPlacement = (r: Recipe, path: string): Placement => {
  if (path === 'maskCount') return 'R';
  const runs = runsOf(r, path);
  if (runs === 0) return 'R';
  return runs === 1 ? { split: 0 } : { split: 0, parts: Array.from({ length: runs }, () => r.batch) };
};

/** How gradients travel, by unit: those of heads in float32 whatever the others do, as in the original. */
export const reduceBy =
  (type: FloatType) =>
  (unit: string): FloatType =>
    /\.(dino|ibot)_head$/.test(unit) ? 'f32' : type;

/** Rows of all shards, run by run. */
const interleaved = (parts: readonly HostTensor[], runs: number): HostTensor => {
  const [first] = parts as readonly [HostTensor];
  const length = first.data.length;
  const data = new (first.data.constructor as new (n: number) => HostTensor['data'])(length * parts.length);
  const run = runs === 0 ? 0 : length / runs;
  for (let k = 0; k < runs; k++)
    parts.forEach((p, w) => {
      data.set(p.data.subarray(k * run, (k + 1) * run) as never, (k * parts.length + w) * run);
    });
  return { ...first, shape: [(first.shape[0] as number) * parts.length, ...first.shape.slice(1)], data };
};

/** One batch of the images of all shards. Numbers of masked patches and of kept images stay: they count within a shard. */
export const joinBatches = (r: Recipe, parts: readonly HostOf<Batch>[]): HostOf<Batch> => {
  const [first] = parts as readonly [HostOf<Batch>];
  if (parts.length === 1) return first;
  const leaves = parts.map(flatten);
  const joined = flatten(first).map(({ path }, i): HostTensor => {
    const own = leaves.map((list) => list[i]?.leaf as HostTensor);
    return path === 'maskCount'
      ? host(new Float32Array([own.reduce((n, x) => n + Number(x.data[0]), 0)]), [])
      : interleaved(own, runsOf(r, path));
  });
  return rebuild(first, joined) as HostOf<Batch>;
};
