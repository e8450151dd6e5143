/**
 * Layouts of DINOv2's own names. A training run shards its blocks, and its export has `blocks.<chunk>.<block>.…` with the block counted
 * over the whole network; published backbones are flat, `blocks.<block>.…`. An export also carries wrappers (`module.`, `backbone.`)
 * and the projection heads (`dino_head.`, `ibot_head.`).
 *
 *   flatBlocks(unwrapped(weights))   // 'backbone.blocks.1.7.norm1.weight' -> 'blocks.7.norm1.weight'
 */
import { collect, renamed, unfit, type Weights } from './rows.ts';

const wrappers = ['module', 'backbone'];
const heads = ['dino_head', 'ibot_head'];

const inner = (name: string): readonly string[] => name.split('.').filter((part) => !wrappers.includes(part));

/** Names without the parts that wrappers add, wherever they stand, as the original's evaluation strips them. */
export const unwrapped = (weights: Weights): Weights => renamed(weights, (name) => inner(name).join('.'));

/** true for a tensor of a projection head, wrapped or not. */
const isHead = (name: string): boolean => heads.includes(inner(name)[0] as string);

/** Without the projection heads. */
export const withoutHeads = (weights: Weights): Weights => new Map([...weights].filter(([name]) => !isHead(name)));

const block = /^((?:.*\.)?blocks)\.(\d+)\.(?:(\d+)\.)?(.+)$/;

/** Chunked blocks flat; flat ones stay. FV0406 if both layouts are there or a block is in two chunks. */
export const flatBlocks = (weights: Weights): Weights => {
  const kinds = new Set([...weights.keys()].map((n) => n.match(block)).flatMap((m) => (m ? [m[3] !== undefined] : [])));
  if (kinds.size === 2)
    throw unfit(
      'flat and chunked blocks in one file',
      [...weights.keys()].filter((n) => n.match(block)?.[3] === undefined && block.test(n)),
    );
  return renamed(weights, (name) =>
    name.replace(block, (whole, blocks, _, global, rest) => (global === undefined ? whole : `${blocks}.${global}.${rest}`)),
  );
};

/** Number of blocks of flat names: one more than the largest index. */
export const depthOf = (weights: Weights): number =>
  [...weights.keys()].reduce((depth, name) => Math.max(depth, Number(name.match(/^blocks\.(\d+)\./)?.[1] ?? -1) + 1), 0);

/**
 * Flat blocks in `chunks` groups of depth // chunks blocks, and a further group for what is left: depth 5 in 2 chunks is 2, 2, 1. 0
 * leaves them flat. FV0406 if there are fewer blocks than chunks.
 */
export const chunkedBlocks = (weights: Weights, chunks: number): Weights => {
  const flat = flatBlocks(weights);
  if (chunks === 0) return flat;
  const depth = depthOf(flat);
  const size = Math.floor(depth / chunks);
  if (size === 0) throw unfit(`${chunks} chunks are more than the ${depth} blocks`, [...flat.keys()]);
  return collect(
    [...flat].map(([name, t]) => [name.replace(/^blocks\.(\d+)\./, (_, i) => `blocks.${Math.floor(Number(i) / size)}.${i}.`), t] as const),
  );
};
