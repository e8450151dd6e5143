/** What fuse makes of a graph: groups in execution order, and where the values between them stand in memory. */
import type { Value } from '../graph/types.ts';
import type { Group } from '../tile/group.ts';

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
