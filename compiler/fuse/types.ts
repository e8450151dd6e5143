/**
 * What fuse makes of a graph: groups in execution order, each to become one kernel of one template. A group reads its
 * inputs from memory, computes its nodes, and writes its outputs; everything else in it never exists in memory.
 *
 *   group 3 reduce: reduceMax sub exp reduceSum div   reads %12, writes %17   (ends: read by a contraction)
 */
import type { Node, Phase, Value } from '../graph/types.ts';

export type Template = 'map' | 'reduce' | 'gemm' | 'scatter' | 'cumsum';

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

export interface Fused {
  readonly groups: readonly Group[];
  /** Values that are other values under another shape: the same memory. Groups only name what stands at the end of such a chain. */
  readonly aliases: ReadonlyMap<Value, Value>;
  /** The parameters of the graph. */
  readonly params: readonly Value[];
  /** Array constants that some group reads: to be in memory before the first launch. */
  readonly constants: readonly { readonly value: Value; readonly data: readonly number[] }[];
  /** One value a result of the graph, in order; all different, none a parameter, each written by one group. */
  readonly results: readonly Value[];
}
