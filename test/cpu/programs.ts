/** What kernels for another machine are held to: a layer, generated programs, and whether results lie within the bound of float64. */
import fc from 'fast-check';
import { passesFor } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import type { HostData } from '../../compiler/graph/types.ts';
import type { Precision } from '../../compiler/passes/precision.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { decode, rounded } from '../../testing/host.ts';
import { drawLike, numbers } from '../../testing/numbers.ts';
import { arbitraryProgram, type Program } from '../../testing/program.ts';

/** A linear layer with GELU-like and LayerNorm-like neighbours, at sizes that fill no tile, and a product of its transposes. */
export const layer = (): Program => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [37, 50] });
  const w = b.param({ dtype: 'f32', shape: [70, 50] });
  const mean = b.mul(b.sum(x, [1]), b.fill(1 / 50, { dtype: 'f32', shape: [37] }));
  const y = b.sub(x, b.broadcast(mean, [37, 50], [0]));
  const h = b.one({ prim: 'dot', batch: [[], []], contract: [[1], [1]], dtype: 'f32' }, [y, w]);
  const a = b.mul(h, b.add(b.tanh(h), b.fill(1, h.type)));
  const dw = b.one({ prim: 'dot', batch: [[], []], contract: [[0], [0]], dtype: 'f32' }, [a, y]);
  const next = numbers(3);
  const graph = b.build([a, dw]);
  return { graph, inputs: graph.params.map((p) => rounded(drawLike(p.type, next))) };
};

export const programs = fc
  .sample(arbitraryProgram({ maxNodes: 12 }), { seed: 21, numRuns: 25 })
  .map(({ graph, inputs }): Program => ({ graph, inputs: inputs.map(rounded) }));

/** What is wrong with results of the programs one after the other, each in a sentence. */
export const wrongIn = (programs: readonly Program[], results: readonly HostData[], precision: Precision): readonly string[] => {
  const passes = passesFor(precision);
  const upTo = passes.slice(0, passes.findIndex(([name]) => name === 'precision') + 1);
  let at = 0;
  return programs.flatMap(({ graph, inputs }) => {
    const got = graph.results.map((r) => decode(r.type.dtype, results[at++] as HostData));
    const truth = bounded(
      upTo.reduce((g, [, pass]) => pass(g), graph),
      inputs,
    );
    return compare(truth, got).wrong ?? [];
  });
};
