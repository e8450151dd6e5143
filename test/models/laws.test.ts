/** What must hold of a training step whatever the numbers: symmetries, the limits of its rates, the irrelevance of padding. */
import { describe, expect, it } from 'vitest';
import { trace } from '../../dsl/index.ts';
import { batchSpec, hyperAt, hyperSpec, initState, stateSpec, trainStep } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { demo, type Recipe } from '../../models/recipes.ts';
import { allNumbers, compileFor, mapNumbers, type Numbers, numbers } from './evaluate.ts';
import { distance, random } from './random.ts';

const recipe: Recipe = {
  ...demo,
  batch: 3,
  model: { ...demo.model, width: 8, depth: 2, heads: 2, imageSize: 12 },
  crops: { ...demo.crops, globalSize: 12, localSize: 8, locals: 2 },
  dino: { weight: 1, prototypes: 10, hidden: 12, bottleneck: 6, layers: 3 },
};
const g = geometry(recipe);
const n = g.globalTokens;

/** Initial parameters are close to the identity of the network; larger ones make every term count. */
const state = mapNumbers((x, path) => (/student|teacher/.test(path) ? { ...random(path, x.shape) } : x), initState(recipe, 1));

/** Masked patches per crop; rows are listed in ascending order, as collation does. */
const batch = (masked: readonly (readonly number[])[], images: { global: Numbers; local: Numbers }, filler = 0): unknown => {
  const masks = new Float64Array(2 * recipe.batch * n);
  const rows: number[] = [];
  const weights: number[] = [];
  masked.forEach((list, crop) =>
    list.forEach((i) => {
      masks[crop * n + i] = 1;
      rows.push(crop * n + i);
      weights.push(1 / list.length);
    }),
  );
  const pad = (xs: readonly number[], fill: number): number[] => Array.from({ length: g.maskRows }, (_, i) => xs[i] ?? fill);
  return {
    ...images,
    masks: numbers(masks, [2 * recipe.batch, n], 'bool'),
    maskIndices: numbers(pad(rows, filler), [g.maskRows], 'i32'),
    maskWeights: numbers(pad(weights, 0), [g.maskRows]),
    maskCount: numbers([rows.length], []),
  };
};
const images = { global: random('global', [6, 3, 12, 12]), local: random('local', [6, 3, 8, 8]) };
const masked = [[1, 4], [], [0], [2, 3], [], []];
const hyper = (change: Record<string, number> = {}): unknown => {
  const base = { ...hyperAt(recipe)(recipe.optim.epochLength * 2) } as Record<string, Numbers>;
  return Object.fromEntries(Object.entries(base).map(([k, v]) => [k, k in change ? numbers([change[k] as number], []) : v]));
};

const { run } = compileFor(trainStep(recipe) as (...xs: never[]) => unknown, [state, batch(masked, images), hyper()], g.sizes);
interface Out {
  readonly state: { readonly student: unknown; readonly teacher: unknown; readonly step: Numbers };
  readonly metrics: Readonly<Record<string, Numbers>>;
}
const step = (b: unknown, h: unknown = hyper()): Out => run(state, b, h) as Out;
const apart = (a: unknown, b: unknown): number =>
  Math.max(...allNumbers(a).map((x, i) => distance(x.data, (allNumbers(b)[i] as Numbers).data)));
const side = (name: 'student' | 'teacher'): unknown => (state as Record<string, unknown>)[name];

describe('a training step', () => {
  it('has the same losses when the two global crops of every image change places', () => {
    const half = (x: Numbers): Numbers =>
      numbers([...Array.from(x.data).slice(x.data.length / 2), ...Array.from(x.data).slice(0, x.data.length / 2)], x.shape);
    const swapped = batch([...masked.slice(3), ...masked.slice(0, 3)], { ...images, global: half(images.global) });
    const [a, b] = [step(batch(masked, images)), step(swapped)];
    // Sums in another order: some hundred roundings of numbers of order 1 to 10.
    expect(apart(a.metrics, b.metrics)).toBeLessThan(1e-12);
    expect(a.metrics.loss?.data[0]).not.toBe(0);
  });

  it('does not see what stands in rows of padding', () => {
    const [a, b] = [step(batch(masked, images)), step(batch(masked, images, 17))];
    expect(apart(a, b)).toBe(0);
  });

  it('keeps the teacher at momentum 1 and copies the student at momentum 0', () => {
    const [still, copied] = [step(batch(masked, images), hyper({ momentum: 1 })), step(batch(masked, images), hyper({ momentum: 0 }))];
    expect(apart(still.state.teacher, side('teacher'))).toBe(0);
    expect(apart(copied.state.teacher, copied.state.student)).toBe(0);
  });

  it('leaves the student where it is at learning rate 0, prototypes at their own rate 0', () => {
    expect(apart(step(batch(masked, images), hyper({ lr: 0, lastLayerLr: 0 })).state.student, side('student'))).toBe(0);
    const frozen = step(batch(masked, images), hyper({ lastLayerLr: 0 })).state.student as {
      dino_head: { last_layer: unknown };
      backbone: unknown;
    };
    const before = side('student') as typeof frozen;
    expect(apart(frozen.dino_head.last_layer, before.dino_head.last_layer)).toBe(0);
    expect(apart(frozen.backbone, before.backbone)).toBeGreaterThan(0);
  });

  it('counts steps and sees a learning signal in every parameter', () => {
    const out = step(batch(masked, images));
    expect(Array.from(out.state.step.data)).toEqual([1]);
    const [before, after] = [allNumbers(side('student')), allNumbers(out.state.student)];
    before.forEach((x, i) => expect(distance(x.data, (after[i] as Numbers).data)).toBeGreaterThan(0));
  });
});

it('traces the demo from its specs alone', () => {
  const { graph } = trace(trainStep(demo), [stateSpec(demo), batchSpec(demo), hyperSpec()], { dims: geometry(demo).sizes });
  expect(graph.params.length).toBe(allNumbers(initState(demo, 0)).length + 6 + 5);
  expect(graph.params.every((p) => p.type.shape.every((d) => typeof d === 'number'))).toBe(true);
});
