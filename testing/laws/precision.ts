/**
 * With bf16 or f16 operands of contractions, fused kernels compute what the cast graph says: the pass writes every rounding down as a
 * cast, so the bound of float64 is that of any other program. Parameters and results keep their types. And so it is with what waits for the
 * backward phase as bf16, however small; forward nothing changes by it.
 */
import { passesFor } from '../../compiler/compile.ts';
import { showType } from '../../compiler/graph/infer.ts';
import type { Tensor64 } from '../../compiler/graph/tensor64.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { keep } from '../../compiler/passes/keep.ts';
import { type Precision, policyOf } from '../../compiler/passes/precision.ts';
import { interpretRanks } from '../../compiler/shard/ranks.ts';
import { recompute } from '../../compiler/transform/recompute.ts';
import { bounded, compare } from '../bound.ts';
import { rounded } from '../host.ts';
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
const casts = (g: Graph): number => g.nodes.filter((n) => n.op.prim === 'cast' && n.op.dtype === 'bf16' && n.meta.phase === 'fwd').length;
/** The first result, every value rounded to its type: on one rank, which is given its number. */
const firstOf = (g: Graph, inputs: readonly Tensor64[]): readonly Tensor64[] => {
  const rank = { id: -1, type: { dtype: 'i32', shape: [] } } as const;
  const { results } = interpretRanks({ ...g, params: [...g.params, rank] }, { ranks: 1, shard: 1 }, [inputs.map(rounded)], rounded);
  return (results[0] as readonly Tensor64[]).slice(0, 1);
};
/** Whether in the backward phase a node of a float32 scope reads what `keep` rounded, or what is computed again from that and no gradient. */
const intrudes = (g: Graph, policy: (scope: string) => string): boolean => {
  const forward = new Set(g.params);
  const low = new Set<Value>();
  let found = false;
  for (const { op, inputs, outputs, meta } of g.nodes) {
    const again = meta.phase === 'fwd' || inputs.every((v) => forward.has(v));
    const reads = meta.phase === 'bwd' && inputs.some((v) => low.has(v));
    // the casts back of that phase are its own
    const back = op.prim === 'cast' && op.dtype === 'f32' && meta.phase === 'bwd';
    if (reads && policy(meta.scope) === 'f32') found = true;
    for (const o of outputs) {
      if (again) forward.add(o);
      if (back || (again && reads)) low.add(o);
    }
  }
  return found;
};

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
      const choice: Precision = {
        default: 'bf16',
        kept: true,
        scopes: seed % 3 === 0 ? { 'layer 1': 'f32', loss: 'f32' } : {},
        results: seed % 4 < 2 ? {} : { 'layer 2': 'bf16' },
      };
      const passes = passesFor(choice);
      const at = passes.findIndex(([name]) => name === 'keep');
      // whatever is cheap is computed again, however small
      const early = passes.slice(0, at).map(([name, pass]) => (name === 'recompute' ? recompute(0) : pass));
      const before = early.reduce((g, pass) => pass(g), gradientStep(graph, 'plain'));
      const after = keep(choice, 0)(before);
      verify(after);
      if (signature(after) !== signature(before)) return 'the signature changes';
      note?.('values kept as bf16', casts(after) - casts(before));
      if (intrudes(after, policyOf(choice))) return 'a float32 scope reads what was rounded';
      const differs = sameBits(firstOf(before, inputs), firstOf(after, inputs));
      if (differs) return `forward, ${differs}`;
      const final = passes.slice(at + 1).reduce((g, [, pass]) => pass(g), after);
      const { wrong } = compare(bounded(after, inputs), runKernels(final, target, inputs));
      return wrong && `${JSON.stringify(choice)}, ${wrong}`;
    },
  },
];
