/**
 * One rule a primitive: given where the operands lie, where should they lie, and where do the results lie then? What differs from where an
 * operand lies is moved by a reshard, which propagate.ts inserts. A rule only ever costs bytes, never the result, up to rounding: every operand may be
 * asked for as R, and then a primitive computes what it computes on one device. What a sum passes through takes finite factors for granted: terms
 * times an infinite one are NaN where they are zero or of two signs, and the sum times it is Infinity on one device.
 *
 *   dot(x: S0, w: flat)          ->  x: S0, w: R,  result S0        a forward pass: the weight is gathered
 *   dot(x: S0, dy: S0) over 0    ->  result P                       the gradient of a weight
 *   sub(p: flat, step: P)        ->  step: flat, result flat        the optimizer: the gradient is reduced and scattered
 */
import { isFloat, type Op, type Placement, type Prim, type TensorType } from '../graph/types.ts';
import { isPartial, isSplit, partsOf, plainSplit, samePlacement } from './placement.ts';
import { type Choice, type Rule, type Site, whole } from './rule.ts';
import { argmax, contraction, gatherRows, scatterRows } from './rules-contract.ts';
import { broadcast, concat, cumsum, pad, reduction, reshape, reverse, slice, transpose } from './rules-structure.ts';

const alike = (s: Site, p: Placement): Choice => ({ ins: s.types.map(() => p), outs: s.out.map(() => p) });

type Linear = 'no' | 'each' | 'joint' | 'first' | 'either';
/**
 * Operands and result of one shape. What a sum passes through: `each` f(x) of one operand, `joint` x + y, `first` x / c, `either` x c.
 * Floats only where a division or a widening would not be exact in integers.
 */
const pointwise =
  (linear: Linear): Rule<Prim> =>
  (s) => {
    const split = s.from.find(isSplit);
    if (split) {
      const i = s.from.indexOf(split);
      return alike(s, plainSplit(split.split, partsOf(s.types[i] as TensorType, split)));
    }
    if (s.from.includes('flat')) return alike(s, 'flat');
    const partial = s.from.some(isPartial);
    const sums = s.from.map((p) => p === 'P');
    const whole = s.from.map((p) => p === 'R');
    const passes = ((): boolean => {
      if (linear === 'each') return sums[0] === true;
      if (linear === 'joint') return sums.every(Boolean);
      const later = (linear === 'either' && sums[1] && whole[0]) || (sums[0] && whole[1]);
      return (linear === 'either' || linear === 'first') && later === true;
    })();
    // a gradient is reduced once, to where it is wanted, before it is scaled or squared; sums of gradients come first
    const wanted = s.wanted ?? s.wantedIn.find((w, i) => w && isPartial(s.from[i] as Placement));
    if (wanted && partial && !(passes && linear === 'joint')) return alike(s, wanted);
    if (passes) return { ins: s.from, outs: ['P'] };
    return alike(s, 'R');
  };

const cast: Rule<'cast'> = (s) => {
  // a term that is rounded is no longer a term of the rounded sum
  const from = (s.types[0] as TensorType).dtype;
  const exact = (isFloat(from) && s.op.dtype === 'f32') || from === s.op.dtype;
  return pointwise(exact ? 'each' : 'no')(s);
};
const product: Rule<'mul'> = (s) => pointwise('either')(s);
const quotient: Rule<'div'> = (s) => pointwise(isFloat((s.types[0] as TensorType).dtype) ? 'first' : 'no')(s);
const select: Rule<'select'> = (s) => {
  const terms = s.from[0] === 'R' && s.from[1] === 'P' && s.from[2] === 'P';
  return terms && !s.wanted ? { ins: s.from, outs: ['P'] } : pointwise('no')(s);
};
const no = pointwise('no');
const each = pointwise('each');
const joint = pointwise('joint');

/** A region that every rank runs on its share, if nothing has to be moved inside; otherwise all run all of it. */
const call: Rule<'call'> = (s) => {
  const outs = s.from.some(isSplit) && !s.from.some((p) => isPartial(p) || p === 'flat') ? s.region(s.from) : undefined;
  return outs && !outs.some(isPartial) ? { ins: s.from, outs } : whole(s);
};
const perShard: Rule<'perShard'> = (s) => {
  const shards = s.types[0]?.shape[0] as number;
  return shards % s.mesh.ranks === 0 && shards > 0 ? alike(s, { split: 0 }) : whole(s);
};
const late: Rule<Prim> = () => {
  throw new Error('internal: the program is one for a rank already');
};

export const shardRules: { readonly [P in Prim]: Rule<P> } = {
  const: whole,
  array: whole,
  iota: whole,
  neg: each,
  exp: no,
  log: no,
  sin: no,
  cos: no,
  tanh: no,
  sqrt: no,
  rsqrt: no,
  erf: no,
  abs: no,
  sign: no,
  floor: no,
  not: no,
  cast,
  stopGradient: each,
  add: joint,
  sub: joint,
  mul: product,
  div: quotient,
  pow: no,
  max: no,
  min: no,
  rem: no,
  and: no,
  or: no,
  xor: no,
  shiftLeft: no,
  shiftRight: no,
  compare: no,
  select,
  broadcast,
  reshape,
  transpose,
  slice,
  pad,
  concat,
  reverse,
  gather: gatherRows,
  scatterAdd: scatterRows,
  dot: contraction,
  reduceSum: reduction('P'),
  reduceMax: reduction('max'),
  reduceMin: reduction('min'),
  argmax,
  cumsum,
  randomBits: whole,
  call,
  scan: whole,
  reshard: each,
  axisIndex: whole,
  perShard,
  collective: late,
  start: late,
  wait: late,
};

export const choose = (op: Op, site: Omit<Site, 'op'>): Choice => {
  const choice = (shardRules[op.prim] as Rule<Prim>)({ ...site, op } as Site);
  // an operand that lies as it should keeps the name that it has for where it lies
  return {
    ins: choice.ins.map((p, i) =>
      samePlacement(site.types[i] as TensorType, p, site.from[i] as Placement) ? (site.from[i] as Placement) : p,
    ),
    outs: choice.outs,
  };
};
