/**
 * Blocks in groups, as DINOv2 lays them out for sharding: with `chunks` groups of depth / chunks blocks (rounded down, so that a depth
 * which does not divide gives more groups), a block keeps its number in the network: `blocks.<group>.<block>`. Results do not depend
 * on the layout; names, and so checkpoints, do.
 *
 *   blockPaths({ depth: 5, chunks: 2 })   ->   ['0.0', '0.1', '1.2', '1.3', '2.4']
 */
import { FoveaError } from '../../compiler/error.ts';
import { repeat } from '../../dsl/index.ts';
import { type BlockConfig, block } from './block.ts';

interface Layout {
  readonly depth: number;
  readonly chunks?: number;
}

/** Blocks of a group; 0 in the flat layout. FV0408 for more groups than blocks. */
const groupSize = ({ depth, chunks = 0 }: Layout): number => {
  if (chunks === 0) return 0;
  const size = Math.floor(depth / chunks);
  if (!(size >= 1))
    throw new FoveaError('FV0408', `${depth} blocks cannot lie in ${chunks} groups`, {
      hint: 'Give at most one group a block, or 0 for a flat list.',
    });
  return size;
};

/** Of every block in order, its path below `blocks`. */
export const blockPaths = (c: Layout): readonly string[] => {
  const size = groupSize(c);
  return Array.from({ length: c.depth }, (_, i) => (size === 0 ? `${i}` : `${Math.floor(i / size)}.${i}`));
};

/**
 * The blocks of a parameter tree: a list, or a list of records whose keys are block numbers. The type is that of the flat layout, which
 * is what nearly everything is written for; `inOrder` reads both.
 */
export const chunked = (c: BlockConfig & Layout) => {
  const flat = repeat(c.depth, () => block(c));
  const size = groupSize(c);
  if (size === 0) return flat;
  const groups = Array.from({ length: Math.ceil(c.depth / size) }, (_, g) =>
    Object.fromEntries(flat.slice(g * size, (g + 1) * size).map((b, i) => [`${g * size + i}`, b])),
  );
  return groups as unknown as typeof flat;
};

const isGroup = (x: object): boolean => Object.keys(x).every((k) => /^\d+$/.test(k));

/** Blocks (or what stands for them) in network order, from either layout. */
export const inOrder = <B>(blocks: readonly unknown[]): readonly B[] =>
  blocks.flatMap((b) => (typeof b === 'object' && b !== null && isGroup(b) ? Object.values(b) : [b])) as readonly B[];
