/**
 * A training run: one compiled step, its state on the device, a stream of batches. The next batch is made, and sent to the device, while the step runs.
 *
 *   const run = await startRun({ recipe: demo, images, backend, seed: 0 });
 *   for await (const m of run.train(400, signal)) console.log(m.step, m.losses.loss);
 *   const { teacher } = run.state();
 */

import { FoveaError } from '../../compiler/error.ts';
import {
  type Backend,
  type Communicator,
  type CompileReport,
  compile,
  type Device,
  type DeviceTensor,
  type HostOf,
  type Progress,
  type ShardPlan,
  type SpecOf,
  type Tune,
  trace,
} from '../../index.ts';
import type { Piece } from '../checkpoint/index.ts';
import { batches } from '../data/batch.ts';
import type { ImageSet } from '../data/picture.ts';
import { joinBatches, ofOneShard } from '../dinov2/ranks.ts';
import { batchSpec, hyperAt, hyperSpec, initState, stateSpec } from '../dinov2/state.ts';
import type { Batch, State } from '../dinov2/types.ts';
import { trainStep } from '../dinov2.ts';
import { stepPrecision } from '../precision.ts';
import { geometry } from '../recipes/geometry.ts';
import { batchRecipe, keepLists } from '../recipes/inputs.ts';
import type { Recipe } from '../recipes.ts';
import type { Loaded } from '../weights/index.ts';
import { piecesOf, shapesOf } from './pieces.ts';

export interface RunOptions {
  readonly recipe: Recipe;
  readonly images: ImageSet;
  readonly backend: Backend;
  /** Decides initial parameters, order of images, crops and masks. */
  readonly seed: number;
  /** Of the contractions of backbones and heads (precision.ts); float32 unless given. */
  readonly precision?: 'f32' | 'bf16' | 'f16';
  /** Where schedules of kernels come from, as `compile` takes it. */
  readonly tune?: Tune;
  readonly progress?: Progress;
  /** This rank of several: it makes the batches of its own shards, of which each rank has as many. Without it, those of all. */
  readonly shards?: { readonly world: Communicator; readonly plan: ShardPlan };
  /** What a run before has left, and its steps; first values of the recipe unless given. */
  readonly from?: { readonly state: Loaded<SpecOf<State>> | HostOf<State>; readonly step: number };
}

export interface StepMetrics {
  /** Steps finished, from 1. */
  readonly step: number;
  readonly losses: Readonly<Record<'loss' | 'dino_local_crops_loss' | 'dino_global_crops_loss' | 'koleo_loss' | 'ibot_loss', number>>;
  readonly lr: number;
  /** What the next loss is multiplied by, with `optim.lossScale`: half of what it was where this step was skipped. */
  readonly lossScale?: number;
  /** Seconds of this step, the making of its batch included where it was not hidden behind the step before. */
  readonly seconds: number;
}

export interface Run {
  readonly report: CompileReport;
  /** Trains for `steps` steps or until the signal; yields after every step. Throws FV0409 when the loss is no longer finite. */
  train(steps: number, signal?: AbortSignal): AsyncGenerator<StepMetrics>;
  /** The student's and teacher's parameters, moments and step, as they are now: on the host until the first step, then on the device. */
  state(): Device<State> | HostOf<State>;
  /** What this rank holds of the state, after a step, for a checkpoint. */
  pieces(): Promise<ReadonlyMap<string, Piece>>;
  /** Frees the program; a state that lies on the device goes with it. */
  dispose(): void;
}

/** A gradient that no scale down to this one makes finite is no matter of range. */
const leastScale = 2 ** -16;

/** A recipe whose schedules span `steps` steps. */
export const spanning = (recipe: Recipe, steps: number): Recipe => ({
  ...recipe,
  optim: { ...recipe.optim, epochLength: steps / recipe.optim.epochs },
});

/** Bytes of the values of a run's checkpoint. */
export const checkpointBytes = (recipe: Recipe): number => {
  const { inputs } = trace((state: State) => state, [stateSpec(recipe)], { dims: geometry(recipe).sizes });
  return inputs.reduce((sum, { shape }) => sum + 4 * shape.reduce<number>((n, d) => n * Number(d), 1), 0);
};

