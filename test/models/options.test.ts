/** Where the original does something odd, we do the same, and an option turns it off: what each option changes, and nothing else. */
import { describe, expect, it } from 'vitest';
import { flatten, type HostTensor, init } from '../../dsl/index.ts';
import { initState, network } from '../../models/dinov2.ts';
import { rates } from '../../models/optimizer.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { keepLists } from '../../models/recipes/inputs.ts';
import type { Recipe } from '../../models/recipes.ts';
import { vit } from '../../models/vit.ts';
import { allNumbers, type Numbers, numbers } from './evaluate.ts';
import { distance } from './random.ts';
import { type Images, masked, type Out, tiny, tinyStep, unmasked } from './tiny.ts';

const value = (out: Out, name: string): number => out.metrics[name]?.data[0] as number;
const apart = (a: unknown, b: unknown): number =>
  Math.max(...allNumbers(a).map((x, i) => distance(x.data, (allNumbers(b)[i] as Numbers).data)));
const norm = (tree: unknown): number => Math.hypot(...allNumbers(tree).flatMap((x) => Array.from(x.data)));
/** Sums of some hundred terms of order 1 to 10 in another order. */
const rounding = 1e-12;
const base = tinyStep(tiny);
const out = base.step();

describe('what the losses look at', () => {
  it("dino.view 'whole' compares unmasked crops: it is blind to masks, iBOT is not", () => {
    const whole = tinyStep({ ...tiny, dino: { ...tiny.dino, view: 'whole' } });
    const [a, b] = [whole.step(whole.batch(masked)), whole.step(whole.batch(unmasked))];
    const plain = base.step(base.batch(unmasked));
    for (const name of ['dino_local_crops_loss', 'dino_global_crops_loss'])
      expect(Math.abs(value(a, name) - value(plain, name))).toBeLessThan(rounding);
    expect(Math.abs(value(a, 'dino_global_crops_loss') - value(out, 'dino_global_crops_loss'))).toBeGreaterThan(1e-6);
    expect(value(a, 'ibot_loss')).toBe(value(out, 'ibot_loss'));
    expect(Math.abs(value(b, 'ibot_loss'))).toBe(0);
  });

  it("koleo.crops 'first' is one of two terms", () => {
    const first = tinyStep({ ...tiny, koleo: { weight: 0.1, crops: 'first' } });
    const half = ({ data, shape }: Numbers): Numbers =>
      numbers([...Array.from(data).slice(data.length / 2), ...Array.from(data).slice(0, data.length / 2)], shape);
    const swapped: Images = { ...base.images, global: half(base.images.global) };
    const [a, b] = [first.step(), first.step(first.batch([...masked.slice(3), ...masked.slice(0, 3)], swapped))];
    expect(Math.abs(value(a, 'koleo_loss') + value(b, 'koleo_loss') - value(out, 'koleo_loss'))).toBeLessThan(rounding);
  });

  it('terms without weight are not computed, and the others are as they were', () => {
    const same = (o: Out, names: readonly string[]): void => {
      for (const n of names) expect(Math.abs(value(o, n) - value(out, n))).toBeLessThan(rounding);
    };
    const zero = (o: Out, names: readonly string[]): void => {
      for (const n of names) expect([n, value(o, n)]).toEqual([n, 0]);
    };
    const dino = ['dino_local_crops_loss', 'dino_global_crops_loss'];
    const noIbot = tinyStep({ ...tiny, ibot: { weight: 0, head: 'shared' } }).step();
    same(noIbot, [...dino, 'koleo_loss']);
    zero(noIbot, ['ibot_loss']);
    // the original's KoLeo is part of the DINO branch
    const noDino = tinyStep({ ...tiny, dino: { ...tiny.dino, weight: 0 } }).step();
    same(noDino, ['ibot_loss']);
    zero(noDino, [...dino, 'koleo_loss']);
    const noKoleo = tinyStep({ ...tiny, koleo: { weight: 0 } }).step();
    same(noKoleo, [...dino, 'ibot_loss']);
    zero(noKoleo, ['koleo_loss']);
    expect(value(noKoleo, 'loss')).toBeCloseTo(value(out, 'loss') - 2 * value(out, 'koleo_loss'), 12);
  });

  it('without local crops counts three pairs, as the original formula does', () => {
    const none = tinyStep({ ...tiny, crops: { ...tiny.crops, locals: 0 } }).step();
    expect(value(none, 'dino_local_crops_loss')).toBe(0);
    // the same sum over pairs, divided by 3 instead of 2 + 2 * 2
    expect(value(none, 'dino_global_crops_loss')).toBeCloseTo((value(out, 'dino_global_crops_loss') * 6) / 3, 12);
  });

  it('logs a total that is not what is minimised', () => {
    const parts = ['dino_local_crops_loss', 'dino_global_crops_loss', 'koleo_loss', 'ibot_loss'].map((n) => value(out, n)) as [
      number,
      number,
      number,
      number,
    ];
    expect(value(out, 'total_loss')).toBeCloseTo(
      parts.reduce((a, b) => a + b),
      12,
    );
    expect(value(out, 'loss')).toBeCloseTo(parts[0] + parts[1] + 2 * parts[2] + 2 * parts[3], 12);
  });
});

