/**
 * Fused kernels and kernels of single nodes both give the float64 results within the bound, and so agree within twice the bound. Both
 * run in the kernel interpreter, whatever the backend.
 */
import { compare } from '../bound.ts';
import { runKernels, runUnfused } from '../kernels.ts';
import { compiled, truth } from '../stages.ts';
import type { Law } from './law.ts';

export const fuseLaws: readonly Law[] = [
  {
    name: 'fused',
    says: 'fused kernels and kernels of single nodes compute what the graph says',
    check: (p, { target }) => {
      const g = compiled(p.graph);
      // nodes without elements have no kernels: the plan leaves them out
      if ([...g.params, ...g.nodes.flatMap((n) => n.outputs)].some((v) => v.type.shape.includes(0))) return undefined;
      const fused = compare(truth(p), runKernels(g, target, p.inputs)).wrong;
      if (fused !== undefined) return `fused, ${fused}`;
      const single = compare(truth(p), runUnfused(g, target, p.inputs)).wrong;
      return single && `unfused, ${single}`;
    },
  },
];
