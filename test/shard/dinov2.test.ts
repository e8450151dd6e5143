/** DINOv2's training step on 1, 2 and 4 simulated ranks, native kernels: the losses of one device, in pieces of its memory. */
import { describe, expect, test } from 'vitest';
import { simulated } from '../../backends/collectives/simulated.ts';
import { cpu } from '../../backends/cpu/index.ts';
import { compile, FoveaError, flatten, type HostOf, type HostTensor, type Input, type Strategy, shard, toHost } from '../../index.ts';
import { batches, loadFashion } from '../../models/data/index.ts';
import { batchPlacement, joinBatches, ofOneShard, reduceBy } from '../../models/dinov2/ranks.ts';
import { type Batch, batchSpec, hyperAt, hyperSpec, initState, type State, stateSpec, trainStep } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { batchRecipe, keepLists } from '../../models/recipes/inputs.ts';
import type { Recipe } from '../../models/recipes.ts';
import { tiny } from '../compile/tiny.ts';

// stochastic depth keeps two of the four images that a shard has of each size
const r: Recipe = { ...tiny, batch: 8, shards: 4, dropPath: { rate: 0.4, uniform: true } };
const one = ofOneShard(r);
const own = Array.from({ length: 4 }, (_, w) => ({
  images: batches(loadFashion().train, batchRecipe(one), 7 + w),
  keep: keepLists(one, 7 + w),
}));
const batchAt = (step: number): HostOf<Batch> =>
  joinBatches(
    r,
    own.map(({ images, keep }) => ({ ...images(step), keep: keep(step) }) as unknown as HostOf<Batch>),
  );
const specs = () => [stateSpec(r), batchSpec(r), hyperSpec()] as const;
const options = { backend: cpu({ threads: 1 }), dims: geometry(r).sizes, donate: [0] } as const;
const steps = 3;
const place = (path: string) => (path.startsWith('1.') ? batchPlacement(r, path.slice(2)) : undefined);

const alone = async (): Promise<readonly number[]> => {
  const program = await compile(trainStep(r), specs(), options);
  const losses: number[] = [];
  let state: Input<State> = initState(r, 5);
  for (let t = 0; t < steps; t++) {
    const out = await program(state, batchAt(t), hyperAt(r)(t + 1));
    state = out.state;
    losses.push((await toHost(out.metrics)).loss.data[0] as number);
  }
  program.dispose();
  return losses;
};

/** Elements of what is flat of a tree, on each rank of a group. */
const piecesOf = (tree: unknown, group: number): number =>
  flatten(tree).reduce((n, { leaf }) => {
    const count = (leaf as HostTensor).data.length;
    return n + (count < group ? 0 : Math.ceil(count / group));
  }, 0);

/** Losses as every rank sees them, and the bytes that each holds. */
const together = async (ranks: number, strategy: Strategy, group = ranks, reduce?: 'bf16') => {
  const runs = simulated(ranks).map(async (world) => {
    const program = await shard(trainStep(r), world, { strategy, place, group, ...(reduce ? { reduce: reduceBy(reduce) } : {}) })(
      specs(),
      options,
    );
    const losses: number[] = [];
    let [state] = program.own(initState(r, 5), batchAt(0), hyperAt(r)(1));
    for (let t = 0; t < steps; t++) {
      const [, batch, hyper] = program.own(initState(r, 5), batchAt(t), hyperAt(r)(t + 1));
      const out = await program(state, batch, hyper);
      state = out.state as typeof state;
      losses.push((await toHost(out.metrics)).loss.data[0] as number);
    }
    const { arenaBytes, collectives } = program.report.plan as NonNullable<typeof program.report.plan>;
    program.dispose();
    await world.close();
    const narrowed = collectives.filter((c) => c.kind === 'reduce-scatter' && c.dtype !== 'f32').flatMap((c) => c.segments);
    expect(narrowed.reduce((n, s) => n + s.count, 0)).toBe(reduce ? piecesOf(initState(r, 5).student.backbone, group) : 0);
    return { losses, arenaBytes, gathers: collectives.filter((c) => c.kind === 'all-gather').length };
  });
  return Promise.all(runs);
};

