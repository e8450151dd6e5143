/**
 * `fovea demo`: compiles DINOv2's training step, trains a small DINOv2 on real images and shows what it has learned: k-NN
 * accuracy before and after, a loss curve, a picture of the patch features, a checkpoint. Ctrl-C ends the training early and
 * still leaves all of it. Whatever can be wrong with the call is found before anything is compiled.
 */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { Progress, Tune } from '../index.ts';
import { toHost } from '../index.ts';
import { centreCrop, take } from '../models/data/index.ts';
import { patchPicture } from '../models/eval/patches.ts';
import { recipeAt } from '../models/precision.ts';
import { demo as demoRecipe, type Recipe } from '../models/recipes.ts';
import { featureExtractor } from '../models/train/features.ts';
import { lossCurve, metricsLog } from '../models/train/keep.ts';
import { accuracy, type Look, patchRows } from '../models/train/look.ts';
import { checkpointBytes, type Run, spanning, startRun } from '../models/train/run.ts';
import { flatten, writeAtomic, writeSafetensors } from '../models/weights/index.ts';
import { backendNames, backendOf } from './backends.ts';
import { interruptible } from './interrupt.ts';
import { path, tuneOption, whole } from './options.ts';
import { type OutputFolder, outputFolder } from './output.ts';
import { type ProgressLine, progressLine, seconds } from './progress.ts';
import { describe, load, stepLine } from './training.ts';

interface DemoOptions {
  readonly steps: number;
  readonly seed: number;
  readonly backend: string;
  readonly precision: 'f32' | 'bf16' | 'f16';
  readonly tune: Tune;
  readonly out?: string;
  readonly data?: string;
}

/** Images of the k-NN bank and held-out images that it is asked about. */
const sizes = { bank: 3000, queries: 1000 };
/** On a backend that interprets, where a hundred images take seconds. */
const fewer = { bank: 300, queries: 100 };
const files = ['metrics.jsonl', 'loss.png', 'patches.png', 'checkpoint.safetensors'] as const;
/** Room for the pictures and the metrics, generously. */
const picturesBytes = 1 << 20;

export const demoCommand = (): Command =>
  new Command('demo')
    .description('compile the DINOv2 training step and train a small DINOv2 on real images')
    .option('--steps <n>', 'training steps', whole('--steps', 1), 800)
    .option('--seed <n>', 'decides initial weights, order of images, crops and masks', whole('--seed', 0), 0)
    .option('--backend <name>', `where to run: ${backendNames.join(' or ')}`, 'cpu')
    .addOption(
      new Option('--precision <type>', 'operands of the contractions of backbones and heads; all else is float32')
        .choices(['f32', 'bf16', 'f16'])
        .default('f32'),
    )
    .addOption(tuneOption())
    .option(
      '--data <dir>',
      'a folder of your own JPEG, PNG, WebP or GIF images (default: the bundled Fashion-MNIST images)',
      path('--data'),
    )
    .option('--out <dir>', 'folder for metrics, pictures and the checkpoint (default: runs/demo-<seed>)', path('--out'))
    .option('--debug', 'print the stack of an error')
    .action(runDemo);

async function runDemo(options: DemoOptions): Promise<void> {
  const started = performance.now();
  const recipe = spanning(recipeAt(demoRecipe, options.precision), options.steps);
  const backend = await backendOf(options.backend);
  const out = outputFolder(resolve(options.out ?? `runs/demo-${options.seed}`), files, checkpointBytes(recipe) + picturesBytes);
  const line = progressLine();
  const interrupt = interruptible(() => {
    line.clear();
    out.abandon();
  });
  try {
    const { train, test } = await load(options, recipe);
    const { bank: known, queries: asked } = backend.kind === 'graph' ? fewer : sizes;
    const [bank, queries] = [take(train, known), take(test, asked)];
    console.log(`${train.name}: ${train.pictures.length} training and ${test.pictures.length} held-out images`);
    if (backend.kind === 'graph')
      console.log(`the ${backend.name} backend interprets: steps take a minute or so, and k-NN uses ${known} and ${asked} images`);
    console.log(`compiling for ${backend.name} ...`);
    const progress: Progress = (done, total, stage) =>
      line.show(stage === 'measured' ? `measuring schedules ${done}/${total}` : `compiling kernels ${done}/${total}`);
    const run = await startRun({
      recipe,
      images: train,
      backend,
      seed: options.seed,
      precision: options.precision,
      tune: options.tune,
      progress,
    });
    line.clear();
    console.log(`training step: ${describe(run.report)}`);
    const { globalSize: side } = recipe.crops;
    const extract = await featureExtractor({ model: recipe.model, size: [side, side], batch: 100, backend });
    const look: Look = (set) => extract(run.state().teacher.backbone, set.pictures.map(centreCrop(side, side)), set.normalise);
    line.show('k-NN accuracy before training ...');
    const before = await accuracy(look, bank, queries);
    line.clear();
    if (before === undefined) console.log('the images have no labels (no sub-folders), so there is no k-NN accuracy');
    else console.log(`k-NN accuracy before training: ${before.toFixed(1)} %`);

    const stop = interrupt.allow(() => {
      line.clear();
      console.log('stopping: this step is finished and the files are written (Ctrl-C again to leave at once) ...');
    });
    await trainAndKeep(run, recipe, options.steps, out, stop, line, async () => {
      const after = await accuracy(look, bank, queries);
      if (before !== undefined && after !== undefined)
        console.log(`k-NN accuracy after training: ${after.toFixed(1)} % (before: ${before.toFixed(1)} %)`);
      const shown = take(test, 12);
      return patchPicture(patchRows(shown, await look(shown), side, recipe.model.patch), recipe.model.width);
    });
    console.log(`${seconds((performance.now() - started) / 1e3)} in all`);
  } catch (e) {
    line.clear();
    out.abandon();
    throw e;
  } finally {
    interrupt.release();
  }
  process.exitCode = interrupt.status() ?? 0;
}

/** Trains, with a line of metrics a step; then looks at what was learned and writes pictures and checkpoint. */
const trainAndKeep = async (
  run: Run,
  recipe: Recipe,
  steps: number,
  out: OutputFolder<(typeof files)[number]>,
  stop: AbortSignal,
  line: ProgressLine,
  look: () => Promise<Uint8Array>,
): Promise<void> => {
  out.begin();
  const log = metricsLog(out.file('metrics.jsonl'));
  try {
    let spent = 0;
    for await (const m of run.train(steps, stop)) {
      spent += m.seconds;
      log.add(m);
      const text = stepLine(m, { steps, rate: (recipe.batch * m.step) / spent, left: ((steps - m.step) * spent) / m.step });
      line.show(text, m.step === 1 || m.step === steps || m.step % Math.ceil(steps / 10) === 0);
    }
  } finally {
    log.close();
  }
  line.clear();
  // small files first: a disk that fills up should cost as little as possible
  writeAtomic(out.file('loss.png'), [await lossCurve(log.all)]);
  writeAtomic(out.file('patches.png'), [await look()]);
  writeSafetensors(out.file('checkpoint.safetensors'), flatten(await toHost(run.state())), { recipe: JSON.stringify(recipe) });
  console.log(`${log.all.length} steps; wrote ${files.slice(0, -1).join(', ')} and ${files.at(-1)} to ${out.path}`);
};
