/** What must hold of a training step whatever the numbers: symmetries, the limits of its rates, the irrelevance of padding. */
import { describe, expect, it } from 'vitest';
import { trace } from '../../dsl/index.ts';
import { batchSpec, hyperSpec, initState, stateSpec, trainStep } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { demo } from '../../models/recipes.ts';
import { allNumbers, type Numbers, numbers } from './evaluate.ts';
import { distance } from './random.ts';
import { masked, tiny, tinyStep } from './tiny.ts';

const { state, images, batch, hyper, step } = tinyStep(tiny);
const apart = (a: unknown, b: unknown): number =>
  Math.max(...allNumbers(a).map((x, i) => distance(x.data, (allNumbers(b)[i] as Numbers).data)));
const side = (name: 'student' | 'teacher'): unknown => state[name];

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
