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

/** What of a recipe decides them. */
export type Timing = Pick<Recipe, 'batch' | 'optim' | 'teacher'>;

/** The learning rate of `optim.baseLr`, given for 1024 images a step, for the images of one step on all devices. */
const scaledLr = (recipe: Timing, devices = 1): number => recipe.optim.baseLr * Math.sqrt((recipe.batch * devices) / 1024);

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

export const schedules = (recipe: Timing, devices = 1): Schedules => {
  const { optim, teacher } = recipe;
  const epochs = (n: number): number => Math.trunc(n * optim.epochLength);
  const total = epochs(optim.epochs);
  const lr = cosine({ base: scaledLr(recipe, devices), final: optim.minLr, total, warmup: epochs(optim.warmupEpochs) });
  const frozen = epochs(optim.freezeLastLayerEpochs);
  const tempSteps = epochs(teacher.tempWarmupEpochs);
  return {
    lr,
    lastLayerLr: (i) => (i < frozen ? 0 : lr(i)),
    weightDecay: cosine({ base: optim.weightDecay, final: optim.finalWeightDecay, total }),
    momentum: cosine({ base: teacher.momentum, final: teacher.finalMomentum, total }),
    teacherTemp: cosine({ base: teacher.temp, final: teacher.temp, total: tempSteps, warmup: tempSteps, start: teacher.warmupTemp }),
    total,
  };
};
