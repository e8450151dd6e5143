/**
 * Fused kernels and kernels of single nodes both give the float64 results within the bound, and so agree within twice the bound; where
 * nothing is summed, they give the same bits. Both run in the kernel interpreter, whatever the backend.
 */
import type { Prim } from '../../compiler/graph/types.ts';
import { compare } from '../bound.ts';
import { runKernels, runUnfused } from '../kernels.ts';
import { compiled, truth } from '../stages.ts';
import type { Law } from './law.ts';

const sums: ReadonlySet<Prim> = new Set<Prim>(['dot', 'reduceSum', 'scatterAdd', 'cumsum']);

export const fuseLaws: readonly Law[] = [
  {
    name: 'fused',
    kernels: true,
    every: 2,
    says: 'fused kernels and kernels of single nodes compute what the graph says',
    check: (p, { target }) => {
      const g = compiled(p.graph);
      const together = runKernels(g, target, p.inputs);
      const fused = compare(truth(p), together).wrong;
      if (fused !== undefined) return `fused, ${fused}`;
      const alone = runUnfused(g, target, p.inputs);
      const single = compare(truth(p), alone).wrong;
      if (single !== undefined) return `unfused, ${single}`;
      // without sums, whose order depends on the kernel, every operation rounds as it does alone
      if (g.nodes.some((n) => sums.has(n.op.prim))) return undefined;
      const r = together.findIndex((xs, k) => Array.from(xs).some((x, i) => !Object.is(x, alone[k]?.[i])));
      return r < 0 ? undefined : `result ${r}: fused ${together[r]}, unfused ${alone[r]}`;
    },
  },
];
