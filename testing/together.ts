/** Many random graphs side by side in one, so that one library holds the kernels of all. */
import { builder } from '../compiler/graph/builder.ts';
import type { Graph } from '../compiler/graph/types.ts';

export const together = (graphs: readonly Graph[]): Graph => {
  const b = builder();
  return b.build(
    graphs.flatMap((g, k) =>
      b.inline(
        g,
        g.params.map((p, i) => b.param(p.type, `g${k}.x${i}`)),
      ),
    ),
  );
};
