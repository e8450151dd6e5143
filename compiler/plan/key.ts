/**
 * The name of a plan: a hash of everything that it is made from. Plans with one name are equal, so a finished plan may be kept by it and
 * taken again instead of compiling. What is not in the name is the compiler: who keeps plans adds which one made them (target.ts).
 *
 *   await planKey(graph, { dims, donated, precision: '"bf16"', target })  ->  '9b1c...'        64 hexadecimal digits
 */
import { identity } from '../graph/identity.ts';
import type { Graph } from '../graph/types.ts';
import type { Target } from '../target.ts';

export interface PlanSource {
  /** Sizes of the names in the graph. */
  readonly dims: ReadonlyMap<string, number>;
  /** donated[o] = input whose place output o takes, or -1. */
  readonly donated: readonly number[];
  /** The policy as text. The order of its scopes counts: the last that matches holds. */
  readonly precision: string;
  readonly target: Target;
  /** How the step lies on ranks, as text; empty for one device. */
  readonly ranks?: string;
}

/** Of a graph before its names are bound: the sizes are part of the source. */
export const planKey = async (g: Graph, { dims, donated, precision, target, ranks = '' }: PlanSource): Promise<string> => {
  const sizes = [...dims].sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify({ sizes, donated, precision, target, ranks }) + identity(g);
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (b) => b.toString(16).padStart(2, '0')).join('');
};
