/** Recomputation changes no bit: the gradient of a checkpoint, with remat, is the gradient of the plain program. */
import { builder } from '../../compiler/graph/builder.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { inline } from '../../compiler/passes/inline.ts';
import { remat } from '../../compiler/transform/remat.ts';
import { differentiable, gradGraph } from '../transforms.ts';
import { type Law, sameBits } from './law.ts';

/** The gradient of the program as one region. */
const step = (body: Graph, tag: string): Graph => {
  const b = builder();
  const params = body.params.map((p) => b.param(p.type, p.name));
  return inline(gradGraph(b.build(b.emit({ prim: 'call', tag, body }, params))));
};

export const rematLaws: readonly Law[] = [
  {
    name: 'remat',
    says: 'checkpoints recompute the same bits',
    check: ({ graph, inputs }, { note }) => {
      if (!differentiable(graph)) return undefined;
      const [saved, plain] = [step(graph, 'checkpoint'), step(graph, 'plain')];
      const again = remat(saved);
      verify(again);
      note?.('nodes recomputed', again.nodes.length - saved.nodes.length);
      return sameBits(interpret(plain, inputs), interpret(again, inputs));
    },
  },
];
