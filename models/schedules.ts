/**
 * What changes from step to step: learning rate, weight decay, teacher momentum, teacher temperature. Host functions: the
 * compiled step takes their values as scalar inputs and never knows the iteration number they came from.
 *
 * A schedule is a function of the iteration, not an array: `freeze` zeros, a linear warm-up that reaches its end point, a cosine
 * from `base` to `final`, and `final` for ever after. Base occurs twice (end of the warm-up, start of the cosine).
 *
 *   const s = schedules(recipe);
 *   s.lr(0)  ->  0        s.lr(warmup)  ->  base        s.momentum(last)  ->  nearly 1
 */
import type { Recipe } from './recipes.ts';

export type Schedule = (iteration: number) => number;

export interface Cosine {
  readonly base: number;
  readonly final: number;
  /** Iterations after which the value is `final`. */
  readonly total: number;
  readonly warmup?: number;
  /** First value of the warm-up. */
  readonly start?: number;
  /** Leading iterations with value 0. */
  readonly freeze?: number;
}

export const cosine = ({ base, final, total, warmup = 0, start = 0, freeze = 0 }: Cosine): Schedule => {
  const length = total - warmup - freeze;
  return (iteration) => {
    if (iteration >= total) return final;
    if (iteration < freeze) return 0;
    const w = iteration - freeze;
    // Interpolated from both ends, so that the last warm-up value is `base` to the bit; a warm-up of one value is its start.
    if (w < warmup) return warmup > 1 && w === warmup - 1 ? base : start + (w * (base - start)) / Math.max(warmup - 1, 1);
    return final + 0.5 * (base - final) * (1 + Math.cos((Math.PI * (w - warmup)) / length));
  };
};

/** Factor on the learning rate by the images of one step on all devices. */
const scaling: Readonly<Record<Recipe['optim']['scalingRule'], (images: number) => number>> = {
  sqrt_wrt_1024: (images) => Math.sqrt(images / 1024),
};

/** Learning rate at the end of the warm-up. */
export const scaledLr = ({ batch, optim }: Recipe, devices = 1): number => optim.baseLr * scaling[optim.scalingRule](batch * devices);

export interface Schedules {
  readonly lr: Schedule;
  /** As lr, but 0 during the first epochs: the prototypes stay where they are while features are still noise. */
  readonly lastLayerLr: Schedule;
  readonly weightDecay: Schedule;
  readonly momentum: Schedule;
  readonly teacherTemp: Schedule;
  /** Iterations of the whole run. */
  readonly total: number;
}

export const schedules = (recipe: Recipe, devices = 1): Schedules => {
  const { optim, teacher } = recipe;
  const epochs = (n: number): number => Math.trunc(n * optim.epochLength);
  const total = epochs(optim.epochs);
  const lr = cosine({ base: scaledLr(recipe, devices), final: optim.minLr, total, warmup: epochs(optim.warmupEpochs) });
  const frozen = epochs(optim.freezeLastLayerEpochs);
  const tempSteps = epochs(teacher.tempWarmupEpochs);
  return {
    lr,
    // past the end the original gives `final`, however long the freeze
    lastLayerLr: (i) => (i < Math.min(frozen, total) ? 0 : lr(i)),
    weightDecay: cosine({ base: optim.weightDecay, final: optim.finalWeightDecay, total }),
    momentum: cosine({ base: teacher.momentum, final: teacher.finalMomentum, total }),
    teacherTemp: cosine({ base: teacher.temp, final: teacher.temp, total: tempSteps, warmup: tempSteps, start: teacher.warmupTemp }),
    total,
  };
};