describe('softmax centering', () => {
  const centering: Recipe = { ...tiny, centering: 'softmax' };
  it('lags one step; with center: current it does not', () => {
    const [lagged, current] = [tinyStep(centering), tinyStep({ ...centering, center: 'current' })];
    const first = lagged.step();
    const now = current.step();
    expect(value(now, 'dino_global_crops_loss')).not.toBe(value(first, 'dino_global_crops_loss'));
    // what 'current' uses now, 'lagged' uses in the next step on the same batch
    const next = lagged.step(lagged.batch(), lagged.hyper(), { ...lagged.state, centers: first.state.centers });
    for (const n of ['dino_local_crops_loss', 'dino_global_crops_loss', 'ibot_loss'])
      expect(Math.abs(value(now, n) - value(next, n))).toBeLessThan(rounding);
  });
});

describe('what is trained', () => {
  it("lengths 'fixed' keeps the lengths of the prototypes, and they take no part in the norm", () => {
    const fixed = tinyStep({ ...tiny, dino: { ...tiny.dino, lengths: 'fixed' } });
    const o = fixed.step();
    const lengths = (tree: unknown): Numbers =>
      (tree as { dino_head: { last_layer: { weight_g: Numbers } } }).dino_head.last_layer.weight_g;
    expect(apart(lengths(o.state.student), lengths(fixed.state.student))).toBe(0);
    expect(apart(lengths(out.state.student), lengths(base.state.student))).toBeGreaterThan(0);
    expect(o.metrics.grad_norm.dino_head?.data[0]).toBeLessThan(out.metrics.grad_norm.dino_head?.data[0] as number);
    expect(o.metrics.grad_norm.backbone?.data[0]).toBe(out.metrics.grad_norm.backbone?.data[0]);
  });

  it('decayTokens: false exempts tokens and positions alone', () => {
    const [decayed, exempt] = [rates(tiny), rates({ ...tiny, optim: { ...tiny.optim, decayTokens: false } })];
    const changed = [
      'backbone.cls_token',
      'backbone.pos_embed',
      'backbone.mask_token',
      'backbone.register_tokens',
      'backbone.patch_embed.proj.weight',
      'backbone.blocks.0.mlp.fc1.weight',
      'dino_head.last_layer.weight_g',
      'backbone.norm.weight',
    ].filter((p) => decayed(p).decay !== exempt(p).decay);
    expect(changed).toEqual(['backbone.cls_token', 'backbone.pos_embed', 'backbone.mask_token', 'backbone.register_tokens']);
  });

  it("clipBy 'all' bounds the norm of all gradients together", () => {
    const clip = 1e-3;
    const first = (r: Recipe): Readonly<Record<string, unknown>> =>
      tinyStep(r).step().state.moments.first as Readonly<Record<string, unknown>>;
    const [own, all] = (['network', 'all'] as const).map((clipBy) => first({ ...tiny, optim: { ...tiny.optim, clip, clipBy } }));
    // moments start at zero and take in 1 - beta1 of the clipped gradient; 1e-6 is added to a norm of order 1
    const bound = clip * (1 - tiny.optim.beta1);
    for (const net of ['backbone', 'dino_head']) expect(Math.abs(norm(own?.[net]) / bound - 1)).toBeLessThan(1e-5);
    expect(Math.abs(norm(all) / bound - 1)).toBeLessThan(1e-5);
  });

  it("update 'finite' leaves the state where the loss is no number, and changes nothing else", () => {
    const guarded = tinyStep({ ...tiny, optim: { ...tiny.optim, update: 'finite' } });
    const ok = guarded.step();
    expect(apart(ok.state, out.state)).toBe(0);
    const broken: Images = {
      ...base.images,
      local: numbers(new Float64Array(base.images.local.data.length).fill(Number.NaN), base.images.local.shape),
    };
    const [kept, moved] = [guarded.step(guarded.batch(masked, broken)), base.step(base.batch(masked, broken))];
    expect(kept.metrics.loss?.data[0]).toBeNaN();
    const { student, teacher, moments, step } = guarded.state as Out['state'];
    expect(apart(kept.state, { student, teacher, moments, step })).toBe(0);
    expect(allNumbers(moved.state.student).some((x) => Array.from(x.data).some(Number.isNaN))).toBe(true);
  });
});

