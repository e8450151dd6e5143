/**
 * The composed objective, differentiated, against finite differences in float64: along a random direction through the whole
 * parameter tree, D(h) = (f(p + h v) - f(p - h v)) / 2h. Its error shrinks with h^2, so D(2h) - D(h) is three times the error of
 * D(h); a gradient must agree within four times that, plus what rounding leaves of f (2^-52 |f| / h, times the depth of the sums).
 */
import { describe, expect, it } from 'vitest';
import { leaves, type Scalar, valueAndGrad } from '../../dsl/index.ts';
import { objective } from '../../models/dinov2/objective.ts';
import { targets } from '../../models/dinov2/targets.ts';
import { type Batch, type Network, network } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { keepLists } from '../../models/recipes/inputs.ts';
import { demo, type Recipe } from '../../models/recipes.ts';
import { allNumbers, compileFor, type Numbers, nest, numbers } from './evaluate.ts';
import { random } from './random.ts';

const tiny: Recipe = {
  ...demo,
  batch: 3,
  model: { ...demo.model, width: 8, depth: 2, heads: 2, imageSize: 12, layerScale: 0.5, registers: 0 },
  crops: { ...demo.crops, globalSize: 12, localSize: 8, locals: 2 },
  dino: { weight: 1, prototypes: 10, hidden: 12, bottleneck: 6, layers: 3 },
  optim: { ...demo.optim },
};
const variants: readonly (readonly [string, Recipe])[] = [
  ['shared head', tiny],
  [
    'separate head, SwiGLU, registers, stochastic depth, weighted losses',
    {
      ...tiny,
      model: { ...tiny.model, ffn: 'swiglu', registers: 2, interpolation: { offset: 0, antialias: true } },
      dropPath: { rate: 0.4, uniform: false },
      dino: { ...tiny.dino, weight: 0.7 },
      ibot: { weight: 1.3, head: { prototypes: 9, hidden: 7, bottleneck: 5, layers: 2 } },
    },
  ],
];

const weights = (r: Recipe, side: string): unknown =>
  nest(
    leaves(network(r)).map(
      ({ path, shape }) =>
        [
          path,
          random(`${side}/${path}`, shape as number[], { offset: /norm.*weight|weight_g|gamma/.test(path) ? 1 : 0, scale: 0.4 }),
        ] as const,
    ),
  );

const batchOf = (r: Recipe): unknown => {
  const g = geometry(r);
  const masked = new Float64Array(2 * r.batch * g.globalTokens);
  const rows = Array.from({ length: g.maskRows - 1 }, (_, i) => 3 + 2 * i);
  for (const i of rows) masked[i] = 1;
  return {
    global: random('global', [2 * r.batch, 3, r.crops.globalSize, r.crops.globalSize]),
    local: random('local', [r.crops.locals * r.batch, 3, r.crops.localSize, r.crops.localSize]),
    masks: numbers(masked, [2 * r.batch, g.globalTokens], 'bool'),
    maskIndices: numbers([...rows, 0], [g.maskRows], 'i32'),
    maskWeights: numbers([...rows.map((_, i) => 1 / (1 + (i % 3))), 0], [g.maskRows]),
    maskCount: numbers([g.maskRows - 1], []),
    ...(r.dropPath.rate > 0 ? { keep: keepLists(r, 7)(0) } : {}),
  };
};

describe('gradient of the objective', () => {
  it.each(variants)('%s: agrees with central differences along random directions', (_, r) => {
    const f = (student: Network, teacher: Network, batch: Batch, temp: Scalar) =>
      valueAndGrad((s: Network) => objective(r, s, batch, targets(r, teacher, batch, temp)), { hasAux: true })(student);
    const [student, teacher, batch, temp] = [weights(r, 'student'), weights(r, 'teacher'), batchOf(r), numbers([0.07], [])];
    const { run } = compileFor(f as (...xs: never[]) => unknown, [student, teacher, batch, temp], geometry(r).sizes);
    const at = (tree: unknown) => run(tree, teacher, batch, temp) as [Numbers, unknown, unknown];
    const [value, , grads] = at(student);
    const gradient = allNumbers(grads);
    for (const seed of ['a', 'b']) {
      const direction = allNumbers(student).map((x, i) => random(`${seed}/${i}`, x.shape).data);
      const moved = (h: number): number => {
        let i = 0;
        const shift = (x: Numbers): Numbers => {
          const v = direction[i++] as ArrayLike<number>;
          return numbers(
            Float64Array.from(x.data, (w, k) => w + h * (v[k] as number)),
            x.shape,
          );
        };
        return at(nest(leaves(network(r)).map(({ path }, k) => [path, shift(allNumbers(student)[k] as Numbers)] as const)))[0]
          .data[0] as number;
      };
      const central = (h: number): number => (moved(h) - moved(-h)) / (2 * h);
      const slope = gradient.reduce(
        (s, g, i) => s + Array.from(g.data).reduce((t, x, k) => t + x * ((direction[i] as ArrayLike<number>)[k] as number), 0),
        0,
      );
      const h = 1e-4;
      const [fine, coarse] = [central(h), central(2 * h)];
      const tolerance = (4 * Math.abs(coarse - fine)) / 3 + (1000 * 2 ** -52 * Math.abs(value.data[0] as number)) / h;
      expect(Math.abs(slope)).toBeGreaterThan(100 * tolerance);
      expect(Math.abs(slope - fine)).toBeLessThan(tolerance);
    }
  });
});