/** koleo NaN, ibot 1.72: the terms that are no numbers first. */
const terms = (losses: StepMetrics['losses']): string =>
  Object.entries(losses)
    .filter(([name]) => name !== 'loss')
    .sort(([, a], [, b]) => Number(Number.isFinite(a)) - Number(Number.isFinite(b)))
    .map(([name, x]) => `${name} ${Number.isFinite(x) ? x.toFixed(3) : x}`)
    .join(', ');

/** The batch of a step: of the shards of a rank side by side. Shard w of W takes every W-th batch of one stream of images. */
const batchesOf = (
  recipe: Recipe,
  images: ImageSet,
  seed: number,
  { rank, size }: Pick<Communicator, 'rank' | 'size'>,
): ((t: number) => HostOf<Batch>) => {
  const { shards = 1 } = recipe;
  const each = shards / size;
  const one = ofOneShard(recipe);
  const [cropsAt, keepAt] = [batches(images, batchRecipe(one), seed), keepLists(one, seed)];
  const own = (t: number): HostOf<Batch> =>
    (recipe.dropPath.rate > 0 ? { ...cropsAt(t), keep: keepAt(t) } : cropsAt(t)) as unknown as HostOf<Batch>;
  return (t) =>
    joinBatches(
      recipe,
      Array.from({ length: each }, (_, w) => own(t * shards + rank * each + w)),
    );
};

export const startRun = async (options: RunOptions): Promise<Run> => {
  const { recipe, images, backend, seed, precision = 'f32', tune, progress, shards, from } = options;
  const batchAt = batchesOf(recipe, images, seed, shards?.world ?? { rank: 0, size: 1 });
  const step = await compile(trainStep(recipe), [stateSpec(recipe), batchSpec(recipe), hyperSpec()], {
    backend,
    dims: geometry(recipe).sizes,
    donate: [0],
    precision: stepPrecision(precision),
    ...(tune ? { tune } : {}),
    ...(progress ? { progress } : {}),
    ...(shards ? { shards } : {}),
  });
  const hyperOf = hyperAt(recipe);
  const first = (from?.state as HostOf<State> | undefined) ?? initState(recipe, seed); // a lazy leaf is loaded by the first call
  const shapes = shapesOf(first);
  // what this rank holds of it: batches are its own from the start
  let [state] = step.own(first) as unknown as [Device<State> | HostOf<State>];
  let done = from?.step ?? 0;
  return {
    report: step.report,
    state: () => state,
    pieces: () => piecesOf(state as Device<State>, shapes, shards?.world.rank ?? 0, step.report.layout),
    dispose: () => step.dispose(),
    async *train(steps, signal) {
      let batch = batchAt(done);
      for (const end = done + steps; done < end && !signal?.aborted; ) {
        const started = performance.now();
        const hyper = hyperOf(done);
        const running = step(state, batch, hyper);
        if (done + 1 < end) {
          batch = batchAt(done + 1);
          step.ahead(1, batch);
        }
        const out = await running;
        state = out.state;
        done++;
        const read = async (x: DeviceTensor<'', 'f32'>): Promise<number> => (await x.read()).data[0] as number;
        const { metrics } = out;
        const losses = {
          loss: await read(metrics.loss),
          dino_local_crops_loss: await read(metrics.dino_local_crops_loss),
          dino_global_crops_loss: await read(metrics.dino_global_crops_loss),
          koleo_loss: await read(metrics.koleo_loss),
          ibot_loss: await read(metrics.ibot_loss),
        };
        if (!Number.isFinite(losses.loss))
          throw new FoveaError('FV0409', `the loss of step ${done} is ${losses.loss}: ${terms(losses)}`, {
            hint: 'Lower the learning rate; the steps before are in metrics.jsonl.',
          });
        const { scaling } = out.state;
        const lossScale = scaling && (await read(scaling.scale));
        if (lossScale !== undefined && lossScale < leastScale)
          throw new FoveaError('FV0409', `the gradient of step ${done} is not finite, however small the loss is scaled: by ${lossScale}`, {
            hint: 'Lower the learning rate, or take --precision bf16; the steps before are in metrics.jsonl.',
          });
        const scale = lossScale === undefined ? {} : { lossScale };
        yield { step: done, losses, lr: hyper.lr.data[0] as number, ...scale, seconds: (performance.now() - started) / 1e3 };
      }
    },
  };
};
