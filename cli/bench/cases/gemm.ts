/**
 * Products of two matrices, in the three layouts of a linear layer: NT is the layer itself (x W^T), NN the gradient of its input (dy W),
 * TN the gradient of its weight (dy^T x). The default list is what a model's own layers multiply; `--shape MxNxK` gives one of them.
 *
 *   fovea bench gemm --model vits14 --batch 8        qkv 2056x1152x384 NT, its dx 2056x384x1152 NN, its dW 1152x384x2056 TN, ...
 */
import { einsum, type F32, spec } from '../../../index.ts';
import { swigluHidden } from '../../../models/layers.ts';
import { geometry } from '../../../models/recipes/geometry.ts';
import type { Recipe } from '../../../models/recipes.ts';
import { atPlaces, spread } from '../check.ts';
import { formula, prepare } from '../prepared.ts';
import type { Case, Check } from '../types.ts';

export const layouts = ['NT', 'NN', 'TN'] as const;
export type Layout = (typeof layouts)[number];

interface Product {
  readonly name: string;
  readonly layout: Layout;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** The patterns written out: a pattern is a literal type. */
const programs = {
  NT: { f: (x: F32<'M K'>, w: F32<'N K'>) => einsum('m k, n k -> m n', x, w), specs: [spec('M K'), spec('N K')] },
  NN: { f: (x: F32<'M K'>, w: F32<'K N'>) => einsum('m k, k n -> m n', x, w), specs: [spec('M K'), spec('K N')] },
  TN: { f: (x: F32<'K M'>, w: F32<'K N'>) => einsum('k m, k n -> m n', x, w), specs: [spec('K M'), spec('K N')] },
} as const;

/** Float64 sums at about 8 x 8 places of the result. */
const sums = ({ layout, m, n, k }: Product, a: ReturnType<typeof formula>, b: ReturnType<typeof formula>): Check =>
  atPlaces('float64 sums at 64 places', () => {
    const [x, y] = [a.load(), b.load()];
    const left = (i: number, l: number): number => x[layout === 'TN' ? l * m + i : i * k + l] as number;
    const right = (j: number, l: number): number => y[layout === 'NT' ? j * k + l : l * n + j] as number;
    const places = spread(8, m).flatMap((i) => spread(8, n).map((j) => [i, j] as const));
    const value = (i: number, j: number): number => {
      let s = 0;
      for (let l = 0; l < k; l++) s += left(i, l) * right(j, l);
      return s;
    };
    return new Map([['', places.map(([i, j]) => [i * n + j, value(i, j)] as const)]]);
  });

const productCase = (p: Product): Case => {
  const { f, specs } = programs[p.layout];
  const { m, n, k } = p;
  const [a, b] = [formula('left', p.layout === 'TN' ? [k, m] : [m, k]), formula('right', p.layout === 'NT' ? [n, k] : [k, n])];
  return {
    name: `${p.name} ${p.layout}`.trim(),
    shape: `${m}x${n}x${k}`,
    timed: 'launches',
    bound: 'arithmetic',
    flops: 2 * m * n * k,
    bytes: 4 * (m * k + k * n + m * n),
    prepare: prepare(f, specs, [a, b], { dims: { M: m, N: n, K: k } }),
    check: sums(p, a, b),
  };
};

/** A linear layer of `rows` rows from i to o features: forward, gradient of the input, gradient of the weight. */
const layer = (name: string, rows: number, i: number, o: number): readonly Product[] => [
  { name, layout: 'NT', m: rows, n: o, k: i },
  { name: `${name} dx`, layout: 'NN', m: rows, n: i, k: o },
  { name: `${name} dW`, layout: 'TN', m: o, n: i, k: rows },
];

/** The layers of a block on global crops, and the prototypes of a training step's head for masked patches. */
export const modelProducts = (r: Recipe, tokens: number, layout?: Layout): readonly Case[] => {
  const { width: d, ffn, mlpRatio = 4 } = r.model;
  const hidden = d * mlpRatio;
  const gated = swigluHidden(hidden);
  const feed =
    ffn === 'swiglu'
      ? [layer('w12', tokens, d, 2 * gated), layer('w3', tokens, gated, d)]
      : ffn === 'mlp'
        ? [layer('fc1', tokens, d, hidden), layer('fc2', tokens, hidden, d)]
        : [];
  const rows = geometry(r).maskRows;
  const all = [
    layer('qkv', tokens, d, 3 * d),
    layer('proj', tokens, d, d),
    ...feed,
    layer('prototypes', rows, r.dino.bottleneck, r.dino.prototypes),
  ].flat();
  return all.filter((p) => layout === undefined || p.layout === layout).map(productCase);
};

export const productOf = ([m, n, k]: readonly [number, number, number], layout: Layout = 'NT'): Case =>
  productCase({ name: '', layout, m, n, k });
