/**
 * Recomputation changes no bit: the gradient of a checkpoint, with remat, is the gradient of the plain program; and so it is where the backward
 * phase computes again whatever is cheap, however small.
 */
import { builder } from '../../compiler/graph/builder.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import { countOf } from '../../compiler/graph/tensor64.ts';
import { bytesOf, type Graph } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { cse } from '../../compiler/passes/cse.ts';
import { inline } from '../../compiler/passes/inline.ts';
import { simplify } from '../../compiler/passes/simplify.ts';
import { recompute } from '../../compiler/transform/recompute.ts';
import { remat } from '../../compiler/transform/remat.ts';
import { differentiable, gradGraph } from '../transforms.ts';
import { type Law, sameBits } from './law.ts';

/** The gradient of the program as one region. */
export const gradientStep = (body: Graph, tag: string): Graph => {
  const b = builder();
  const params = body.params.map((p) => b.param(p.type, p.name));
  return inline(gradGraph(b.build(b.emit({ prim: 'call', tag, body }, params))));
};

/** Bytes of the forward phase that the backward phase reads, but for results, which live on anyway. */
const crossing = (g: Graph): number => {
  const forward = new Set(g.nodes.flatMap((n) => (n.meta.phase === 'fwd' ? n.outputs : [])).filter((v) => !g.results.includes(v)));
  const read = new Set(g.nodes.flatMap((n) => (n.meta.phase === 'bwd' ? n.inputs.filter((v) => forward.has(v)) : [])));
  return [...read].reduce((n, v) => n + countOf(v.type) * bytesOf[v.type.dtype], 0);
};

export const rematLaws: readonly Law[] = [
  {
    name: 'remat',
    says: 'checkpoints recompute the same bits',
    check: ({ graph, inputs }, { note }) => {
      if (!differentiable(graph)) return undefined;
      const [saved, plain] = [gradientStep(graph, 'checkpoint'), gradientStep(graph, 'plain')];
      const again = remat(saved);
      verify(again);
      note?.('nodes recomputed', again.nodes.length - saved.nodes.length);
      return sameBits(interpret(plain, inputs), interpret(again, inputs));
    },
  },
  {
    name: 'recompute',
    says: 'the backward phase computes the same bits again, and reads less from the forward phase',
    check: ({ graph, inputs }, { note }) => {
      if (!differentiable(graph)) return undefined;
      const kept = cse(simplify(gradientStep(graph, 'plain')));
      const again = recompute(0)(kept);
      verify(again);
      const [before, after] = [crossing(kept), crossing(again)];
      note?.('bytes not kept', before - after);
      if (after > before) return `${after} bytes cross to the backward phase, not ${before}`;
      return sameBits(interpret(kept, inputs), interpret(again, inputs));
    },
  },
];
