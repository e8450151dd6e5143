/**
 * A group: the nodes that one kernel of one template computes. It reads its inputs from memory, computes its nodes, and writes
 * its outputs; everything else in it never exists in memory. Fusion makes groups, the templates lower them.
 *
 *   group 3 reduce: reduceMax sub exp reduceSum div   reads %12, writes %17   (ends: read by a contraction)
 */
import type { Node, Phase, Prim, Value } from '../graph/types.ts';

export const templates = ['map', 'reduce', 'gemm', 'stream', 'stream-grad', 'stream-reduce', 'scatter', 'cumsum', 'transfer'] as const;
export type Template = (typeof templates)[number];

export interface Group {
  readonly template: Template;
  /** In graph order, with the views and cheap values that the group recomputes; a node may be in several groups. */
  readonly nodes: readonly Node[];
  /** Values in memory: parameters, constants, outputs of earlier groups. */
  readonly inputs: readonly Value[];
  /** Values that later groups or the caller read. */
  readonly outputs: readonly Value[];
  /** Why the group ends where it ends. */
  readonly reason: string;
  readonly scope: string;
  readonly phase: Phase;
}

/** Primitives that compute nothing: they only say where a value is. */
export const views: ReadonlySet<Prim> = new Set<Prim>([
  'const',
  'array',
  'iota',
  'broadcast',
  'reshape',
  'transpose',
  'slice',
  'pad',
  'concat',
  'reverse',
  'gather',
  'stopGradient',
  'cast',
]);

/** What a group computes, in order, without its views. */
export const primsOf = (group: Group): readonly string[] =>
  group.nodes.flatMap((n) => (views.has(n.op.prim) ? [] : [n.op.prim === 'call' ? 'attention' : n.op.prim]));
