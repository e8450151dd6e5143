/**
 * What every template starts from: the group, which node makes a value, and where values lie in memory. Buffers are
 * named by position (b0, b1, ...: inputs, then outputs), so that equal work prints to equal kernels wherever it occurs.
 */

import type { Node, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import type { Schedules, Target } from '../target.ts';
import type { Affine, Indices } from './affine.ts';
import { linear } from './affine.ts';
import type { Code } from './code.ts';
import { type Emitter, emitter, indexOf, type Place, shapeOf, sizeOf, stored } from './emit.ts';
import type { Group } from './group.ts';

export interface Job {
  readonly group: Group;
  readonly target: Target;
  /** Records that go before a template's own choice. */
  readonly schedules: Schedules;
  readonly maker: (v: Value) => Node | undefined;
  readonly place: (v: Value) => Place | undefined;
  readonly outputs: readonly { readonly value: Value; readonly name: string }[];
}

export const jobOf = (group: Group, target: Target, schedules: Schedules): Job => {
  const makers = new Map<Value, Node>();
  for (const n of group.nodes) for (const o of n.outputs) makers.set(o, n);
  const places = new Map<Value, Place>();
  group.inputs.forEach((v, i) => {
    places.set(v, { name: `b${i}`, dtype: v.type.dtype, size: sizeOf(v) });
  });
  const first = group.inputs.length;
  return {
    group,
    target,
    schedules,
    maker: (v) => makers.get(v),
    place: (v) => places.get(v),
    outputs: group.outputs.map((value, i) => ({ value, name: `b${first + i}` })),
  };
};

export type Given = (v: Value, ix: readonly Affine[]) => Expr | undefined;

export const emitterOf = (job: Job, indices: Indices, given?: Given): Emitter =>
  emitter(given ? { indices, maker: job.maker, place: job.place, given } : { indices, maker: job.maker, place: job.place });

/**
 * Where element `p` of `root`, which the kernel computes, stands in a value of the group: in transposes and casts of it, too, so that they are
 * stored from the same registers.
 */
export const homes = (job: Job, indices: Indices, root: Value, p: Affine): ((v: Value) => readonly Affine[]) => {
  const home = (v: Value): readonly Affine[] => {
    const n = v === root ? undefined : job.maker(v);
    const from = n?.inputs[0];
    if (from && n.op.prim === 'cast') return home(from);
    if (from && n.op.prim === 'reshape') return indexOf(indices, v, linear(home(from), shapeOf(from)));
    if (from && n.op.prim === 'transpose') {
      const inner = home(from);
      return n.op.perm.map((a) => inner[a] as Affine);
    }
    return indexOf(indices, v, p);
  };
  return home;
};

/** An output element (or vector of them) to be stored. */
export interface Write {
  readonly name: string;
  readonly value: Value;
  readonly ix: readonly Affine[];
}

/** Computes and stores all of `writes`; the index of each must be the same or consecutive in the lanes. */
export const storeAll = (code: Code, indices: Indices, em: Emitter, writes: readonly Write[]): void => {
  const values = writes.map((w) => em.at(w.value, w.ix));
  const wheres = writes.map((w) => indices.view(linear(w.ix, shapeOf(w.value))).expr);
  const bound = code.bind([...values, ...wheres, ...(indices.mask ? [indices.mask] : [])]);
  const mask = indices.mask && bound.at(-1);
  writes.forEach((w, i) => {
    const x = bound[i] as Expr;
    const lanes = indices.lanes;
    code.store(w.name, bound[writes.length + i] as Expr, stored(e.splat(x, lanes), w.value.type.dtype), mask);
  });
};

/** Most lanes that a vector of 32-bit numbers has on the target, and that `n` elements fill at least once. */
export const lanesFor = (target: Target, n: number): number => {
  let lanes = 1;
  while (lanes * 2 * 4 <= target.vectorBytes && lanes * 2 <= n) lanes *= 2;
  return lanes;
};

const gridLimit = 65535;
/** A grid of at least `n` blocks on axes 1 and 2 (axis 0 is for chunks of a row), and the number of this block on them. */
export const rowBlocks = (n: number): { readonly y: number; readonly z: number; readonly id: Expr; readonly exact: boolean } => {
  if (n <= gridLimit) return { y: n, z: 1, id: n === 1 ? e.index(0) : e.block(1), exact: true };
  const z = Math.ceil(n / gridLimit);
  const y = Math.ceil(n / z);
  return { y, z, id: e.add(e.mul(e.block(2), y), e.block(1)), exact: y * z === n };
};
