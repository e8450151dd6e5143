/** Ranks that do not fit together are refused at the start, on all of them, with the reason. */
import { expect, test } from 'vitest';
import { simulated } from '../../backends/collectives/simulated.ts';
import { cpu } from '../../backends/cpu/index.ts';
import { agree, jobOn } from '../../cli/ranks.ts';
import type { Communicator } from '../../compiler/collectives.ts';
import { FoveaError } from '../../compiler/error.ts';
import { placingOf } from '../../compiler/shard/plan.ts';
import { type F32, type ShardPlan, shard, spec } from '../../index.ts';

const reasons = (n: number, f: (c: Communicator) => Promise<unknown>): Promise<readonly string[]> =>
  Promise.all(
    simulated(n).map((c) =>
      f(c).then(
        () => 'accepted',
        (e: unknown) => (e instanceof FoveaError ? e.report() : String(e)),
      ),
    ),
  );

test('ranks that compiled different programs', async () => {
  const said = await reasons(3, async (world) => {
    const f = (x: F32<'N'>) => (world.rank === 1 ? x.mul(x) : x.add(x));
    const program = await shard(f, world)([spec('N')], { backend: cpu({ threads: 1 }), dims: { N: 8 } });
    program.dispose();
  });
  expect(new Set(said).size).toBe(1);
  expect(said[0]).toMatch(/^FV0704: rank 1 runs another program than rank 0\n {2}\S/);
});

test.each([
  ['the hash of the weights', 'ab12', 'ab13'],
  ['the recipe', 'r1', 'r2'],
])('ranks that start from another of %s', async (name, mine, other) => {
  const said = await reasons(2, (c) => agree(jobOn(c), { 'the seed': '0', [name]: c.rank === 0 ? mine : other }));
  expect(new Set(said).size).toBe(1);
  expect(said[0]).toContain(`FV0803: ranks were started differently: ${name} is ${mine} on rank 0 and ${other} on rank 1`);
  expect(await reasons(2, (c) => agree(jobOn(c), { [name]: mine }))).toEqual(['accepted', 'accepted']);
});

test('what fails on one rank fails on all, and is told once', async () => {
  const said = await reasons(3, (c) =>
    jobOn(c).together(() => {
      if (c.rank === 2) throw new FoveaError('FV0408', 'a broken picture', { hint: 'Mend it.' });
    }),
  );
  expect(new Set(said)).toEqual(new Set(['Error: rank 2: FV0408: a broken picture\n  Mend it.']));
});

test('a tensor with fewer elements than ranks is whole on each of them, unless it is to be flat', () => {
  const value = (name: string, shape: readonly number[]) => ({ id: 0, name, type: { dtype: 'f32' as const, shape } });
  const params = [value('0.few', [3]), value('0.some', [4]), value('0.one', [])];
  const of = (place?: () => 'flat') => placingOf({ params, results: params }, [0, 1, 2], 4, place ? { place } : {}).layout.inputs;
  expect(of()).toEqual(['R', 'flat', 'R']);
  expect(() => of(() => 'flat')).toThrow('0.few, f32[3], cannot be flat on 4 ranks: it has 3 elements for 4 ranks');
});

test.each([
  [4, 3],
  [4, 8],
  [0, 1],
  [3.5, 1],
])('%s ranks in groups of %s are no mesh', (ranks, group) => {
  expect(() => placingOf({ params: [], results: [] }, [], ranks, { group })).toThrow(`a mesh of ${ranks} ranks in groups of ${group}`);
});

test.each([
  [{ split: 5 }, '{"split":5} on 4 ranks: it has 2 axes, and none at 5'],
  [{ split: -1 }, '{"split":-1} on 4 ranks: it has 2 axes, and none at -1'],
  [{ split: '0' }, 'it has 2 axes, and none at 0: they count from 0'],
  ['bogus', '"bogus" on 4 ranks: it is no placement'],
  [null, 'null on 4 ranks: it is no placement'],
  [{}, '{} on 4 ranks: it is no placement'],
  [{ split: 0, parts: 8 }, 'parts is no list of sizes'],
  [{ split: 0, parts: ['8'] }, 'parts is no list of sizes'],
  [{ split: 0, parts: [4, 8] }, 'its parts do not add up to the 8 of axis 0'],
  [{ split: 0, parts: [2, 6] }, 'S0[2 6] on 4 ranks: a part of the axis is no multiple of the ranks'],
])('a place that is none: %o', (place, why) => {
  const params = [{ id: 0, name: '1.images', type: { dtype: 'f32' as const, shape: [8, 4] } }];
  const run = () => placingOf({ params, results: [] }, [], 4, { place: () => place as never });
  expect(run).toThrow(FoveaError);
  expect(run).toThrow(/^1\.images, f32\[8 4\], cannot be /);
  expect(run).toThrow(why);
});

test('numbers of a plan are whole, and limits may be Infinity', () => {
  const run = (plan: ShardPlan) => () => placingOf({ params: [], results: [] }, [], 2, plan);
  for (const n of [Number.NaN, -1, 1.5, '1' as never, Number.NEGATIVE_INFINITY])
    for (const name of ['prefetch', 'gatheredBytes', 'bucketBytes'] as const)
      expect(run({ [name]: n }), `${name} ${n}`).toThrow(`${name} is ${n}: expected a whole number from `);
  for (const plan of [{ gatheredBytes: 0 }, { bucketBytes: 0 }, { prefetch: Number.POSITIVE_INFINITY }])
    expect(run(plan)).toThrow(FoveaError);
  for (const plan of [{ prefetch: 0, gatheredBytes: 1 }, { gatheredBytes: Number.POSITIVE_INFINITY, bucketBytes: 1 }, {}]) run(plan)();
});
