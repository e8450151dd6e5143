/**
 * A training step of DINOv2 on several ranks: where its arguments lie, and a batch for all from one for each.
 *
 *   const r = { ...demo, shards: 2 };                         batch 32: each rank has 16 images
 *   joinBatches(r, [batch of rank 0, batch of rank 1])        crop-major over all images: crop 0 of all, crop 1 of all, local crops
 */
import { FoveaError } from '../../compiler/error.ts';
import type { Placement } from '../../compiler/graph/types.ts';
import { type HostOf, type HostTensor, host } from '../../dsl/index.ts';
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

/** A leaf of a batch in runs of rows, each with a piece of every shard: crops of images are crop-major, lists are of one run. */
const runsOf = (r: Recipe, name: keyof Batch): number =>
  name === 'global' || name === 'masks' ? 2 : name === 'local' ? r.crops.locals : 1;

/** Where the leaves of a batch lie, by their path: `global`, `masks`, ... */
export const batchPlacement = (r: Recipe, path: string): Placement => {
  const name = path.split('.')[0] as keyof Batch;
  if (name === 'maskCount') return 'R';
  const runs = runsOf(r, name);
  if (runs === 0) return 'R';
  return runs === 1 ? { split: 0 } : { split: 0, parts: Array.from({ length: runs }, () => r.batch) };
};

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

/** One batch of the images of all shards. Masked patches keep their numbers: they count within a shard. */
export const joinBatches = (r: Recipe, parts: readonly HostOf<Batch>[]): HostOf<Batch> => {
  if (parts.length === 1) return parts[0] as HostOf<Batch>;
  const join = (name: keyof Batch): HostTensor =>
    interleaved(
      parts.map((p) => p[name] as HostTensor),
      runsOf(r, name),
    );
  return {
    global: join('global'),
    local: join('local'),
    masks: join('masks'),
    maskIndices: join('maskIndices'),
    maskWeights: join('maskWeights'),
    maskCount: host(new Float32Array([parts.reduce((n, p) => n + Number((p.maskCount as HostTensor).data[0]), 0)]), []),
  } as HostOf<Batch>;
};
