/**
 * Steps of random programs that are more than one primitive: calls of the language's own composites, and what random keys are used
 * for. Each is traced from the definition that models use, so that a program has the very regions that a model would have.
 *
 *   gelu of a f32[2 3]   ->   %5: f32[2 3] = call(%4) tag=gelu { ... }
 *   split of a key       ->   %6: u32[2 2] = randomBits(%5) shape=[2 2] and the two rows
 */
import { known } from '../compiler/graph/dim.ts';
import { isFloat, type TensorType, type Value } from '../compiler/graph/types.ts';
import {
  type AnyTensor,
  einsum,
  type F32,
  gelu,
  layerNorm,
  logSoftmax,
  random,
  relu,
  sigmoid,
  silu,
  softmax,
  spec,
  trace,
} from '../dsl/index.ts';
import type { Grow } from './rows/grow.ts';

type Word = (g: Grow) => readonly (readonly [Value, number])[];

/** Traces f over arguments of these types and appends what it did. */
const define = (g: Grow, args: readonly Value[], f: (...xs: readonly never[]) => unknown): readonly Value[] => {
  const specs = args.map((v) => spec(v.type.shape.join(' '), v.type.dtype));
  const { graph } = trace(f as unknown as (...xs: readonly AnyTensor[]) => unknown, specs as never);
  return g.b.inline(graph, args);
};

const last = (v: Value): number => known(v.type.shape.at(-1) ?? 0);
/** A float value whose last axis has elements, or a new one. */
const rowsOf = (g: Grow): Value =>
  g.where(
    (v) => isFloat(v.type.dtype) && last(v) > 0,
    () => g.b.fill(0.5, { dtype: 'f32', shape: [3] }),
  );
const float = (g: Grow): Value => g.any(isFloat);

const unary =
  (f: (x: never) => unknown, operand: (g: Grow) => Value, bound: (b: number, v: Value) => number): Word =>
  (g) => {
    const x = operand(g);
    return define(g, [x], f as never).map((v) => [v, bound(g.boundOf(x), x)] as const);
  };

const key = (g: Grow): Value =>
  g.where(
    (v) => v.type.dtype === 'u32' && v.type.shape.length === 1 && v.type.shape[0] === 2,
    () => g.b.one({ prim: 'array', data: [g.pick(9), g.pick(9)], shape: [2], dtype: 'u32' }, []),
  );
const drawn =
  (f: (k: never, shape: string) => unknown, bound: number): Word =>
  (g) => {
    const shape = g.shape();
    if (!g.fits(shape)) return [];
    return define(g, [key(g)], ((k: never) => f(k, shape.join(' '))) as never).map((v) => [v, bound] as const);
  };

/** Composites: a `call` whose body is the language's definition. */
export const composites: readonly Word[] = [
  unary(softmax as never, rowsOf, () => 1),
  unary(gelu as never, float, (b) => b),
  (g) => {
    const x = rowsOf(g);
    const vector: TensorType = { dtype: x.type.dtype, shape: [last(x)] };
    const [w, b] = [g.like(vector), g.like(vector)];
    // a row of n numbers of mean 0 and variance 1 has none above sqrt(n)
    const bound = Math.sqrt(last(x)) * g.boundOf(w) + g.boundOf(b);
    return define(g, [x, w, b], layerNorm as never).map((v) => [v, bound] as const);
  },
  unary(logSoftmax as never, rowsOf, (b, x) => 2 * b + Math.log(last(x))),
  unary(silu as never, float, (b) => b),
  unary(sigmoid as never, float, () => 1),
  unary(relu as never, float, (b) => b),
  // attention, as models write it: rows of one value as queries, those of another as keys and values
  (g) => {
    const tall = (v: Value): boolean => v.type.dtype === 'f32' && v.type.shape.length === 2 && !v.type.shape.includes(0);
    const q = g.where(tall, () => g.b.fill(0.5, { dtype: 'f32', shape: [3, 2] }));
    const k = g.where(
      (v) => tall(v) && v.type.shape[1] === q.type.shape[1],
      () => q,
    );
    const look = (x: F32<'N D'>, y: F32<'M D'>) => einsum('n m, m d -> n d', softmax(einsum('n d, m d -> n m', x.mul(0.5), y)), y);
    return define(g, [q, k], look as never).map((v) => [v, g.boundOf(k)] as const);
  },
];

/** Uses of random keys. */
export const randoms: readonly Word[] = [
  drawn(random.uniform as never, 1),
  drawn(random.normal as never, 6),
  (g) => define(g, [key(g)], ((k: never) => random.split(k, 2)) as never).map((v) => [v, 1] as const),
  drawn(((k: never, shape: string) => random.bernoulli(k, 0.3, shape)) as never, 1),
  (g) => define(g, [key(g)], ((k: never) => random.fold(k, g.pick(5))) as never).map((v) => [v, 1] as const),
];
