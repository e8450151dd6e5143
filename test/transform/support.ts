/**
 * What the tests of differentiation share: graphs from closures, random arguments, and the three comparisons.
 *
 * finite differences: central, D(h) = (f(x + h v) - f(x - h v)) / 2h. Its truncation error is c h^2 + O(h^4), so that
 * D(2h) - D(h) is three times that of D(h); its rounding error is at most that of two values of f over 2h. Their sum is the
 * tolerance: nothing in it is chosen by hand but the number of roundings a value of f may have seen.
 */
import { expect } from 'vitest';
import { type Builder, builder } from '../../compiler/graph/builder.ts';
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { type DType, type Graph, isFloat, type TensorType, type Value } from '../../compiler/graph/types.ts';
import { valueAndGrad, vjp } from '../../compiler/transform/grad.ts';
import { jvp } from '../../compiler/transform/jvp.ts';

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

/** A stream of numbers in [0, 1): mulberry32. */
export const numbers = (seed: number): (() => number) => {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
};
const size = (t: TensorType): number => t.shape.reduce<number>((n, d) => n * (d as number), 1);
export const draw = (a: Arg, next: () => number): Tensor64 => {
  const [from, to] = [a.from ?? -2, a.to ?? 2];
  const one = (): number => from + (to - from) * next();
  const t = typeOf(a);
  return tensor64(
    t,
    Array.from({ length: size(t) }, () => (isFloat(t.dtype) ? one() : t.dtype === 'bool' ? Math.round(next()) : Math.floor(one()))),
  );
};
export const drawLike = (t: TensorType, next: () => number): Tensor64 =>
  draw({ shape: t.shape as number[], dtype: t.dtype, from: -1, to: 1 }, next);
export const floats = (g: Graph): number[] => g.params.flatMap((p, i) => (isFloat(p.type.dtype) ? [i] : []));
const numbersOf = (t: Tensor64): number[] => Array.from(t.data);

/** The graph (arguments, tangents of the float arguments) -> tangents of the results. */
export const jvpGraph = (g: Graph): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type));
  const ts = g.params.map((p) => (isFloat(p.type.dtype) ? b.param(p.type) : null));
  const { results, tangents } = jvp(b, g, xs, ts);
  return b.build(tangents.map((t, i) => t ?? b.fill(0, (results[i] as Value).type)));
};

/** The graph (arguments, cotangents of the results) -> cotangents of the float arguments. */
export const vjpGraph = (g: Graph): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type));
  const cts = g.results.map((r) => b.param(r.type));
  const { grads } = vjp(b, g, xs, cts);
  return b.build(floats(g).map((i) => grads[i] ?? b.fill(0, (xs[i] as Value).type)));
};

const h = 2 ** -17;
const eps = 2 ** -52;
const roundings = 64;

const along = (xs: readonly Tensor64[], vs: readonly Tensor64[], g: Graph, step: number): Tensor64[] => {
  const at = floats(g);
  const shifted = xs.map((x, i) => {
    const v = vs[at.indexOf(i)];
    return v
      ? tensor64(
          x.type,
          numbersOf(x).map((e, k) => e + step * (v.data[k] as number)),
        )
      : x;
  });
  return interpret(g, shifted);
};

/** Checks the jvp of g at xs along vs against central differences. */
export const checkForward = (g: Graph, xs: readonly Tensor64[], vs: readonly Tensor64[]): void => {
  const got = interpret(jvpGraph(g), [...xs, ...vs]);
  const [p1, m1, p2, m2] = [h, -h, 2 * h, -2 * h].map((s) => along(xs, vs, g, s)) as [Tensor64[], Tensor64[], Tensor64[], Tensor64[]];
  got.forEach((t, r) => {
    const largest = Math.max(1, ...[p1, m1, p2, m2].flatMap((f) => numbersOf(f[r] as Tensor64).map(Math.abs)));
    numbersOf(t).forEach((d, k) => {
      const of = (f: Tensor64[]): number => (f[r] as Tensor64).data[k] as number;
      const [near, far] = [(of(p1) - of(m1)) / (2 * h), (of(p2) - of(m2)) / (4 * h)];
      const tolerance = Math.abs(far - near) + (roundings * eps * largest) / h;
      expect(Math.abs(d - near), `result ${r}[${k}]: ${d}, by differences ${near}`).toBeLessThanOrEqual(tolerance);
    });
  });
};

const dotted = (us: readonly Tensor64[], vs: readonly Tensor64[]): { sum: number; size: number } => {
  const terms = us.flatMap((u, i) => numbersOf(u).map((e, k) => e * ((vs[i] as Tensor64).data[k] as number)));
  return { sum: terms.reduce((s, t) => s + t, 0), size: terms.reduce((s, t) => s + Math.abs(t), 0) };
};

/** Sum of the absolute values of everything that a graph computes in floats: the scale of its rounding errors, over eps. */
const work = (g: Graph, xs: readonly Tensor64[]): number => {
  const all = { ...g, results: g.nodes.flatMap((n) => n.outputs).filter((v) => isFloat(v.type.dtype)) };
  return interpret(all, xs).reduce((s, t) => s + numbersOf(t).reduce((a, e) => a + Math.abs(e), 0), 0);
};

/** Checks <u, J v> = <J' u, v>: each side may differ by one rounding, amplified as often as there are nodes, of all it computes. */
export const checkDuality = (g: Graph, xs: readonly Tensor64[], vs: readonly Tensor64[], us: readonly Tensor64[]): void => {
  const [forward, backward] = [jvpGraph(g), vjpGraph(g)];
  const left = dotted(us, interpret(forward, [...xs, ...vs]));
  const right = dotted(interpret(backward, [...xs, ...us]), vs);
  const scale = left.size + right.size + work(forward, [...xs, ...vs]) + work(backward, [...xs, ...us]);
  expect(Math.abs(left.sum - right.sum), `${left.sum} and ${right.sum}`).toBeLessThanOrEqual(roundings * eps * scale);
};

/** The graph of the gradients of sum(weight * f), weights drawn at random: a scalar loss whose every result matters. */
export const gradGraph = (g: Graph, next: () => number): Graph => {
  const b = builder();
  const xs = g.params.map((p) => b.param(p.type));
  const weights = g.results.map((r) => {
    const w = drawLike(r.type, next);
    return b.one({ prim: 'array', data: numbersOf(w), shape: r.type.shape as number[], dtype: r.type.dtype }, []);
  });
  const { grads } = vjp(b, g, xs, weights);
  return b.build(floats(g).map((i) => grads[i] ?? b.fill(0, (xs[i] as Value).type)));
};

/** Forward against differences and duality, of g and of its gradient. */
export const checkAll = (g: Graph, args: readonly Arg[], seed: number): void => {
  const next = numbers(seed);
  const xs = args.map((a) => draw(a, next));
  const vs = floats(g).map((i) => drawLike((g.params[i] as Value).type, next));
  const us = g.results.map((r) => drawLike(r.type, next));
  checkForward(g, xs, vs);
  checkDuality(g, xs, vs, us);
  const grad = gradGraph(g, next);
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
