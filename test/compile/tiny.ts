/** DINOv2's training step at a size that the float64 interpreter runs in a moment: all of its parts, a hundredth of its numbers. */
import { type Backend, compile, type HostOf, type Precision, type Program, toHost } from '../../index.ts';
import { type BatchRecipe, batches, dinov2Crops, loadFashion } from '../../models/data/index.ts';
import {
  type Batch,
  batchSpec,
  type Hyper,
  hyperAt,
  hyperSpec,
  initState,
  type Metrics,
  type State,
  stateSpec,
  trainStep,
} from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { demo, type Recipe } from '../../models/recipes.ts';

export const tiny: Recipe = {
  ...demo,
  name: 'tiny',
  batch: 4,
  model: { ...demo.model, width: 32, depth: 2, heads: 2, patch: 7, imageSize: 28 },
  crops: { ...demo.crops, globalSize: 28, localSize: 14, locals: 2 },
  dino: { ...demo.dino, prototypes: 24, hidden: 32, bottleneck: 16 },
  optim: { ...demo.optim, epochLength: 1 },
};

const recipe = ({ batch, model, crops: c, masking }: Recipe): BatchRecipe => ({
  batch,
  patch: model.patch,
  locals: c.locals,
  ...dinov2Crops(c.globalSize, c.localSize, c.globalScale, c.localScale),
  maskProbability: masking.probability,
  maskRatio: masking.ratio,
});
/** The batch of a step, of real images. */
export const batchAt = (step: number): HostOf<Batch> => batches(loadFashion().train, recipe(tiny), 7)(step);
/** Step 0 of the schedule has a learning rate of 0, so runs start at step 1. */
export const hyper = (step: number): HostOf<Hyper> => hyperAt(tiny)(step + 1);
export const start = (): HostOf<State> => initState(tiny, 5);

type Step = Program<[State, Batch, Hyper], { readonly state: State; readonly metrics: Metrics }>;
export const compileTiny = (backend: Backend, precision: Precision = 'f32'): Promise<Step> =>
  compile(trainStep(tiny), [stateSpec(tiny), batchSpec(tiny), hyperSpec()], {
    backend,
    dims: geometry(tiny).sizes,
    donate: [0],
    precision,
  });

export interface Outcome {
  readonly state: HostOf<State>;
  readonly metrics: HostOf<Metrics>;
}
/** The outcome of each of `steps` steps; the state stays on the device. */
export const train = async (program: Step, steps: number): Promise<Outcome[]> => {
  const out: Outcome[] = [];
  let state: Parameters<Step>[0] = start();
  for (let i = 0; i < steps; i++) {
    const r = await program(state, batchAt(i), hyper(i));
    state = r.state;
    out.push((await toHost(r)) as Outcome);
  }
  return out;
};
