/** What `fovea demo` and `fovea train` share: the images, and how a program and its steps are told. */
import { resolve } from 'node:path';
import { FoveaError } from '../compiler/error.ts';
import type { CompileReport } from '../index.ts';
import { holdOut, type ImageSet, loadFashion, loadFolder } from '../models/data/index.ts';
import type { Recipe } from '../models/recipes.ts';
import type { StepMetrics } from '../models/train/run.ts';
import { seconds } from './progress.ts';

/** Share of a folder's images that is held out. */
const held = 0.2;

/** Warnings beyond these are counted, not printed. */
const mostWarnings = 5;

/** The bundled images, or those of a folder, of which a fifth is held out. FV04xx. */
export const load = async (
  { data, seed }: { readonly data?: string; readonly seed: number },
  recipe: Recipe,
): Promise<{ readonly train: ImageSet; readonly test: ImageSet }> => {
  if (data === undefined) return loadFashion();
  const { set, warnings } = await loadFolder(resolve(data), { short: 2 * recipe.crops.globalSize, seed });
  for (const w of warnings.slice(0, mostWarnings)) console.error(`warning: ${w}`);
  if (warnings.length > mostWarnings) console.error(`warning: ${warnings.length - mostWarnings} more of this kind`);
  const sets = holdOut(set, held, seed);
  if (sets.train.pictures.length < recipe.batch)
    throw new FoveaError('FV0408', `${set.name}: ${set.pictures.length} images; a batch of ${recipe.batch} needs more`, {
      hint: `Give at least ${Math.ceil(recipe.batch / (1 - held))} images: a fifth of them is held out.`,
    });
  return sets;
};

export const describe = ({ tracedNodes, nodes, plan, seconds: s }: CompileReport): string => {
  const lowered = plan
    ? `, ${plan.launches.length} kernels (${plan.kernels.length} distinct), arena ${(plan.arenaBytes / 2 ** 20).toFixed(1)} MiB`
    : '';
  return `${tracedNodes} graph nodes traced, ${nodes} after passes${lowered}; passes ${s.passes.toFixed(1)} s, ${s.tune > 1 ? `schedules ${s.tune.toFixed(1)} s, ` : ''}plan ${s.plan.toFixed(1)} s, backend ${s.backend.toFixed(1)} s`;
};

/** How far a run is: images a second, and seconds that are left. */
interface Pace {
  readonly steps: number;
  readonly rate: number;
  readonly left: number;
}

export const stepLine = ({ step, losses, lossScale }: StepMetrics, { steps, rate, left }: Pace): string => {
  const { loss, dino_local_crops_loss: local, dino_global_crops_loss: global, koleo_loss: koleo, ibot_loss: ibot } = losses;
  const terms = `dino ${(local + global).toFixed(3)} ibot ${ibot.toFixed(3)} koleo ${koleo.toFixed(3)}`;
  const scale = lossScale === undefined ? '' : `  scale ${lossScale}`;
  return `step ${step}/${steps}  loss ${loss.toFixed(3)} (${terms})${scale}  ${rate.toFixed(0)} images/s  ${seconds(left)} left`;
};
