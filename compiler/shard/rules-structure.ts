/**
 * Rules of views and reductions. A split is a way to cut the row-major order of all elements into parts, each of which is cut evenly among the
 * ranks; a reshape keeps that order, so it keeps a split wherever the parts come out as parts of some axis of the new shape.
 *
 *   reshape f32[8 3] S0[4 4] (two crops of four images)  ->  f32[2 4 3]   S1        reshape f32[2 4 3] S1  ->  f32[8 3]  S0[4 4]
 */
import { prodDim } from '../graph/dim.ts';
import type { Placement, Split, TensorType } from '../graph/types.ts';
import { isPartial, isSplit, partsOf, plainSplit, wholeRows } from './placement.ts';
import { type Rule, type Site, whole } from './rule.ts';

const count = (dims: TensorType['shape']): number => prodDim(dims) as number;

/** Parts in units of elements, over the whole row-major order. */
const flatParts = (t: TensorType, p: Split): readonly number[] => {
  const after = count(t.shape.slice(p.split + 1));
  const parts = partsOf(t, p).map((n) => n * after);
  return Array.from({ length: count(t.shape.slice(0, p.split)) }, () => parts).flat();
};

/** The split of `to` that cuts the elements as `p` does those of `from`. */
const reshaped = (from: TensorType, p: Split, to: TensorType, ranks: number): Split | undefined => {
  const parts = flatParts(from, p);
  for (let axis = 0; axis < to.shape.length; axis++) {
    const [before, after] = [count(to.shape.slice(0, axis)), count(to.shape.slice(axis + 1))];
    if (parts.length % before !== 0) continue;
    const each = parts.length / before;
    const first = parts.slice(0, each);
    if (!first.every((n) => n % (after * ranks) === 0) || first.reduce((a, b) => a + b, 0) !== (to.shape[axis] as number) * after) continue;
    if (parts.every((n, i) => n === first[i % each]))
      return plainSplit(
        axis,
        first.map((n) => n / after),
      );
  }
  return undefined;
};

export const reshape: Rule<'reshape'> = (s) => {
  const [from] = s.from as [Placement];
  if (!isSplit(from)) return { ins: [from], outs: [from] };
  const x = s.types[0] as TensorType;
  // no elements, no parts
  const to = count(x.shape) === 0 ? undefined : reshaped(x, from, s.out[0] as TensorType, s.mesh.ranks);
  return to ? { ins: [from], outs: [to] } : whole(s);
};

/** A number a row of a flat weight: pieces of the numbers are those of the rows. Of other tensors it is cheaper to gather what is stretched. */
const rowByRow = ({ op, types, out, mesh, stored }: Site<'broadcast'>): boolean => {
  const [x, y] = [types[0] as TensorType, out[0] as TensorType];
  const comes = (axis: number): boolean => op.axes.includes(axis) && x.shape[op.axes.indexOf(axis)] === y.shape[axis];
  const gone = y.shape.map((_, axis) => axis).filter((axis) => !comes(axis));
  return stored(y) && wholeRows(y, gone, mesh);
};

export const broadcast: Rule<'broadcast'> = (s) => {
  const [from] = s.from as [Placement];
  const [x, y] = [s.types[0] as TensorType, s.out[0] as TensorType];
  const same = count(x.shape) === count(y.shape) || (from === 'flat' && rowByRow(s));
  // cheaper to add up, and to gather, before it is stretched
  if (!isSplit(from)) return same ? { ins: [from], outs: [from] } : whole(s);
  return { ins: [from], outs: [plainSplit(s.op.axes[from.split] as number, partsOf(x, from))] };
};

export const transpose: Rule<'transpose'> = (s) => {
  const [from] = s.from as [Placement];
  if (from === 'flat') return whole(s);
  if (!isSplit(from)) return { ins: [from], outs: [from] };
  return { ins: [from], outs: [plainSplit(s.op.perm.indexOf(from.split), partsOf(s.types[0] as TensorType, from))] };
};

/** The parts between two places of an axis, if both are ends of parts. */
const between = (parts: readonly number[], start: number, limit: number): readonly number[] | undefined => {
  const found: number[] = [];
  let at = 0;
  for (const n of parts) {
    if (at >= start && at + n <= limit) found.push(n);
    at += n;
  }
  const before = parts.reduce((sum, n) => (sum < start ? sum + n : sum), 0);
  return before === start && found.reduce((a, b) => a + b, 0) === limit - start && found.length > 0 ? found : undefined;
};

