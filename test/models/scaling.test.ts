/**
 * Loss scaling in f16, compiled: gradients that f16 cannot hold without it, a scale that is too large, and how it grows. One linear layer,
 * whose gradient is x' dy with dy = 2 e / n, all numbers chosen so that f16 holds them exactly once they are scaled.
 */
import { describe, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { compile, einsum, type F32, type HostOf, host, type Input, type Scalar, spec, sum, toHost } from '../../index.ts';
import { batchSpec, hyperSpec, initState, stateSpec, trainStep } from '../../models/dinov2.ts';
import { globalNorm } from '../../models/optimizer.ts';
import { recipeAt, stepPrecision } from '../../models/precision.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import {
  ifFinite,
  initLossScale,
  isNumber,
  type LossScale,
  lossScaleSpec,
  nextScale,
  type ScaleRule,
  scaledGrad,
} from '../../models/scaling.ts';
import { batchAt, compileTiny, hyper, tiny, train } from '../compile/tiny.ts';

type Model = { readonly w: F32<'4 3'> };
const step = (rule: Partial<ScaleRule>) => (model: Model, scaling: LossScale, x: F32<'8 4'>, unit: Scalar) => {
  // dy is `unit` everywhere
  const loss = (m: Model): readonly [Scalar, readonly []] => [sum('b o ->', einsum('b i, i o -> b o', x, m.w)).mul(unit), []];
  const { grads } = scaledGrad(loss)(model, scaling);
  const norm = globalNorm(grads);
  const finite = isNumber(norm);
  const moved = { w: model.w.sub(grads.w) };
  return { model: ifFinite(finite, moved, model), grads, norm, scaling: nextScale(scaling, finite, rule) };
};

const program = (rule: Partial<ScaleRule> = {}, precision: 'f16' | 'bf16' = 'f16') =>
  compile(step(rule), [{ w: spec('4 3') }, lossScaleSpec(), spec('8 4'), spec('')], { backend: cpu(), precision });
const x = host(
  Float32Array.from({ length: 32 }, (_, i) => (i % 5) - 2),
  [8, 4],
);
const w = host(
  Float32Array.from({ length: 12 }, (_, i) => i / 4),
  [4, 3],
);
/** What dw is for a dy of `unit` everywhere: sums of the columns of x. */
const gradient = (unit: number): number[] =>
  Array.from({ length: 12 }, (_, i) => {
    let sum = 0;
    for (let b = 0; b < 8; b++) sum += x.data[4 * b + Math.floor(i / 3)] as number;
    return sum * unit;
  });
const run = async (p: Awaited<ReturnType<typeof program>>, scaling: Input<LossScale>, unit: number) =>
  toHost(await p({ w }, scaling, x, unit));

test('gradients below the smallest f16 are lost without a scale, and exact with one', async () => {
  const p = await program();
  const unit = 2 ** -26;
  const lost = await run(p, initLossScale(1), unit);
  expect([...lost.grads.w.data].every((g) => g === 0)).toBe(true);
  const kept = await run(p, initLossScale(), unit);
  expect([...kept.grads.w.data]).toEqual(gradient(unit));
  expect(kept.norm.data[0]).toBeCloseTo(Math.hypot(...gradient(unit)), 10);
  // bf16 needs no scale
  const wide = await run(await program({}, 'bf16'), initLossScale(1), unit);
  expect([...wide.grads.w.data]).toEqual(gradient(unit));
});

test('a scale that is too large skips the step and is halved until it fits', async () => {
  const p = await program();
  let scaling: HostOf<LossScale> = initLossScale(2 ** 19);
  const scales: number[] = [];
  for (let i = 0; i < 5; i++) {
    const r = await run(p, scaling, 1);
    const fits = (scaling.scale.data[0] as number) < 65520;
    expect([...r.model.w.data]).toEqual(fits ? Array.from(w.data, (v, k) => v - (gradient(1)[k] as number)) : [...w.data]);
    scaling = r.scaling as HostOf<LossScale>;
    scales.push(scaling.scale.data[0] as number);
  }
  expect(scales).toEqual([2 ** 18, 2 ** 17, 2 ** 16, 2 ** 15, 2 ** 15]);
  expect(scaling.streak.data[0]).toBe(1);
});

test('the scale grows after a run of good steps, and never to infinity or zero', async () => {
  const p = await program({ growth: 4, interval: 3 });
  let scaling: HostOf<LossScale> = initLossScale(8);
  const seen: string[] = [];
  for (let i = 0; i < 7; i++) {
    scaling = (await run(p, scaling, 2 ** -20)).scaling as HostOf<LossScale>;
    seen.push(`${scaling.scale.data[0]} ${scaling.streak.data[0]}`);
  }
  expect(seen).toEqual(['8 1', '8 2', '32 0', '32 1', '32 2', '128 0', '128 1']);
  const once = await program({ interval: 1 });
  expect((await run(once, initLossScale(2 ** 126), 0)).scaling.scale.data[0]).toBe(2 ** 126);
  expect((await run(once, initLossScale(2 ** -126), Number.NaN)).scaling.scale.data[0]).toBe(2 ** -126);
});

describe('a training step with f16', () => {
  const scaled = recipeAt(tiny, 'f16');
  const compiled = compile(trainStep(scaled), [stateSpec(scaled), batchSpec(scaled), hyperSpec()], {
    backend: cpu(),
    dims: geometry(scaled).sizes,
    precision: stepPrecision('f16'),
  });
  const from = (scale: number) => ({ ...initState(scaled, 5), scaling: initLossScale(scale) });

  test('has the losses and gradients of float32, and counts good steps', async () => {
    // at 65536, where a scale begins, slopes of logits with a temperature of 0.1 are beyond f16
    const [want] = await train(await compileTiny(cpu()), 1);
    const step = await compiled;
    const got = await toHost(await step(from(1024), batchAt(0), hyper(0)));
    // operands are rounded to 11 bits, at most 2^-12 of each; a loss sums the logarithms of sums of hundreds of them
    for (const name of ['loss', 'dino_local_crops_loss', 'ibot_loss'] as const)
      expect(Math.abs((got.metrics[name].data[0] as number) / (want?.metrics[name].data[0] as number) - 1)).toBeLessThan(2 ** -11);
    for (const name of ['backbone', 'dino_head'] as const) {
      const [a, b] = [got.metrics.grad_norm[name].data[0], want?.metrics.grad_norm[name].data[0]] as [number, number];
      expect(Math.abs(a / b - 1)).toBeLessThan(2 ** -6);
    }
    expect([got.state.scaling?.scale.data[0], got.state.scaling?.streak.data[0], got.state.step.data[0]]).toEqual([1024, 1, 1]);
  });

  test('leaves the state as it was, and halves the scale, where the scaled gradient is infinite', async () => {
    const step = await compiled;
    const before = from(2 ** 40);
    const { state, metrics } = await toHost(await step(before, batchAt(0), hyper(0)));
    const { scaling, ...rest } = state;
    const { scaling: _, ...old } = before;
    expect(rest).toEqual(old);
    expect([scaling?.scale.data[0], scaling?.streak.data[0]]).toEqual([2 ** 39, 0]);
    expect(Number.isFinite(metrics.loss.data[0])).toBe(true);
  });
});
