/**
 * The vocabulary of vmap: a batched value has the examples along a new axis 0; any other value is the same for all examples. A batching
 * rule is called where at least one operand is batched.
 */
import type { Builder } from '../graph/builder.ts';
import type { Dim } from '../graph/dim.ts';
import type { Graph, OpOf, Prim, Value } from '../graph/types.ts';

/** Values with, for each, whether axis 0 is the batch. */
export interface Batched {
  readonly values: readonly Value[];
  readonly batched: readonly boolean[];
}

/** One application of a primitive, of whose operands at least one is batched. */
export interface BatchSite<P extends Prim> {
  readonly b: Builder;
  readonly op: OpOf<P>;
  readonly x: readonly Value[];
  readonly batched: readonly boolean[];
  /** Examples in the batch. */
  readonly size: Dim;
  /** Inlines a graph; used by the rules of primitives with a region. */
  readonly vmap: (b: Builder, g: Graph, args: readonly Value[], batched: readonly boolean[], size: Dim) => Batched;
}
export type BatchRule<P extends Prim> = (s: BatchSite<P>) => Batched;

/** x for every example: itself if it is batched, else repeated. */
export const repeated = (b: Builder, x: Value, isBatched: boolean, size: Dim): Value =>
  isBatched
    ? x
    : b.broadcast(
        x,
        [size, ...x.type.shape],
        x.type.shape.map((_, i) => i + 1),
      );

/** All results batched. */
export const all = (values: readonly Value[]): Batched => ({ values, batched: values.map(() => true) });