describe('stochastic depth of a recipe', () => {
  const rate: Recipe = { ...tiny, dropPath: { rate: 0.5, uniform: true } };
  const run = (r: Recipe): number => {
    const t = tinyStep(r);
    const keep = keepLists(r, 3)(0);
    return value(t.step({ ...t.batch(), keep }), 'loss');
  };
  it('draws index lists, or factors with mean 1', () => {
    const lists = keepLists(rate, 1)(0)[0]?.attn;
    expect(lists?.map((l) => [l.dtype, l.shape])).toEqual([
      ['i32', [3]],
      ['i32', [3]],
    ]);
    const mask: Recipe = { ...rate, batch: 500, dropPath: { ...rate.dropPath, form: 'mask' } };
    const factors = keepLists(mask, 1)(0)[0]?.attn[0]?.data as Float32Array;
    expect(factors.length).toBe(1000);
    expect(new Set(factors)).toEqual(new Set([0, 2]));
    // 1000 draws of 0 or 2: standard error 0.032; five of them
    expect(Math.abs(factors.reduce((a, b) => a + b, 0) / 1000 - 1)).toBeLessThan(0.16);
  });
  it('runs in every form, and the forms differ', () => {
    const at = (change: Partial<Recipe['dropPath']>): number => run({ ...rate, dropPath: { ...rate.dropPath, ...change } });
    const half = at({});
    expect(Number.isFinite(half)).toBe(true);
    // of 6 images int(6 * 0.5) = 3 are kept, as at a rate of 0.45: the same lists, and batch / kept = 2 = 1 / (1 - 0.5)
    expect([at({ rate: 0.45 }), at({ scale: 'rate' })]).toEqual([half, half]);
    const others = [at({ rate: 0.45, scale: 'rate' }), at({ form: 'mask' })];
    expect(others.every(Number.isFinite)).toBe(true);
    expect(new Set([half, ...others]).size).toBe(3);
  });
  it("has a list for the third pass of view 'whole'", () => {
    expect(geometry({ ...rate, dino: { ...rate.dino, view: 'whole' } }).kept[0]).toEqual([3, 3, 3]);
  });
});

describe('first values', () => {
  const spreadOf = (x: Float32Array): number => Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length);
  it('of weights and positions are normal and not cut off, tokens are nearly zero, the rest is constant', () => {
    const params = new Map(
      flatten(init(vit({ ...tiny.model, width: 64, registers: 4, layerScale: 1e-5 }), 0)).map((l) => [l.path, l.leaf as HostTensor]),
    );
    const values = (path: string): Float32Array => params.get(path)?.data as Float32Array;
    for (const path of ['blocks.0.attn.qkv.weight', 'blocks.1.mlp.fc2.weight']) {
      // 12,288 and more numbers: the standard error of a spread is below 0.7 %, and of a normal one in 22 lies beyond two deviations
      expect(Math.abs(spreadOf(values(path)) / 0.02 - 1)).toBeLessThan(0.035);
      expect(values(path).filter((v) => Math.abs(v) > 0.04).length / values(path).length).toBeGreaterThan(0.035);
    }
    expect(Math.abs(spreadOf(values('pos_embed')) / 0.02 - 1)).toBeLessThan(0.15); // 640 numbers
    expect(Math.abs(spreadOf(values('register_tokens')) / 1e-6 - 1)).toBeLessThan(0.25); // 256
    expect(Math.max(...values('cls_token').map(Math.abs))).toBeLessThan(1e-5);
    for (const [path, v] of [
      ['mask_token', 0],
      ['blocks.0.attn.qkv.bias', 0],
      ['blocks.0.norm1.weight', 1],
      ['blocks.0.norm1.bias', 0],
      ['blocks.0.ls2.gamma', Math.fround(1e-5)],
    ] as const)
      expect([path, new Set(values(path))]).toEqual([path, new Set([v])]);
  });
  it('of the patch projection are those of a convolution, or of a linear layer', () => {
    const c = { ...tiny.model, width: 64 };
    const values = (patchInit?: 'linear'): Float32Array =>
      (init(vit(patchInit ? { ...c, patchInit } : c), 0) as { patch_embed: { proj: { weight: { data: Float32Array } } } }).patch_embed.proj
        .weight.data;
    const bound = 1 / Math.sqrt(3 * c.patch * c.patch);
    // 3072 numbers: the standard error of a spread is below 2 %
    expect(Math.abs(spreadOf(values()) / (bound / Math.sqrt(3)) - 1)).toBeLessThan(0.08);
    expect(Math.max(...values().map(Math.abs))).toBeLessThanOrEqual(Math.fround(bound));
    expect(Math.abs(spreadOf(values('linear')) / 0.02 - 1)).toBeLessThan(0.08);
  });
  it('may be those of a trained backbone, which the teacher then has too', () => {
    const trained = initState(tiny, 9).student.backbone;
    const started = initState(tiny, 1, { backbone: trained });
    expect(apart(started.student.backbone, trained)).toBe(0);
    expect(apart(started.teacher.backbone, trained)).toBe(0);
    expect(apart(started.student.dino_head, initState(tiny, 1).student.dino_head)).toBe(0);
  });
  it('has no iBOT head where its loss has no weight', () => {
    const head = { prototypes: 4, hidden: 4, bottleneck: 4, layers: 1 };
    expect('ibot_head' in network({ ...tiny, ibot: { weight: 1, head } }).spec).toBe(true);
    expect('ibot_head' in network({ ...tiny, ibot: { weight: 0, head } }).spec).toBe(false);
  });
});
