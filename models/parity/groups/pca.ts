/** Group pca: principal components of a matrix of low rank with noise. How many of them a case wants, its outputs' shapes say. */
import { z } from 'zod';
import { pca as decompose } from '../../eval/pca.ts';
import { type Case, configOf, malformed, sizeFrom } from '../catalogue.ts';
import { filled, numbers, type Runner } from '../context.ts';

const whole = sizeFrom(1);
const config = z.object({ n: whole, dim: whole, rank: whole, weights: z.array(z.number()), noise: z.number() });

/** The first size of an output, 0 if the case has no such output. */
const sizeOf = (c: Case, name: string): number => c.outputs.find((o) => o.name === name)?.shape[0] ?? 0;

export const pca: Runner = (c) => {
  const { n, dim, rank, weights, noise } = configOf(c, config);
  const [a, b, e] = ['a', 'b', 'e'].map((name) => filled(c, name).data) as [Float32Array, Float32Array, Float32Array];
  if (e.length !== n * dim || a.length !== n * rank || b.length !== rank * dim)
    throw malformed(`case ${c.id}`, `its inputs are no matrices of ${n} x ${dim} and rank ${rank}`);
  const x = Float64Array.from({ length: n * dim }, (_, i) => {
    const [r, d] = [Math.floor(i / dim), i % dim];
    let sum = noise * e[i]!;
    for (let k = 0; k < rank; k++) sum += a[r * rank + k]! * weights[k]! * b[k * dim + d]!;
    return sum;
  });
  const [few, many] = [sizeOf(c, 'components'), sizeOf(c, 'singular_values')];
  const p = decompose(x, dim, few);
  return new Map([
    ['mean', numbers(p.mean, [dim])],
    ['components', numbers(p.components, [few, dim])],
    ['projections', numbers(p.projections, [n, few])],
    ['explained_variance_ratio', numbers(p.explained, [few])],
    ['singular_values', numbers(decompose(x, dim, many).singularValues, [many])],
  ]);
};
