/**
 * Small worked examples of DINOv2's mathematics, computed once with the original in float32 and printed to a few digits: a value x is
 * printed to within half a unit of its last digit, and float32 is finer than that.
 */
import { describe, expect, it } from 'vitest';
import { type F32, leaves, type Scalar, type Tensor } from '../../dsl/index.ts';
import { blockMask, maxPatches, stream } from '../../models/data/index.ts';
import { dinoLoss, ibotLoss, koleoLoss, maskWeights, nearestOther } from '../../models/losses.ts';
import { rates } from '../../models/optimizer.ts';
import { vitLarge16 } from '../../models/recipes.ts';
import { cosine } from '../../models/schedules.ts';
import { batchMean, centeredSoftmax, settle, sinkhorn } from '../../models/sinkhorn.ts';
import { resampleMatrix } from '../../models/vit/positions.ts';
import { vit } from '../../models/vit.ts';
import { evaluate, type Numbers, numbers } from './evaluate.ts';

/** Equal as printed with `digits` decimals. */
const printed = (ours: ArrayLike<number>, want: readonly number[], digits: number): void => {
  expect(ours.length).toBe(want.length);
  want.forEach((x, i) => expect(Math.abs((ours[i] as number) - x), `${i}: ${ours[i]} for ${x}`).toBeLessThanOrEqual(0.51 * 10 ** -digits));
};

describe('positions: the grid 0..15 of 4 x 4', () => {
  const resample = (rows: number, columns: number, offset: number, antialias: boolean): number[][] => {
    const [y, x] = [resampleMatrix(4, rows, { offset, antialias }), resampleMatrix(4, columns, { offset, antialias })];
    return y.map((wy) => x.map((wx) => wy.reduce((s, a, i) => s + wx.reduce((t, b, j) => t + a * b * (4 * i + j), 0), 0)));
  };
  it.each([
    [0.1, false, [1.5594, 2.9011, 4.2389, 9.9154, 11.2571, 12.595]],
    [0, false, [1.7512, 3.125, 4.4988, 10.5012, 11.875, 13.2488]],
    [0, true, [2.537, 3.8471, 5.1572, 9.8428, 11.1529, 12.463]],
  ] as const)('on 2 x 3, offset %d, antialias %s', (offset, antialias, want) => printed(resample(2, 3, offset, antialias).flat(), want, 4));
  it('on 6 x 5: the first row', () => printed(resample(6, 5, 0.1, false)[0] ?? [], [-0.4183, 0.2308, 1.1166, 1.9724, 2.6669], 4));
});

it('cosine with a warm-up of 4 in 10', () => {
  const rule = cosine({ base: 1, final: 0, total: 10, warmup: 4 });
  printed(
    Array.from({ length: 11 }, (_, i) => rule(i)),
    [0, 0.33333, 0.66667, 1, 1, 0.93301, 0.75, 0.5, 0.25, 0.06699, 0],
    5,
  );
});

