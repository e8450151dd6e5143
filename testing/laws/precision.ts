/**
 * With bf16 or f16 operands of contractions, fused kernels compute what the cast graph says: the pass writes every rounding down as a
 * cast, so the bound of float64 is that of any other program. Parameters and results keep their types.
 */
import { passesFor } from '../../compiler/compile.ts';
import { showType } from '../../compiler/graph/infer.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { bounded, compare } from '../bound.ts';
import { runKernels } from '../kernels.ts';
import { exposed } from '../transforms.ts';
import type { Law } from './law.ts';

const signature = (g: Graph): string => [...g.params, ...g.results].map((v) => showType(v.type)).join();
/** Contractions whose operands are bf16 or f16, and whose result is not. */
export const halves = (g: Graph): number =>
  g.nodes.filter((n) => n.op.prim === 'dot' && n.op.dtype === 'f32' && n.inputs.every((v) => v.type.dtype !== 'f32')).length;

export const precisionLaws: readonly Law[] = [
  {
    name: 'precision',
    says: 'contractions of bf16 and f16 operands compute what the cast graph says',
    // most contractions of a random program are dead, unless all values are results
    check: ({ graph: given, inputs }, { seed, target, note }) => {
      const graph = exposed(given);
      const choice = seed % 2 === 0 ? 'bf16' : 'f16';
      const passes = passesFor(choice);
      const at = passes.findIndex(([name]) => name === 'precision');
      const run = (from: Graph, some: typeof passes): Graph => some.reduce((g, [, pass]) => pass(g), from);
      const before = run(graph, passes.slice(0, at));
      const after = run(before, passes.slice(at, at + 1));
      if (after === before) return undefined;
      verify(after);
      if (signature(after) !== signature(graph)) return `${choice} changes the signature`;
      note?.('contractions of halves', halves(after) - halves(before));
      const final = run(after, passes.slice(at + 1));
      const { wrong } = compare(bounded(after, inputs), runKernels(final, target, inputs));
      return wrong && `${choice}, ${wrong}`;
    },
  },
];