export const slice: Rule<'slice'> = (s) => {
  const [from] = s.from as [Placement];
  if (from === 'flat') return whole(s);
  if (!isSplit(from)) return { ins: [from], outs: [from] };
  const a = from.split;
  const parts = between(partsOf(s.types[0] as TensorType, from), s.op.start[a] as number, s.op.limit[a] as number);
  return parts ? { ins: [from], outs: [plainSplit(a, parts)] } : whole(s);
};

export const pad: Rule<'pad'> = (s) => {
  const [from] = s.from as [Placement];
  if (from === 'P' && s.op.value === 0) return { ins: [from], outs: [from] };
  if (!isSplit(from)) return whole(s);
  const a = from.split;
  const [low, high] = [s.op.low[a] as number, s.op.high[a] as number];
  const own = partsOf(s.types[0] as TensorType, from);
  const size = s.out[0]?.shape[a] as number;
  if (low === 0 && high === 0) return { ins: [from], outs: [from] };
  const fits = (parts: readonly number[]): boolean => {
    const mine = between(parts, low, size - high);
    return mine !== undefined && mine.length === own.length && mine.every((n, i) => n === own[i]);
  };
  const parts = s.known.find((k) => k.reduce((x, y) => x + y, 0) === size && fits(k)) ?? [low, ...own, high].filter((n) => n > 0);
  return parts.every((n) => n % s.mesh.ranks === 0) ? { ins: [from], outs: [plainSplit(a, parts)] } : whole(s);
};

export const concat: Rule<'concat'> = (s) => {
  const a = s.op.axis;
  const at = s.from.findIndex(isSplit);
  const first = s.from[at];
  if (!first || !isSplit(first)) return s.from.every((p) => p === 'P') ? { ins: s.from, outs: ['P'] } : whole(s);
  if (first.split !== a) {
    const p = plainSplit(first.split, partsOf(s.types[at] as TensorType, first));
    return { ins: s.from.map(() => p), outs: [p] };
  }
  // along the split axis each operand is cut on its own
  const ins = s.types.map((t, i): Split | undefined => {
    const p = s.from[i] as Placement;
    if (isSplit(p) && p.split === a) return p;
    return (t.shape[a] as number) % s.mesh.ranks === 0 ? { split: a } : undefined;
  });
  if (!ins.every((p) => p !== undefined)) return whole(s);
  const parts = ins.flatMap((p, i) => ((s.types[i] as TensorType).shape[a] === 0 ? [] : partsOf(s.types[i] as TensorType, p)));
  return { ins: ins.map((p, i) => ((s.types[i] as TensorType).shape[a] === 0 ? 'R' : p)), outs: [plainSplit(a, parts)] };
};

/** Along the axes of `op` everything is needed at once, along others nothing is. */
const along =
  (axes: readonly number[]): Rule<'reverse' | 'cumsum'> =>
  (s) => {
    const [from] = s.from as [Placement];
    if (isSplit(from)) return axes.includes(from.split) ? whole(s) : { ins: [from], outs: [from] };
    return from === 'P' ? { ins: [from], outs: [from] } : whole(s);
  };
export const reverse: Rule<'reverse'> = (s) => along(s.op.axes)(s);
export const cumsum: Rule<'cumsum'> = (s) => along([s.op.axis])(s);

/** The placement of a tensor whose axes `gone` disappear; `from` is split along another one. */
export const without = (from: Split, gone: readonly number[]): Split => ({
  ...from,
  split: from.split - gone.filter((a) => a < from.split).length,
});

/**
 * Of the axes that disappear every rank reduces its own part: what is left are terms. Of a flat tensor whose pieces are whole rows, pieces of the
 * result: the norms of weight normalisation need no other rank.
 */
export const reduction =
  (term: 'P' | 'max' | 'min'): Rule<'reduceSum' | 'reduceMax' | 'reduceMin'> =>
  (s) => {
    const [from] = s.from as [Placement];
    const t = s.types[0] as TensorType;
    if (isSplit(from)) return { ins: [from], outs: [s.op.axes.includes(from.split) ? term : without(from, s.op.axes)] };
    if (from === 'flat' && term === 'P' && s.op.axes.length === t.shape.length) return { ins: [from], outs: ['P'] };
    if (from === 'flat' && s.op.axes.length < t.shape.length && wholeRows(t, s.op.axes, s.mesh)) return { ins: [from], outs: [from] };
    if (isPartial(from) && from === term) return { ins: [from], outs: [from] };
    return whole(s);
  };