describe('a training step on ranks', () => {
  test('gives the losses of one device, in pieces and in the hybrid form; memory falls with the ranks', async () => {
    const want = await alone();
    const close = (losses: readonly number[]): void =>
      losses.forEach((x, i) => {
        // float32 sums in another order; three steps of AdamW carry the difference on
        expect(Math.abs(x / (want[i] as number) - 1)).toBeLessThan(3e-6);
      });
    const two = await together(2, 'FULL_SHARD');
    const four = await together(4, 'SHARD_GRAD_OP', 2);
    for (const ranks of [two, four])
      for (const one of ranks) {
        close(one.losses);
        // every rank computes the same number
        expect(one.losses).toEqual(ranks[0]?.losses);
      }
    // gradients of the backbone are rounded to 8 bits, sums of them once more
    const narrow = await together(2, 'SHARD_GRAD_OP', 2, 'bf16');
    narrow[0]?.losses.forEach((x, i) => expect(Math.abs(x / (want[i] as number) - 1)).toBeLessThan(i === 0 ? 3e-6 : 2 ** -8));
    expect(narrow[0]?.losses).not.toEqual(two[0]?.losses);
    // gathered twice, and kept
    expect(two[0]?.gathers).toBeGreaterThan(four[0]?.gathers as number);
    expect(four[0]?.arenaBytes).toBeLessThan(two[0]?.arenaBytes as number);
  }, 120_000);

  test('a step of two shards is what two ranks of the original do: means of losses, centers and gradients; Sinkhorn sees all rows', async () => {
    const stepOn = async (one: Recipe, batch: HostOf<Batch>): Promise<ReadonlyMap<string, readonly number[]>> => {
      const program = await compile(trainStep(one), [stateSpec(one), batchSpec(one), hyperSpec()] as const, {
        backend: cpu({ threads: 1 }),
        dims: geometry(one).sizes,
      });
      const { state, metrics } = await program(initState(one, 5), batch, hyperAt(one)(1));
      const { centers = {}, moments } = (await toHost(state)) as HostOf<State>;
      const seen = { metrics: await toHost(metrics), centers, gradients: moments.first };
      program.dispose();
      return new Map(flatten(seen).map(({ path, leaf }) => [path, Array.from((leaf as HostTensor).data, Number)]));
    };
    /** How far the step of both shards is from the mean of the steps of each, by the size of what it is; without clipping a moment is a tenth of a gradient. */
    const apart = async (centering: Recipe['centering']): Promise<ReadonlyMap<string, number>> => {
      const both: Recipe = { ...tiny, centering, batch: 8, shards: 2, optim: { ...tiny.optim, clip: null } };
      const one = ofOneShard(both);
      const each = [0, 1].map((w) => batches(loadFashion().train, batchRecipe(one), 7 + w)(0) as unknown as HostOf<Batch>);
      const whole = await stepOn(both, joinBatches(both, each));
      const [a, b] = (await Promise.all(each.map((batch) => stepOn(one, batch)))) as [typeof whole, typeof whole];
      const off = (path: string, xs: readonly number[]): number => {
        const mean = xs.map((_, i) => ((a.get(path)?.[i] as number) + (b.get(path)?.[i] as number)) / 2);
        return Math.max(...xs.map((x, i) => Math.abs(x - (mean[i] as number)))) / Math.max(1e-3, ...mean.map(Math.abs));
      };
      return new Map([...whole].filter(([path]) => !/grad_norm|value/.test(path)).map(([path, xs]) => [path, off(path, xs)]));
    };
    const softmax = await apart('softmax');
    expect([...softmax.keys()]).toEqual(
      expect.arrayContaining(['metrics.loss', 'centers.dino.pending', 'centers.ibot.pending', 'gradients.backbone.cls_token']),
    );
    // sums of float32 in another order
    for (const [path, far] of softmax) expect(far, path).toBeLessThan(path.startsWith('centers') ? 1e-7 : 1e-6);
    const sinkhorn = await apart('sinkhorn');
    expect(sinkhorn.get('metrics.koleo_loss') ?? 1).toBeLessThan(1e-6);
    expect(sinkhorn.get('metrics.loss')).toBeGreaterThan(1e-4);
  }, 120_000);

  test('crops lie crop-major, as do factors of stochastic depth for each; lists of kept images and masked patches shard by shard', () => {
    const whole = { ...r, dino: { ...r.dino, view: 'whole' as const }, dropPath: { ...r.dropPath, form: 'mask' as const } };
    const crops = { split: 0, parts: [8, 8] };
    expect(['global', 'local', 'masks', 'maskCount', 'maskIndices'].map((p) => batchPlacement(r, p))).toEqual([
      crops,
      crops,
      crops,
      'R',
      { split: 0 },
    ]);
    expect(batchPlacement(r, 'keep.0.attn.1')).toEqual({ split: 0 });
    const three = { ...whole, crops: { ...whole.crops, locals: 3 } };
    expect([0, 1, 2].map((i) => batchPlacement(three, `keep.0.ffn.${i}`))).toEqual([crops, { split: 0, parts: [8, 8, 8] }, crops]);
    expect(batchPlacement({ ...three, crops: { ...three.crops, locals: 0 } }, 'keep.0.ffn.1')).toEqual(crops);
  });

  test('a batch that the ranks cannot share is refused, and so is a mesh that is none', async () => {
    expect(() => ofOneShard({ ...r, batch: 10 })).toThrow(/a batch of 10 images cannot be shared evenly by 4 ranks/);
    const refused = async (ranks: number, group?: number): Promise<string> => {
      const world = simulated(ranks)[0] as ReturnType<typeof simulated>[number];
      const plan = { place, ...(group === undefined ? {} : { group }) };
      const e = await shard(trainStep(r), world, plan)(specs(), options).catch((x: unknown) => x);
      return e instanceof FoveaError ? e.report() : String(e);
    };
    expect(await refused(3)).toMatch(/^FV0702: .* cannot be S0\[8 8\] on 3 ranks/);
    expect(await refused(4, 3)).toMatch(/^FV0701: a mesh of 4 ranks in groups of 3/);
  });
});
