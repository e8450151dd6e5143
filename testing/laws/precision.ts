/**
 * With bf16 or f16 operands of contractions, fused kernels compute what the cast graph says: the pass writes every rounding down as a
 * cast, so the bound of float64 is that of any other program. Parameters and results keep their types. And so it is with what waits for the
 * backward phase as bf16, however small; forward nothing changes by it.
 */
import { passesFor } from '../../compiler/compile.ts';
import { showType } from '../../compiler/graph/infer.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { keep } from '../../compiler/passes/keep.ts';
import type { Precision } from '../../compiler/passes/precision.ts';
import { bounded, compare } from '../bound.ts';
import { runKernels } from '../kernels.ts';
import { layersOf } from '../layers.ts';
import { exposed } from '../transforms.ts';
import { draws } from './draws.ts';
import { type Law, sameBits } from './law.ts';
import { gradientStep } from './remat.ts';

const signature = (g: Graph): string => [...g.params, ...g.results].map((v) => showType(v.type)).join();
/** Contractions whose operands are bf16 or f16, and whose result is not. */
export const halves = (g: Graph): number =>
  g.nodes.filter((n) => n.op.prim === 'dot' && n.op.dtype === 'f32' && n.inputs.every((v) => v.type.dtype !== 'f32')).length;

/** Casts to bf16, forward. */
const rounded = (g: Graph): number => g.nodes.filter((n) => n.op.prim === 'cast' && n.op.dtype === 'bf16' && n.meta.phase === 'fwd').length;

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
  {
    name: 'kept',
    says: 'what waits for the backward phase as bf16 changes no bit forward, and kernels compute what the graph with it says',
    seedOnly: true,
    check: (_, { seed, target, note }) => {
      const { graph, inputs } = layersOf(seed, draws(seed));
      const choice: Precision = { default: 'bf16', kept: true, ...(seed % 4 < 2 ? {} : { results: { '**': 'bf16' } }) };
      const passes = passesFor(choice);
      const at = passes.findIndex(([name]) => name === 'keep');
      const before = passes.slice(0, at).reduce((g, [, pass]) => pass(g), gradientStep(graph, 'plain'));
      const after = keep(choice, 0)(before);
      verify(after);
      if (signature(after) !== signature(before)) return 'the signature changes';
      note?.('values kept as bf16', rounded(after) - rounded(before));
      const [value] = interpret(after, inputs);
      const differs = sameBits(interpret(before, inputs).slice(0, 1), value ? [value] : []);
      if (differs) return `forward, ${differs}`;
      const final = passes.slice(at + 1).reduce((g, [, pass]) => pass(g), after);
      const { wrong } = compare(bounded(after, inputs), runKernels(final, target, inputs));
      return wrong && `${choice.results ? 'results too, ' : ''}${wrong}`;
    },
  },
];
