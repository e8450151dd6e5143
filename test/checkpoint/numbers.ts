/** Tensors of several shapes whose numbers follow from a step, whole and in the pieces of ranks. */
import type { Piece } from '../../models/checkpoint/index.ts';
import { type Random, stream } from '../../models/data/random.ts';

const shapes: Readonly<Record<string, readonly number[]>> = {
  'a.weight': [37, 101],
  'a.bias': [101],
  'b.few': [3],
  scalar: [],
  none: [0, 4],
  big: [20_000],
};

export const wholeOf = (step: number): ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }> =>
  new Map(
    Object.entries(shapes).map(([name, shape], i) => {
      const random: Random = stream(step, i);
      return [name, { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random()) }] as const;
    }),
  );

/** As FSDP splits: pieces of equal length, the last ones short or empty; scalars on rank 0. */
export const piecesOf = (step: number, rank: number, ranks: number): ReadonlyMap<string, Piece> =>
  new Map(
    [...wholeOf(step)].flatMap(([name, { shape, data }]): [string, Piece][] => {
      if (shape.length === 0 && rank > 0) return [];
      const each = shape.length === 0 ? 1 : Math.ceil(data.length / ranks);
      const from = Math.min(data.length, rank * each);
      return [[name, { shape, dtype: 'f32', from, data: data.subarray(from, from + each) }]];
    }),
  );