describe('targets and losses', () => {
  const t = [1, 2, 0, -1, 0.5, 0.5, 0.5, 0.5, 2, -1, 0, 1];
  const s = [0.1, 0.2, 0.3, 0.4, 0, 0, 0.1, 0.1, 0.5, 0.1, -0.1, 0.2];
  const rows = (x: readonly number[]): Numbers => numbers(x, [3, 4]);
  const data = (x: unknown): number[] => Array.from((x as Numbers).data);
  const balance = (x: readonly number[], temp: number): number[] =>
    data(
      evaluate(
        (logits: F32<'M K'>, valid: F32<'M'>, temperature: Scalar) => sinkhorn(temperature)(logits, valid),
        [rows(x), numbers([1, 1, 1], [3]), numbers([temp], [])],
      ),
    );

  it('Sinkhorn-Knopp', () => {
    printed(balance(t, 0.5), [0.1267, 0.7211, 0.1401, 0.0121, 0.0659, 0.0508, 0.5384, 0.345, 0.5375, 0.001, 0.0805, 0.381], 4);
    printed(
      balance(
        t.map((x) => 0.1 * x),
        0.07,
      ),
      [0.1558, 0.6479, 0.1671, 0.0292, 0.1027, 0.1023, 0.4594, 0.3356, 0.4868, 0.0067, 0.1251, 0.3814],
      4,
    );
  });

  it('softmax of a zero center, and the center after one batch', () => {
    const zero = numbers([0, 0, 0, 0], [1, 4]);
    const f = (logits: F32<'M K'>, center: F32<'1 K'>, temperature: Scalar) => centeredSoftmax(temperature)(logits, center);
    printed(
      data(evaluate(f, [rows(t), zero, numbers([0.5], [])])),
      [0.1171, 0.865, 0.0158, 0.0021, 0.25, 0.25, 0.25, 0.25, 0.865, 0.0021, 0.0158, 0.1171],
      4,
    );
    const next = (logits: F32<'M K'>, valid: F32<'M'>, center: F32<'1 K'>) => settle()(center, batchMean(logits, valid));
    printed(data(evaluate(next, [rows(t), numbers([1, 1, 1], [3]), zero])), [0.1167, 0.05, 0.0167, 0.0167], 4);
  });

  it('DINO: one pair, and all four of two by two', () => {
    const p = balance(t, 0.5);
    const loss = (student: readonly number[], target: readonly number[]): number[] =>
      data(
        evaluate(
          (a: F32<'S B K'>, b: F32<'T B K'>) => dinoLoss(0.1)(a, b),
          [numbers(student, [student.length / 12, 3, 4]), numbers(target, [target.length / 12, 3, 4])],
        ),
      );
    printed(loss(s, p), [1.7411572], 6);
    const reversed = [...p.slice(8), ...p.slice(4, 8), ...p.slice(0, 4)];
    printed(loss([...s, ...s.map((x) => 2 * x)], [...p, ...reversed]), [10.936987], 5);
  });

  it('iBOT: weights of masked patches, and their loss over three crops', () => {
    const masks = [1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    const weights = data(evaluate((m: Tensor<'B N', 'bool'>) => maskWeights(m), [numbers(masks, [3, 4], 'bool')]));
    const taken = weights.filter((_, i) => masks[i] === 1);
    expect(taken).toEqual([0.5, 0.5, 1]);
    const f = (student: F32<'U K'>, target: F32<'U K'>, weight: F32<'U'>) => ibotLoss(0.1)(student, target, weight).div(3);
    printed(data(evaluate(f, [rows(s), rows(balance(t, 0.5)), numbers(taken, [3])])), [1.153571], 6);
  });

  it('KoLeo: neighbours and loss, duplicates, a single row', () => {
    const x = [1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 2];
    const loss = (features: readonly number[]): number[] =>
      data(evaluate((f: F32<'B D'>) => koleoLoss(f), [numbers(features, [features.length / 3, 3])]));
    const lengths = [1, Math.SQRT2, Math.SQRT2, 2];
    const unit = x.map((v, i) => v / (lengths[Math.floor(i / 3)] as number));
    expect(data(evaluate((f: F32<'B D'>) => nearestOther(f), [numbers(unit, [4, 3])]))).toEqual([1, 0, 3, 2]);
    printed(loss(x), [0.2674], 6);
    // the two constants of 1e-8 are the whole distance: minus the logarithm of (1 + sqrt 3) 1e-8
    printed(loss([...x, ...x]), [17.415628], 5);
    printed(loss([1, 2, 2]), [17.415628], 5);
  });
});

describe('masks', () => {
  it('largest rectangles', () => {
    expect([maxPatches(224, 14), maxPatches(224, 16), maxPatches(518, 14), maxPatches(98, 14)]).toEqual([128, 98, 666, 21]);
  });
  it.each([
    [26, 25.94],
    [64, 63.93],
    [100, 99.92],
    [128, 127.92],
  ])('of 16 x 16: %d wanted, %d on average', (target, average) => {
    const random = stream(20, target);
    const counts = Array.from({ length: 2000 }, () =>
      blockMask({ grid: [16, 16], maxPatches: 128 }, target, random).reduce((a, b) => a + b, 0),
    );
    expect(Math.max(...counts)).toBeLessThanOrEqual(target);
    const mean = counts.reduce((a, b) => a + b, 0) / 2000;
    const deviation = Math.sqrt(counts.reduce((a, b) => a + (b - mean) ** 2, 0) / 2000);
    // the difference of two means of 2000 draws, five of its standard deviations, and the rounding of the printed one
    expect(Math.abs(mean - average)).toBeLessThan(5 * deviation * Math.sqrt(2 / 2000) + 0.005);
  });
});

it('parameter groups of four blocks, flat and in groups', () => {
  const recipe = (chunks: number) => ({
    ...vitLarge16,
    model: { ...vitLarge16.model, width: 64, heads: 1, depth: 4, imageSize: 32, chunks },
  });
  const groups = (chunks: number) => {
    const rule = rates(recipe(chunks));
    return leaves(vit(recipe(chunks).model)).map(({ path }) => ({ path, ...rule(`backbone.${path}`) }));
  };
  const flat = groups(0);
  const of = (path: string) => flat.find((x) => x.path === path);
  for (const path of ['pos_embed', 'cls_token', 'mask_token']) {
    expect(of(path)?.lr).toBeCloseTo(0.59049, 12);
    expect(of(path)?.decay).toBe(1);
  }
  expect(of('patch_embed.proj.weight')?.lr).toBeCloseTo(0.118098, 12);
  expect(of('blocks.3.mlp.fc1.weight')).toMatchObject({ lr: 0.9, decay: 1 });
  expect(of('norm.weight')).toMatchObject({ lr: 1, decay: 0 });
  expect(flat.filter((x) => x.decay === 0).map((x) => x.path)).toEqual(
    flat.map((x) => x.path).filter((path) => path.endsWith('.bias') || path.includes('norm') || path.includes('gamma')),
  );
  expect(new Set(flat.map((x) => `${x.lr} ${x.decay} ${x.lastLayer}`)).size).toBe(12);
  const chunked = groups(2);
  expect(chunked.some((x) => x.path.startsWith('blocks.1.3.'))).toBe(true);
  const values = (all: typeof flat) => all.map(({ lr, decay, lastLayer }) => [lr, decay, lastLayer]);
  expect(values(chunked)).toEqual(values(flat));
  expect(rates(recipe(0))('dino_head.last_layer.weight_g')).toEqual({ lr: 1, decay: 1, lastLayer: true });
});
