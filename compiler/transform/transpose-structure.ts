/**
 * Transposes of the linear primitives without a region. Most come in pairs: slice and pad, broadcast and sum, gather and
 * scatterAdd, concat and slices; reverse, transpose and reshape are undone.
 */
import type { Builder } from '../graph/builder.ts';
import { addDim, type Dim, eqDim, eqShape, subDim } from '../graph/dim.ts';
import type { DType, OpOf, Placement, Prim, Value } from '../graph/types.ts';
import type { AnyLinearSite, LinearSite, TransposeRule } from './transpose.ts';

/** The rule of a primitive with one result, whose cotangent is then not zero. */
const one =
  <S extends AnyLinearSite>(rule: (s: S, ct: Value) => readonly (Value | null)[]) =>
  (s: S): readonly (Value | null)[] =>
    rule(s, s.ct[0] as Value);

/** As `one`, for primitives linear in their first operand. */
const first = <S extends AnyLinearSite>(rule: (s: S, ct: Value, x: Value) => Value) => one<S>((s, ct) => [rule(s, ct, s.x[0] as Value)]);

const axesOf = (v: Value): number[] => v.type.shape.map((_, i) => i);
const permuted = (b: Builder, x: Value, perm: readonly number[]): Value => (perm.every((p, i) => p === i) ? x : b.transpose(x, perm));

/** Sums the axes that the broadcast made or stretched. */
const broadcast = first<LinearSite<'broadcast'>>(({ b, op }, ct, x) => {
  const same = (i: number): boolean => eqDim(x.type.shape[i] as Dim, op.shape[op.axes[i] as number] as Dim);
  const kept = op.axes.filter((_, i) => same(i));
  const summed = b.sum(
    ct,
    axesOf(ct).filter((a) => !kept.includes(a)),
  );
  return eqShape(summed.type.shape, x.type.shape) ? summed : b.reshape(summed, x.type.shape);
});

/**
 * The cotangent of one operand of a dot is the dot of the result's cotangent with the other operand, over the other's
 * free axes. Of the two orders of operands, the one whose axes come out as `of` has them is taken. Operands of different
 * dtypes meet in the wider one; the result is rounded once, to the dtype of `of`.
 */
const dotSide = (b: Builder, op: OpOf<'dot'>, ct: Value, of: Value, other: Value, side: 0 | 1): Value => {
  const far = side === 0 ? 1 : 0;
  const free = (v: Value, s: 0 | 1): number[] => axesOf(v).filter((a) => !op.batch[s].includes(a) && !op.contract[s].includes(a));
  const [mine, theirs] = [free(of, side), free(other, far)];
  const n = op.batch[0].length;
  const shift = side === 0 ? n + mine.length : n;
  const theirsInCt = theirs.map((_, i) => shift + i);
  // the axes of `of` that the dot leaves: batch, then its free axes and those it shared, the latter in the order of `other`
  const shared = axesOf(other)
    .filter((a) => op.contract[far].includes(a))
    .map((a) => op.contract[side][op.contract[far].indexOf(a)] as number);
  const [ctFirst, otherFirst] = [
    [...op.batch[side], ...mine, ...shared],
    [...op.batch[side], ...shared, ...mine],
  ];
  const inverse = (axes: readonly number[]): number[] => axesOf(of).map((a) => axes.indexOf(a));
  const wide: DType = ct.type.dtype === other.type.dtype ? ct.type.dtype : 'f32';
  const [p, q] = [b.cast(ct, wide), b.cast(other, wide)];
  const [ctBatch, dtype] = [op.batch[0].map((_, i) => i), of.type.dtype];
  const swap = !ctFirst.every((a, i) => a === i) && otherFirst.every((a, i) => a === i);
  if (swap) return b.one({ prim: 'dot', batch: [op.batch[far], ctBatch], contract: [theirs, theirsInCt], dtype }, [q, p]);
  const y = b.one({ prim: 'dot', batch: [ctBatch, op.batch[far]], contract: [theirsInCt, theirs], dtype }, [p, q]);
  return permuted(b, y, inverse(ctFirst));
};

