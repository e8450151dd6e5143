/** Attention as a user writes it, arguments for it, and what the precision pass makes of a program. */
import { passesFor } from '../../compiler/compile.ts';
import { type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { countOf } from '../../compiler/graph/tensor64.ts';
import type { FloatType, Graph } from '../../compiler/graph/types.ts';
import { einsum, type F32, grad, softmax, spec, sum, trace } from '../../dsl/index.ts';
import { rounded } from '../../testing/host.ts';
import { numbers } from '../../testing/numbers.ts';
import { castGraph } from '../../testing/stages.ts';

export type Rows = F32<'B N D'>;
export const look = (q: Rows, k: Rows, v: Rows): F32<string> =>
  einsum(
    'b n m, b m e -> b n e',
    softmax(einsum('b n d, b m d -> b n m', q.mul(0.7), k as unknown as F32<'B M D'>)),
    v as unknown as F32<'B M E'>,
  ) as F32<string>;

/** softmax(q k') v of a few sizes on both sides of a tile, its gradients, and a product of its rows, in float32 or on rows of bf16. */
export const attention = (n: number, m: number, d: number) =>
  trace(
    ((q: Rows, k: Rows, v: Rows, u: Rows) => {
      const o = look(q, k, v);
      const gradients = grad(([x, y, z]: readonly [Rows, Rows, Rows]) => sum('b n e ->' as string, look(x, y, z).mul(u)) as F32<''>)([
        q,
        k,
        v,
      ]);
      return [
        o,
        gradients,
        einsum('b n d, b m d -> n m' as string, o, k as never),
        einsum('b n d, b m d -> b n m' as string, u, v as never),
        einsum('b n d, b n e -> d e' as string, o, u as never),
      ];
    }) as never,
    [`2 ${n} ${d}`, `2 ${m} ${d}`, `2 ${m} ${d}`, `2 ${n} ${d}`].map((shape) => spec(shape)) as never,
  ).graph;

/** Numbers between -2 and 2 that the types of the parameters hold. */
export const draw = (g: Graph, seed: number): readonly Tensor64[] => {
  const next = numbers(seed);
  return g.params.map((p) =>
    rounded(
      tensor64(
        p.type,
        Array.from({ length: countOf(p.type) }, () => 4 * next() - 2),
      ),
    ),
  );
};

/** The graph in which every rounding is a cast, and what the pipeline makes of it. */
export const staged = (g: Graph, precision: FloatType): { readonly said: Graph; readonly final: Graph } => {
  const passes = passesFor(precision);
  const at = passes.findIndex(([name]) => name === 'precision') + 1;
  const said = castGraph(g, precision);
  return { said, final: passes.slice(at).reduce((x, [, pass]) => pass(x), said) };
};
