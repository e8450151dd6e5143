/**
 * The rules of tuning, with a backend that runs nothing: its kernels make what the test says and take the time that the test says. Who
 * makes other bits than the reference is out however fast, a gain within the noise is none, what is known is not measured again.
 */
import { expect, test } from 'vitest';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { shortlist } from '../../compiler/plan/tune.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import type { Measured, Schedule, Schedules } from '../../compiler/target.ts';
import { type Backend, compile, einsum, type F32, spec } from '../../index.ts';
import { cpu } from '../fuse/run.ts';

interface Played {
  readonly plan: Plan;
  readonly kept: readonly Measured[];
  readonly notices: readonly string[];
  /** Kernels of each race. */
  readonly raced: readonly (readonly Kernel[])[];
  readonly progress: readonly string[];
}

interface Rules {
  readonly known?: Schedules;
  readonly tune?: 'never' | 'cached' | 'measure';
  /** Seconds of kernel i. */
  readonly seconds?: (i: number) => number;
  /** The number that kernel i makes. */
  readonly result?: (i: number) => number;
}

/** Compiles a product of two matrices for a backend that plays by the rules. */
const play = async ({ known = new Map(), tune = 'measure', seconds = () => 1, result = () => 1 }: Rules): Promise<Played> => {
  const [kept, notices, raced, progress]: [Measured[], string[], (readonly Kernel[])[], string[]] = [[], [], [], []];
  let plan: Plan | undefined;
  const backend: Backend = {
    kind: 'plan',
    name: 'played',
    target: cpu,
    prepare: async (p) => {
      plan = p;
      const nothing = { write: () => {}, run: async () => {}, read: () => new Float32Array(0), dispose: () => {} };
      return { inputs: [], outputs: [], aliases: [], ...nothing };
    },
    tuner: {
      known: async () => known,
      race: async (kernels) => {
        raced.push(kernels);
        return { results: async (i) => [Float32Array.of(result(i))], seconds: async (i) => seconds(i), dispose: () => {} };
      },
      keep: async (found) => {
        kept.push(...found);
      },
      notice: (text) => {
        notices.push(text);
      },
    },
  };
  const f = (x: F32<'M K'>, w: F32<'N K'>) => einsum('m k, n k -> m n', x, w);
  const options = { dims: { M: 90, N: 70, K: 50 }, progress: (d: number, t: number, s: string) => progress.push(`${s} ${d}/${t}`) };
  await compile(f, [spec('M K'), spec('N K')], { backend, tune, ...options });
  return { plan: plan as Plan, kept, notices, raced, progress };
};
const reference = async (): Promise<Schedule> => (await play({ tune: 'never' })).plan.chosen[0]?.schedule as Schedule;
const key = 'gemm 90x70x50 f32[50 1] f32[50 1]';

test('never asks for nothing; the plan says what was chosen', async () => {
  const { plan, raced, kept } = await play({ tune: 'never', known: new Map([[key, { tm: 1 }]]) });
  expect([raced, kept]).toEqual([[], []]);
  expect(plan.chosen).toEqual([{ key, schedule: expect.objectContaining({ lanes: 8 }) }]);
});

test('the fastest is lowered and kept, with the reference beside it', async () => {
  const { plan, raced, kept, progress } = await play({ seconds: (i) => (i === 3 ? 0.5 : 1) });
  expect(raced.length).toBe(1);
  expect(kept).toEqual([
    { key, schedule: plan.chosen[0]?.schedule, model: await reference(), seconds: 0.5, modelSeconds: 1, tried: raced[0]?.length },
  ]);
  expect(kept[0]?.schedule).not.toEqual(kept[0]?.model);
  expect(plan.kernels[0]?.body).toEqual(raced[0]?.[3]?.body);
  expect(progress).toEqual(['measured 0/1', 'measured 1/1']);
});

test('another result is refused, however fast', async () => {
  const { plan, kept } = await play({ seconds: (i) => (i === 3 ? 0.1 : i === 5 ? 0.5 : 1), result: (i) => (i === 3 ? 1 + 2 ** -23 : 1) });
  expect(kept[0]).toMatchObject({ schedule: plan.chosen[0]?.schedule, seconds: 0.5 });
  const none = await play({ seconds: (i) => (i === 0 ? 1 : 0.1), result: (i) => (i === 0 ? 0 : -0) });
  expect(none.plan.chosen[0]?.schedule).toEqual(await reference());
});

test('a gain within what two measurements differ by is none; a NaN is equal to itself', async () => {
  const { plan, kept } = await play({ seconds: (i) => (i === 3 ? 0.98 : 1) });
  expect(plan.chosen[0]?.schedule).toEqual(await reference());
  expect(kept[0]).toMatchObject({ seconds: 1, modelSeconds: 1 });
  const nan = await play({ seconds: (i) => (i === 3 ? 0.9 : 1), result: () => Number.NaN });
  expect(nan.kept[0]).toMatchObject({ seconds: 0.9 });
});

test('what is known is used and not measured; what is illegal is measured anew, with a notice', async () => {
  const { raced } = await play({});
  const other = (await play({ seconds: (i) => (i === 3 ? 0.5 : 1) })).plan.chosen[0]?.schedule as Schedule;
  for (const tune of ['cached', 'measure'] as const) {
    const known = await play({ tune, known: new Map([[key, other]]) });
    expect(known).toMatchObject({ raced: [], kept: [], notices: [], plan: { chosen: [{ key, schedule: other }] } });
    expect(known.plan.kernels[0]?.body).toEqual(raced[0]?.[3]?.body);
  }
  const illegal = new Map([[key, { ...other, tm: 99 }]]);
  const notice = [expect.stringMatching(/^the schedule of gemm 90x70x50 .* is not legal here: 99 x \d vectors/)];
  const cached = await play({ tune: 'cached', known: illegal });
  expect(cached).toMatchObject({ raced: [], notices: notice });
  expect(cached.plan.chosen[0]).toMatchObject({ schedule: await reference(), ignored: expect.any(String) });
  const measured = await play({ tune: 'measure', known: illegal });
  expect(measured).toMatchObject({ notices: notice, kept: [{ key }] });
  expect(measured.plan.chosen[0]?.ignored).toBeUndefined();
});

test('a way to tune that is none is refused', async () => {
  await expect(play({ tune: 'always' as 'never' })).rejects.toMatchObject({ code: 'FV0617' });
});

test('the short list: the head, the best of each kind and the next of the head by turns', () => {
  const s = (bm: number, tm: number): Schedule => ({ bm, bn: 1, tm });
  const ranking = [s(1, 1), s(2, 1), s(3, 1), s(1, 2), s(2, 2), s(1, 3)];
  expect(shortlist(ranking, 4)).toEqual([s(1, 1), s(1, 2), s(2, 1), s(1, 3)]);
  expect(shortlist(ranking, 9)).toEqual([s(1, 1), s(1, 2), s(2, 1), s(1, 3), s(3, 1)]);
});