/** Replicated and unreduced are each other's dual: the cotangent of a copy held by all is a sum that nobody has made yet. */
const dual = (p: Placement): Placement => (p === 'R' ? 'P' : p === 'P' ? 'R' : p);

export const structureTransposes = {
  neg: first(({ b }, ct) => b.neg(ct)),
  cast: first(({ b }, ct, x) => b.cast(ct, x.type.dtype)),
  add: one((_, ct) => [ct, ct]),
  sub: one(({ b, linear }, ct) => [ct, linear[1] ? b.neg(ct) : null]),
  mul: one(({ b, x: [x, y], linear }, ct) => (linear[0] ? [b.mul(ct, y as Value), null] : [null, b.mul(ct, x as Value)])),
  div: one(({ b, x: [, y] }, ct) => [b.div(ct, y as Value), null]),
  select: one(({ b, x: [c, x], linear }, ct) => {
    const [cond, none] = [c as Value, b.fill(0, (x as Value).type)];
    return [null, linear[1] ? b.select(cond, ct, none) : null, linear[2] ? b.select(cond, none, ct) : null];
  }),
  broadcast,
  reshape: first(({ b }, ct, x) => b.reshape(ct, x.type.shape)),
  transpose: first<LinearSite<'transpose'>>(({ b, op }, ct) =>
    b.transpose(
      ct,
      op.perm.map((_, i) => op.perm.indexOf(i)),
    ),
  ),
  slice: first<LinearSite<'slice'>>(({ b, op }, ct, x) =>
    b.pad(
      ct,
      op.start,
      x.type.shape.map((d, i) => subDim(d, op.limit[i] as Dim)),
    ),
  ),
  pad: first<LinearSite<'pad'>>(({ b, op }, ct, x) =>
    b.slice(
      ct,
      op.low,
      x.type.shape.map((d, i) => addDim(d, op.low[i] as Dim)),
    ),
  ),
  concat: one<LinearSite<'concat'>>(({ b, op, x, linear }, ct) => {
    let from: Dim = 0;
    return x.map((v, k) => {
      const start = v.type.shape.map((_, i) => (i === op.axis ? from : 0));
      const limit = v.type.shape.map((d, i) => (i === op.axis ? addDim(from, d) : d));
      from = addDim(from, v.type.shape[op.axis] as Dim);
      return linear[k] ? b.slice(ct, start, limit) : null;
    });
  }),
  reverse: first(({ b, op }, ct) => b.one(op, [ct])),
  gather: one<LinearSite<'gather'>>(({ b, op, x: [x, i] }, ct) => [
    b.scatterAdd(b.fill(0, (x as Value).type), i as Value, ct, op.axis),
    null,
  ]),
  scatterAdd: one<LinearSite<'scatterAdd'>>(({ b, op, x: [, i], linear }, ct) => [
    ct,
    null,
    linear[2] ? b.gather(ct, i as Value, op.axis) : null,
  ]),
  dot: one<LinearSite<'dot'>>(({ b, op, x, linear }, ct) => {
    const [p, q] = x as [Value, Value];
    return linear[0] ? [dotSide(b, op, ct, p, q, 0), null] : [null, dotSide(b, op, ct, q, p, 1)];
  }),
  reduceSum: first<LinearSite<'reduceSum'>>(({ b, op }, ct, x) =>
    b.broadcast(
      ct,
      x.type.shape,
      axesOf(x).filter((a) => !op.axes.includes(a)),
    ),
  ),
  cumsum: first<LinearSite<'cumsum'>>(({ b, op }, ct) => {
    const flip = (v: Value): Value => b.one({ prim: 'reverse', axes: [op.axis] }, [v]);
    return flip(b.one(op, [flip(ct)]));
  }),
  reshard: first<LinearSite<'reshard'>>(({ b, op }, ct) => b.one({ ...op, from: dual(op.to), to: dual(op.from) }, [ct])),
} satisfies { readonly [P in Prim]?: TransposeRule<P> };
