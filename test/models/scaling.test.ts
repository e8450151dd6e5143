/**
 * Loss scaling in f16, compiled: gradients that f16 cannot hold without it, a scale that is too large, and how it grows. One linear layer,
 * whose gradient is x' dy with dy = 2 e / n, all numbers chosen so that f16 holds them exactly once they are scaled.
 */
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { compile, einsum, type F32, type HostOf, host, type Input, type Scalar, spec, sum, toHost } from '../../index.ts';
import { ifFinite, initLossScale, type LossScale, lossScaleSpec, nextScale, type ScaleRule, scaledGrad } from '../../models/scaling.ts';

type Model = { readonly w: F32<'4 3'> };
const step = (rule: Partial<ScaleRule>) => (model: Model, scaling: LossScale, x: F32<'8 4'>, unit: Scalar) => {
  // dy is `unit` everywhere
  const loss = (m: Model): Scalar => sum('b o ->', einsum('b i, i o -> b o', x, m.w)).mul(unit);
  const { grads, norm, finite } = scaledGrad(loss)(model, scaling);
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
