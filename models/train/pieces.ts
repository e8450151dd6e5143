/**
 * What a rank holds of a run's state, for a checkpoint: pieces of what is flat, and on rank 0 what is whole on every rank. Together the ranks'
 * pieces are the state once.
 */
import { type CompileReport, type Device, flatten, type HostOf, type HostTensor } from '../../index.ts';
import type { Piece } from '../checkpoint/index.ts';
import type { State } from '../dinov2/types.ts';

/** Names and whole shapes of the leaves, in the order in which a step takes them. */
export type Shapes = ReadonlyMap<string, readonly number[]>;
export const shapesOf = (state: HostOf<State>): Shapes =>
  new Map(flatten(state).map(({ path, leaf }) => [path, (leaf as HostTensor).shape]));

export const piecesOf = async (
  state: Device<State>,
  shapes: Shapes,
  rank: number,
  layout: CompileReport['layout'],
): Promise<ReadonlyMap<string, Piece>> => {
  const out = new Map<string, Piece>();
  const shard = layout?.mesh.shard ?? 1;
  const placements = new Map([...shapes.keys()].map((path, i) => [path, layout?.inputs[i]]));
  for (const { path, leaf } of flatten(state)) {
    const shape = shapes.get(path) as readonly number[];
    const flat = placements.get(path) === 'flat';
    // groups beyond the first hold copies
    if (flat ? rank >= shard : rank > 0) continue;
    const { data, dtype } = await (leaf as { read(): Promise<HostTensor> }).read();
    const count = shape.reduce((a, b) => a * b, 1);
    const from = flat ? Math.min(count, rank * data.length) : 0;
    // the last pieces may be padding in part
    out.set(path, { shape, dtype, from, data: data.subarray(0, count - from) as Piece['data'] });
  }
  return out;
};
