/**
 * Placements and the types that they give a rank. The mesh has `ranks` ranks in groups of `shard` neighbours: batches are split over all ranks,
 * what is `flat` over the ranks of a group, and each group has all of it. With one group that is FSDP, with groups of one it is data parallelism.
 *
 *   f32[8 3] on 4 ranks:   R f32[8 3]   S0 f32[2 3]   S0[4 4] f32[2 3], rows 0 and 4 on rank 0   flat f32[6]   P f32[8 3], a term of the sum
 */
import { FoveaError } from '../error.ts';
import { known } from '../graph/dim.ts';
import { placement as show } from '../graph/print.ts';
import { countOf, sizesOf } from '../graph/tensor64.ts';
import type { Placement, Split, TensorType } from '../graph/types.ts';

export interface Mesh {
  readonly ranks: number;
  /** Ranks among which parameters are split: a divisor of `ranks`. */
  readonly shard: number;
}

export const isSplit = (p: Placement): p is Split => typeof p === 'object';
/** Every rank holds a term: of a sum, or of a maximum or minimum. */
export const isPartial = (p: Placement): p is 'P' | 'max' | 'min' => p === 'P' || p === 'max' || p === 'min';

/** The parts of a split axis, spelled out. */
export const partsOf = (t: TensorType, p: Split): readonly number[] => p.parts ?? [known(t.shape[p.split] ?? 0)];

export const samePlacement = (t: TensorType, a: Placement, b: Placement): boolean => {
  if (!isSplit(a) || !isSplit(b)) return a === b;
  const [x, y] = [partsOf(t, a), partsOf(t, b)];
  return a.split === b.split && x.length === y.length && x.every((n, i) => n === y[i]);
};

/** The placement with one part as no list: how it is printed. */
export const plainSplit = (split: number, parts: readonly number[]): Split => (parts.length === 1 ? { split } : { split, parts });

/** Elements of a flat tensor on each rank: the last piece may be padding in part. */
export const pieceOf = (t: TensorType, { shard }: Mesh): number => Math.ceil(countOf(t) / shard);

/**
 * Whether each piece of a flat tensor is whole rows, of which the axes `gone` are what a row holds: those behind all others, and the rows divide evenly.
 * f32[8 3] on 4 ranks, gone [1]: two rows a piece.
 */
export const wholeRows = (t: TensorType, gone: readonly number[], { shard }: Mesh): boolean => {
  const sizes = sizesOf(t);
  const long = sizes.map((_, axis) => axis).filter((axis) => sizes[axis] !== 1);
  const first = long.findIndex((axis) => gone.includes(axis));
  const rows = sizes.reduce((n, d, axis) => (gone.includes(axis) ? n : n * d), 1);
  return countOf(t) > 0 && rows % shard === 0 && (first < 0 || long.slice(first).every((axis) => gone.includes(axis)));
};

/** Whether a tensor can lie so, its parts being those of an axis: each of them is a multiple of the ranks. */
export const canLie = (t: TensorType, p: Placement, { ranks }: Mesh): boolean =>
  !isSplit(p) || partsOf(t, p).every((n) => n > 0 && n % ranks === 0);

/** What a rank holds. */
export const localType = (t: TensorType, p: Placement, mesh: Mesh): TensorType => {
  if (p === 'flat') return { dtype: t.dtype, shape: [pieceOf(t, mesh)] };
  if (!isSplit(p)) return t;
  return { dtype: t.dtype, shape: sizesOf(t).map((d, i) => (i === p.split ? d / mesh.ranks : d)) };
};

/** Throws FV0701 for a mesh that is none, and for groups that do not divide it. */
export const checkMesh = ({ ranks, shard }: Mesh): void => {
  const count = (n: number): boolean => Number.isSafeInteger(n) && n > 0;
  if (!count(ranks) || !count(shard) || ranks % shard !== 0)
    throw new FoveaError('FV0701', `a mesh of ${ranks} ranks in groups of ${shard}`, {
      hint: 'The number of ranks is a multiple of the size of a group; both are whole numbers from 1.',
    });
};

/** What is wrong with a placement as a plan without types may give it. */
const malformed = (t: TensorType, p: unknown): string | undefined => {
  if (typeof p === 'string') return ['R', 'P', 'max', 'min', 'flat'].includes(p) ? undefined : 'it is no placement';
  if (typeof p !== 'object' || p === null || !('split' in p)) return 'it is no placement';
  const { split, parts } = p as { readonly split: unknown; readonly parts?: unknown };
  const size = typeof split === 'number' ? t.shape[split] : undefined;
  if (size === undefined) return `it has ${t.shape.length} axes, and none at ${split}: they count from 0`;
  if (parts === undefined) return undefined;
  if (!Array.isArray(parts) || parts.length === 0 || !parts.every((n) => typeof n === 'number')) return 'parts is no list of sizes';
  return parts.reduce((a, b) => a + b, 0) === size ? undefined : `its parts do not add up to the ${size} of axis ${split}`;
};

/** Throws FV0702 for a tensor that cannot lie as a plan says, and for a placement that is none. */
export const checkPlacement = (what: string, t: TensorType, p: Placement, mesh: Mesh): void => {
  const wrong = malformed(t, p);
  const refuse = (why: string, hint: string): never => {
    const asked = wrong === undefined ? show(p) : (JSON.stringify(p) ?? String(p));
    throw new FoveaError('FV0702', `${what}, ${t.dtype}[${t.shape.join(' ')}], cannot be ${asked} on ${mesh.ranks} ranks: ${why}`, {
      hint,
    });
  };
  if (wrong !== undefined)
    refuse(wrong, "Known: 'R', 'flat', { split: axis }, and { split: axis, parts: [sizes] } that add up to the axis.");
  if (isPartial(p)) refuse('no rank has it as it is', 'Give it whole (R), or as a part.');
  if (p === 'flat' && countOf(t) < mesh.shard)
    refuse(`it has ${countOf(t)} elements for ${mesh.shard} ranks`, 'Leave it whole on every rank (R), or use smaller groups.');
  if (!canLie(t, p, mesh))
    refuse('a part of the axis is no multiple of the ranks', 'Choose a batch that every rank has an equal share of.');
};
