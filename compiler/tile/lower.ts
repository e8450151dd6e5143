/**
 * From a group to a kernel: the table of templates, and what they share (buffers, counts, names). The kernel's name says
 * what it computes, never where, so that equal blocks of a model share one kernel.
 *
 *   group map: mul add, reads x[8 384] s[384] y[8 384], writes z[8 384]
 *     ->  kernel map_mul_add(b0: f32[3072] read, b1: f32[384] read, b2: f32[3072] read, b3: f32[3072] write) grid=[2 1 1] ...
 */

import { opKey } from '../graph/identity.ts';
import { bytesOf, type Node, type Value } from '../graph/types.ts';
import type { Kernel } from '../kernel/types.ts';
import type { Schedules, Target } from '../target.ts';
import { lowerContraction } from './contraction.ts';
import { lowerCumsum } from './cumsum.ts';
import { shapeOf, sizeOf } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import { type Group, primsOf, type Template, views } from './group.ts';
import { type Job, jobOf } from './job.ts';
import { lowerMap } from './map.ts';
import { lowerReduce } from './reduce.ts';
import { lowerScatter } from './scatter.ts';
import type { Choice } from './schedules.ts';
import { lowerStream } from './stream.ts';
import { lowerStreamGrad } from './stream-grad.ts';
import { lowerStreamGradMatrix } from './stream-grad-matrix.ts';
import { lowerStreamGradShared } from './stream-grad-shared.ts';
import { lowerStreamMatrix } from './stream-matrix.ts';
import { lowerStreamReduce } from './stream-reduce.ts';
import { lowerStreamShared } from './stream-shared.ts';
import { lowerStreamWgmma } from './stream-wgmma.ts';

export interface Lowered {
  readonly kernel: Kernel;
  /** The value that each buffer of the kernel holds. */
  readonly buffers: readonly Value[];
  /** Arithmetic operations and bytes moved, by count. */
  readonly flops: number;
  readonly bytes: number;
  readonly label: string;
  /** As in Lowering. */
  readonly flat: boolean;
  readonly choice?: Choice;
}

const templates: { readonly [T in Exclude<Template, 'transfer'>]: (job: Job) => Lowering } = {
  map: lowerMap,
  reduce: lowerReduce,
  gemm: lowerContraction,
  stream: (job) =>
    job.target.maxThreads > 1 ? (lowerStreamWgmma(job) ?? lowerStreamMatrix(job) ?? lowerStreamShared(job)) : lowerStream(job),
  'stream-grad': (job) => (job.target.maxThreads > 1 ? (lowerStreamGradMatrix(job) ?? lowerStreamGradShared(job)) : lowerStreamGrad(job)),
  'stream-reduce': lowerStreamReduce,
  scatter: lowerScatter,
  cumsum: lowerCumsum,
};

/** Arithmetic of a node, by count. */
export const flopsOf = (n: Node): number => {
  if (views.has(n.op.prim)) return 0;
  const size = (v: Value | undefined): number => (v ? sizeOf(v) : 0);
  if (n.op.prim === 'dot') {
    const a = n.inputs[0] as Value;
    const k = n.op.contract[0].reduce((p, axis) => p * (shapeOf(a)[axis] as number), 1);
    return 2 * k * size(n.outputs[0]);
  }
  if (n.op.prim === 'call') {
    // the contractions: two forward, five backward
    const [, q, k, v] = n.inputs as readonly [Value, Value, Value, Value];
    const pairs = (size(q) / (shapeOf(q).at(-1) as number)) * (shapeOf(k).at(-2) as number);
    const [inner, outer] = [shapeOf(k).at(-1) as number, shapeOf(v).at(-1) as number];
    return 2 * pairs * (n.op.tag === 'fovea.attention' ? inner + outer : 3 * inner + 2 * outer);
  }
  if (n.op.prim === 'randomBits') return 130 * size(n.outputs[0]);
  return Math.max(size(n.outputs[0]), size(n.inputs[0]));
};

const none: Schedules = new Map();

const lowering = (group: Group, target: Target, schedules: Schedules): Lowering => {
  if (group.template === 'transfer') throw new Error('internal: a transfer is no kernel');
  return templates[group.template](jobOf(group, target, schedules));
};

/** Of schedules, a template takes the record of its key, if that is legal, and what its model chooses otherwise. */
export const lower = (group: Group, target: Target, schedules = none): Lowered => {
  const empty: Lowering = { grid: [1, 1, 1], threads: 1, body: [] };
  const {
    grid,
    threads,
    body,
    flat = false,
    choice,
  } = group.outputs.every((v) => sizeOf(v) === 0) ? empty : lowering(group, target, schedules);
  const buffers = [...group.inputs, ...group.outputs];
  const prims = primsOf(group);
  const name = [group.template, ...new Set(prims)].join('_').replace(/\W/g, '_').slice(0, 48);
  const access = (i: number): Kernel['buffers'][number]['access'] =>
    i < group.inputs.length ? 'read' : group.template === 'scatter' ? 'readwrite' : 'write';
  return {
    kernel: {
      name,
      buffers: buffers.map((v, i) => ({ name: `b${i}`, dtype: v.type.dtype, size: sizeOf(v), access: access(i) })),
      grid,
      threads,
      body,
    },
    buffers,
    flat,
    ...(choice ? { choice } : {}),
    flops: group.nodes.reduce((sum, n) => sum + flopsOf(n), 0),
    bytes: buffers.reduce((sum, v) => sum + sizeOf(v) * bytesOf[v.type.dtype], 0),
    label: `${group.template}: ${prims.length > 0 ? prims.slice(0, 12).join(' ') : 'copy'}${prims.length > 12 ? ` and ${prims.length - 12} more` : ''}`,
  };
};

/** A text that is equal for groups that lower to the same kernel: values are numbered as they occur. */
const signature = (group: Group): string => {
  const ids = new Map<Value, number>();
  const id = (v: Value): string => {
    const old = ids.get(v);
    if (old !== undefined) return `${old}`;
    ids.set(v, ids.size);
    return `${ids.size - 1}:${v.type.dtype}[${v.type.shape.join()}]`;
  };
  const nodes = group.nodes.map((n) => `${opKey(n.op)}(${n.inputs.map(id).join()})=${n.outputs.map(id).join()}`);
  return [group.template, group.inputs.map(id).join(), ...nodes, group.outputs.map(id).join()].join('|');
};

/** Lowers groups; equal ones (the twelve blocks of a model) are lowered once and share one kernel object. */
export const lowerAll = (groups: readonly Group[], target: Target, schedules = none): readonly Lowered[] => {
  const known = new Map<string, Lowered>();
  return groups.map((group) => {
    const key = signature(group);
    const old = known.get(key);
    if (old) return { ...old, buffers: [...group.inputs, ...group.outputs] };
    const made = lower(group, target, schedules);
    known.set(key, made);
    return made;
  });
};
