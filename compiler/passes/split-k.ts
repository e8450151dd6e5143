/**
 * Split-K: a contraction of few results and long sums, which would keep few threads busy, becomes one that makes the sums in parts, each part
 * a batch of its own, and a reduction that adds the parts in order.
 *
 *   dot[8 256] over 65536     ->     dot[16 8 256] over 4096, summed over the first axis
 *
 * The cut follows from sizes alone and never from the number of threads, so the bits do not either. Templates read operands through the
 * reshape; what is new in memory is the parts. Rows with rows are no matrix product (fuse/product.ts): as a plain sum they join the kernel that
 * makes the rows, cross-entropy's that of its softmax.
 */
import { known } from '../graph/dim.ts';
import { countOf } from '../graph/tensor64.ts';
import type { Graph, Node, OpOf, Value } from '../graph/types.ts';
import { rewrite } from './rewrite.ts';

export interface SplitK {
  /** Most results of a contraction that is split. */
  readonly results: number;
  /** Least products of a part. */
  readonly depth: number;
  /** Most parts. */
  readonly parts: number;
}
/** 128 x 128 results are few dozen register tiles; parts of 4,096 products cost far more than the addition of their sums. */
const usual: SplitK = { results: 1 << 14, depth: 1 << 12, parts: 16 };

/** As many parts as there may be of `size` products; they are equally long. */
const partsOf = (size: number, { depth, parts }: SplitK): number => {
  for (let n = Math.min(parts, Math.floor(size / depth)); n > 1; n--) if (size % n === 0) return n;
  return 1;
};

/** Where a contraction is cut: which of the axes that are summed, the longest, and into how many parts; undefined where it is not. */
const cutOf = ({ op, inputs: [x], outputs: [out] }: Node, how: SplitK) => {
  if (op.prim !== 'dot' || op.dtype !== 'f32' || !x || !out || countOf(out.type) > how.results) return undefined;
  const at = (a: number): number => known(x.type.shape[a] as number);
  if (countOf(out.type) === op.batch[0].map(at).reduce((p, q) => p * q, 1)) return undefined;
  const sizes = op.contract[0].map(at);
  const longest = sizes.indexOf(Math.max(...sizes));
  const parts = longest < 0 ? 1 : partsOf(sizes[longest] as number, how);
  return parts === 1 ? undefined : { op, longest, parts };
};

export const splitK =
  (how: SplitK = usual) =>
  (g: Graph): Graph => {
    const cuts = new Map(g.nodes.map((n) => [n, cutOf(n, how)] as const));
    // most programs have none, and stay as they are
    if (![...cuts.values()].some(Boolean)) return g;
    return rewrite(g, (b, n, ins) => {
      const found = cuts.get(n);
      const [x, y] = ins;
      if (!found || !x || !y) return undefined;
      const { op, longest, parts } = found;
      const [ax, ay] = op.contract.map((axes) => axes[longest] as number) as [number, number];
      const cut = (v: Value, at: number): Value => {
        const shape = v.type.shape.map(known);
        return b.reshape(v, [...shape.slice(0, at), parts, (shape[at] as number) / parts, ...shape.slice(at + 1)]);
      };
      /** Axes behind the cut one are one further on; of the cut one the second half is left to be summed. */
      const moved = (axes: readonly number[], at: number): readonly number[] => axes.map((a) => (a >= at ? a + 1 : a));
      const inParts: OpOf<'dot'> = {
        ...op,
        batch: [
          [...moved(op.batch[0], ax), ax],
          [...moved(op.batch[1], ay), ay],
        ],
        contract: [moved(op.contract[0], ax), moved(op.contract[1], ay)],
      };
      return [b.sum(b.one(inParts, [cut(x, ax), cut(y, ay)]), [op.batch[0].length])];
    });
  };
