/**
 * Rules of what reads an axis at several places at once: contractions, gather, scatterAdd, argmax.
 *
 *   dot  rows of x split, w whole     ->  rows of the result split              batch axis split on both  ->  so is that of the result
 *        contracted axis split on both ->  P: every rank adds up its own rows
 */
import { prodDim } from '../graph/dim.ts';
import type { OpOf, Placement, Split, TensorType } from '../graph/types.ts';
import { isSplit, partsOf, plainSplit } from './placement.ts';
import { type Rule, type Site, whole } from './rule.ts';
import { without } from './rules-structure.ts';

type Role = { readonly kind: 'batch' | 'contract'; readonly k: number } | { readonly kind: 'free'; readonly at: number };

/** What the axis of one side does, and for a free one where it stands in the result. */
const roleOf = (s: Site<'dot'>, side: 0 | 1, axis: number): Role => {
  const { batch, contract } = s.op as OpOf<'dot'>;
  const k = batch[side].indexOf(axis);
  if (k >= 0) return { kind: 'batch', k };
  const c = contract[side].indexOf(axis);
  if (c >= 0) return { kind: 'contract', k: c };
  const free = (i: 0 | 1): number[] =>
    (s.types[i] as TensorType).shape.map((_, a) => a).filter((a) => !batch[i].includes(a) && !contract[i].includes(a));
  return { kind: 'free', at: batch[0].length + (side === 1 ? free(0).length : 0) + free(side).indexOf(axis) };
};

export const contraction: Rule<'dot'> = (s) => {
  const { batch, contract } = s.op;
  /** The contraction cut along the axis along which one side is split. */
  const by = (side: 0 | 1, p: Split) => {
    const role = roleOf(s, side, p.split);
    const parts = partsOf(s.types[side] as TensorType, p);
    const ins: [Placement, Placement] = side === 0 ? [p, 'R'] : ['R', p];
    if (role.kind === 'free') return { ins, outs: [plainSplit(role.at, parts)] };
    const axes = role.kind === 'batch' ? batch : contract;
    ins[1 - side] = plainSplit(axes[1 - side]?.[role.k] as number, parts);
    return { ins, outs: [role.kind === 'batch' ? plainSplit(role.k, parts) : ('P' as const)] };
  };
  const [x, y] = s.from as [Placement, Placement];
  if (isSplit(x) || isSplit(y)) {
    const size = (t: TensorType | undefined): number => prodDim(t?.shape ?? []) as number;
    const left = isSplit(x) && (!isSplit(y) || size(s.types[0]) >= size(s.types[1]));
    return left ? by(0, x) : by(1, y as Split);
  }
  if ((x === 'P' && y === 'R') || (x === 'R' && y === 'P')) return { ins: s.from, outs: ['P'] };
  return whole(s);
};

export const gatherRows: Rule<'gather'> = (s) => {
  const [x, i] = s.from as [Placement, Placement];
  const { axis } = s.op;
  const [t, list] = s.types as readonly [TensorType, TensorType];
  if (isSplit(i)) return { ins: ['R', i], outs: [plainSplit(axis + i.split, partsOf(list, i))] };
  if (isSplit(x) && x.split !== axis) {
    const at = x.split < axis ? x.split : x.split - 1 + list.shape.length;
    return { ins: [x, 'R'], outs: [plainSplit(at, partsOf(t, x))] };
  }
  return x === 'P' ? { ins: ['P', 'R'], outs: ['P'] } : whole(s);
};

export const scatterRows: Rule<'scatterAdd'> = (s) => {
  const [x, i, u] = s.from as [Placement, Placement, Placement];
  const { axis } = s.op;
  const [t, list, added] = s.types as readonly [TensorType, TensorType, TensorType];
  const rank = list.shape.length;
  /** Every rank adds its own rows to a term. */
  const terms = (p: Split) => ({ ins: ['P', p, plainSplit(p.split + axis, partsOf(list, p))] as const, outs: ['P'] as const });
  if (isSplit(i)) return terms(i);
  if (isSplit(u)) {
    const parts = partsOf(added, u);
    if (u.split >= axis && u.split < axis + rank) return terms(plainSplit(u.split - axis, parts));
    const p = plainSplit(u.split < axis ? u.split : u.split - rank + 1, parts);
    return { ins: [p, 'R', u], outs: [p] };
  }
  if (isSplit(x) && x.split !== axis) {
    const p = plainSplit(x.split < axis ? x.split : x.split + rank - 1, partsOf(t, x));
    return { ins: [x, 'R', p], outs: [x] };
  }
  return x === 'P' || u === 'P' ? { ins: ['P', 'R', 'P'], outs: ['P'] } : whole(s);
};

export const argmax: Rule<'argmax'> = (s) => {
  const [from] = s.from as [Placement];
  return isSplit(from) && from.split !== s.op.axis ? { ins: [from], outs: [without(from, [s.op.axis])] } : whole(s);
};
