/** A training run on real images, at a tiny size: what it yields, how it ends early, what it says when the loss diverges. */
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { FoveaError } from '../../compiler/error.ts';
import { flatten, type HostTensor, toHost } from '../../index.ts';
import { loadFashion } from '../../models/data/index.ts';
import { initState } from '../../models/dinov2.ts';
import type { Recipe } from '../../models/recipes.ts';
import { checkpointBytes, type StepMetrics, spanning, startRun } from '../../models/train/run.ts';
import { tiny } from './tiny.ts';

const images = loadFashion().train;
const start = (recipe: Recipe, seed = 3) => startRun({ recipe, images, backend: cpu({ threads: 2 }), seed });
const all = async (steps: AsyncIterable<StepMetrics>): Promise<StepMetrics[]> => {
  const out: StepMetrics[] = [];
  for await (const m of steps) out.push(m);
  return out;
};
const losses = (ms: readonly StepMetrics[]) => ms.map((m) => m.losses);

test('a run is a function of its seed, and goes on where it stopped', { timeout: 60_000 }, async () => {
  const recipe = spanning(tiny, 6);
  const run = await start(recipe);
  const first = await all(run.train(4));
  expect(first.map((m) => m.step)).toEqual([1, 2, 3, 4]);
  const rest = await all(run.train(2));
  expect(rest.map((m) => m.step)).toEqual([5, 6]);
  const again = await all((await start(recipe)).train(6));
  expect(losses(again)).toEqual(losses([...first, ...rest]));
  const other = await all((await start(recipe, 4)).train(1));
  expect(losses(other)).not.toEqual(losses(first.slice(0, 1)));
});

test('stochastic depth gets its lists of kept images', { timeout: 60_000 }, async () => {
  const thinned = spanning({ ...tiny, dropPath: { rate: 0.5, uniform: true } }, 4);
  const run = await start(thinned);
  const steps = await all(run.train(2));
  expect(steps.map((m) => m.step)).toEqual([1, 2]);
  // the same weights, images and masks, but branches run on half of the images
  const whole = await all((await start(spanning(tiny, 4))).train(2));
  expect(losses(steps)).not.toEqual(losses(whole));
});

test('a signal ends a run after the step it is in', { timeout: 60_000 }, async () => {
  const stop = new AbortController();
  const run = await start(spanning(tiny, 100));
  const done: number[] = [];
  for await (const m of run.train(100, stop.signal)) {
    done.push(m.step);
    if (m.step === 2) stop.abort();
  }
  expect(done).toEqual([1, 2]);
  const state = await toHost(run.state());
  expect(state.step.data[0]).toBe(2);
});

test('a loss that is no number ends the run and names its terms', { timeout: 60_000 }, async () => {
  const run = await start({ ...spanning(tiny, 20), optim: { ...tiny.optim, baseLr: 1e30, warmupEpochs: 0, epochLength: 20 } });
  const failed = await all(run.train(20)).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(failed).toBeInstanceOf(FoveaError);
  const { code, message, hint } = failed as FoveaError;
  expect(code).toBe('FV0409');
  expect(message).toMatch(/^the loss of step \d+ is (NaN|-?Infinity): \w+ (NaN|-?Infinity), /);
  expect(hint).toContain('learning rate');
});

test('the bytes of a checkpoint are known beforehand', () => {
  const bytes = flatten(initState(tiny, 0)).reduce((n, { leaf }) => n + (leaf as HostTensor).data.byteLength, 0);
  expect(checkpointBytes(tiny)).toBe(bytes);
});
