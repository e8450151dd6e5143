/**
 * What the tests of differentiation share: graphs from closures, random arguments, and the laws of testing/gradients-laws.ts as
 * assertions.
 */
import { expect } from 'vitest';
import { type Builder, builder } from '../../compiler/graph/builder.ts';
import { type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import type { DType, Graph, TensorType, Value } from '../../compiler/graph/types.ts';
import { valueAndGrad } from '../../compiler/transform/grad.ts';
import { duality, forward, type Verdict } from '../../testing/gradients-laws.ts';
import { drawIn, drawLike, numbers } from '../../testing/numbers.ts';
import { floats, weightedGrad } from '../../testing/transforms.ts';

/** An argument: its shape, and the range that its numbers are drawn from (whole numbers for integers). */
export interface Arg {
  readonly shape: readonly number[];
  readonly dtype?: DType;
  readonly from?: number;
  readonly to?: number;
}
export const arg = (shape: readonly number[], from = -2, to = 2, dtype: DType = 'f32'): Arg => ({ shape, from, to, dtype });
export const typeOf = (a: Arg): TensorType => ({ dtype: a.dtype ?? 'f32', shape: a.shape });

/** The graph of f over arguments of these types. */
export const trace = (args: readonly Arg[], f: (b: Builder, ...xs: Value[]) => readonly Value[]): Graph => {
  const b = builder();
  return b.build(f(b, ...args.map((a, i) => b.param(typeOf(a), `x${i}`))));
};

export const draw = (a: Arg, next: () => number): Tensor64 => drawIn(typeOf(a), a.from ?? -2, a.to ?? 2, next);

const holds = (v: Verdict): void =>
  expect(v.status, `${v.at}: ${v.got}, expected ${v.expected}, tolerance ${v.tolerance} ${v.node?.op.prim ?? ''}`).toBe('ok');

/** Checks the jvp of g at xs along vs against central differences. */
export const checkForward = (g: Graph, xs: readonly Tensor64[], vs: readonly Tensor64[]): void => holds(forward(g, xs, vs));

/** Checks <u, J v> = <J' u, v>. */
export const checkDuality = (g: Graph, xs: readonly Tensor64[], vs: readonly Tensor64[], us: readonly Tensor64[]): void =>
  holds(duality(g, xs, vs, us));

/** Forward against differences and duality, of g and of its gradient. */
export const checkAll = (g: Graph, args: readonly Arg[], seed: number): void => {
  const next = numbers(seed);
  const xs = args.map((a) => draw(a, next));
  const vs = floats(g).map((i) => drawLike((g.params[i] as Value).type, next));
  const us = g.results.map((r) => drawLike(r.type, next));
  checkForward(g, xs, vs);
  checkDuality(g, xs, vs, us);
  const grad = weightedGrad(g, next);
  checkForward(grad, xs, vs);
  checkDuality(grad, xs, vs, vs);
};

/** The graph of the value and the gradients of g. */
export const gradOf = (g: Graph, wrt: readonly number[]): Graph => {
  const b = builder();
  const { results, grads } = valueAndGrad(
    b,
    g,
    g.params.map((p) => b.param(p.type, p.name)),
    wrt,
  );
  return b.build([...results, ...grads]);
};
export const vector = (...xs: number[]) => tensor64({ dtype: 'f32', shape: [xs.length] }, xs);
