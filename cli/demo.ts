/**
 * `fovea demo`: compiles DINOv2's training step, trains a small DINOv2 on real images and shows what it has learned: k-NN
 * accuracy before and after, a loss curve, a picture of the patch features, a checkpoint. Ctrl-C ends the training early and
 * still leaves all of it.
 */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import type { CompileReport } from '../index.ts';
import { toHost } from '../index.ts';
import { holdOut, type ImageSet, loadFashion, loadFolder, take } from '../models/data/index.ts';
import { knn } from '../models/eval/knn.ts';
import { demo as demoRecipe } from '../models/recipes.ts';
import { type Extract, featureExtractor } from '../models/train/features.ts';
import { lossCurve, metricsLog, patchPicture } from '../models/train/keep.ts';
import { type Run, spanning, startRun } from '../models/train/run.ts';
import { cannotWrite, flatten, writeAtomic, writeSafetensors } from '../models/weights/index.ts';
import { backendNames, backendOf } from './backends.ts';
import { progressLine, seconds } from './progress.ts';

interface DemoOptions {
  readonly steps: number;
  readonly seed: number;
  readonly backend: string;
  readonly out?: string;
  readonly data?: string;
}

/** Images of the k-NN bank and held-out images that it is asked about. */
const bankSize = 3000;
const querySize = 1000;

const whole =
  (name: string, min: number) =>
  (text: string): number => {
    const n = Number(text);
    if (!Number.isInteger(n) || n < min || n > 1e9)
      throw new FoveaError('FV0503', `${name} ${text}: expected a whole number from ${min} on`);
    return n;
  };

export const demoCommand = (): Command =>
  new Command('demo')
    .description('compile the DINOv2 training step and train a small DINOv2 on real images')
    .option('--steps <n>', 'training steps', whole('--steps', 1), 400)
    .option('--seed <n>', 'decides initial weights, order of images, crops and masks', whole('--seed', 0), 0)
    .option('--backend <name>', `where to run: ${backendNames.join(' or ')}`, 'cpu')
    .option('--data <dir>', 'a folder of your own JPEG, PNG or WebP images (default: the bundled Fashion-MNIST images)')
    .option('--out <dir>', 'folder for metrics, pictures and the checkpoint (default: runs/demo-<seed>)')
    .option('--debug', 'print the stack of an error')
    .action(runDemo);

const load = async (options: DemoOptions): Promise<{ readonly train: ImageSet; readonly test: ImageSet }> => {
  if (options.data === undefined) return loadFashion();
  const { set, warnings } = await loadFolder(resolve(options.data), { short: 2 * demoRecipe.crops.globalSize, seed: options.seed });
  for (const w of warnings) console.warn(`warning: ${w}`);
  return holdOut(set, 0.2, options.seed);
};

/** k-NN accuracy of the teacher's class tokens in per cent, if the images have labels. */
const accuracy = async (run: Run, extract: Extract, bank: ImageSet, queries: ImageSet): Promise<number | undefined> => {
  if (!bank.labels || !queries.labels) return undefined;
  const { backbone } = run.state().teacher;
  const [known, asked] = [await extract(backbone, bank), await extract(backbone, queries)];
  const k = Math.min(20, bank.pictures.length);
  const dim = known.cls.length / bank.pictures.length;
  const result = knn({
    bank: known.cls,
    bankLabels: bank.labels,
    queries: asked.cls,
    queryLabels: queries.labels,
    dim,
    classes: bank.classes.length,
    k: [k],
  });
  return 100 * (result.accuracy.get(k) as number);
};

const describe = ({ tracedNodes, nodes, plan, seconds: s }: CompileReport): string => {
  const lowered = plan
    ? `, ${plan.launches.length} kernels (${plan.kernels.length} distinct), arena ${(plan.arenaBytes / 2 ** 20).toFixed(1)} MiB`
    : '';
  return `${tracedNodes} graph nodes traced, ${nodes} after passes${lowered}; passes ${s.passes.toFixed(1)} s, plan ${s.plan.toFixed(1)} s, backend ${s.backend.toFixed(1)} s`;
};

async function runDemo(options: DemoOptions): Promise<void> {
  const started = performance.now();
  const out = resolve(options.out ?? `runs/demo-${options.seed}`);
  const backend = backendOf(options.backend);
  const { train, test } = await load(options);
  try {
    mkdirSync(out, { recursive: true });
  } catch (e) {
    throw cannotWrite(out, e);
  }
  const log = metricsLog(join(out, 'metrics.jsonl'));
  const recipe = spanning(demoRecipe, options.steps);
  const [bank, queries] = [take(train, bankSize), take(test, querySize)];
  console.log(`${train.name}: ${train.pictures.length} training and ${test.pictures.length} held-out images`);
  console.log(`compiling for ${backend.name} ...`);
  const line = progressLine();
  const run = await startRun({
    recipe,
    images: train,
    backend,
    seed: options.seed,
    progress: (done, total) => line.show(`compiling kernels ${done}/${total}`),
  });
  line.clear();
  console.log(`training step: ${describe(run.report)}`);
  const extract = await featureExtractor(recipe, backend);
  const before = await accuracy(run, extract, bank, queries);
  if (before === undefined) console.log('the images have no labels (no sub-folders), so there is no k-NN accuracy');
  else console.log(`k-NN accuracy before training: ${before.toFixed(1)} %`);

  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(130);
    line.clear();
    console.log('stopping after this step (Ctrl-C again to leave at once) ...');
    stop.abort();
  };
  process.on('SIGINT', interrupt);
  try {
    let spent = 0;
    for await (const m of run.train(options.steps, stop.signal)) {
      spent += m.seconds;
      log.add(m);
      const { loss, dino_local_crops_loss: local, dino_global_crops_loss: global, koleo_loss: koleo, ibot_loss: ibot } = m.losses;
      const rate = (recipe.batch * m.step) / spent;
      const left = ((options.steps - m.step) * spent) / m.step;
      const terms = `dino ${(local + global).toFixed(3)} ibot ${ibot.toFixed(3)} koleo ${koleo.toFixed(3)}`;
      const text = `step ${m.step}/${options.steps}  loss ${loss.toFixed(3)} (${terms})  ${rate.toFixed(0)} images/s  ${seconds(left)} left`;
      line.show(text, m.step === 1 || m.step === options.steps || m.step % Math.ceil(options.steps / 10) === 0);
    }
    line.clear();
    const after = await accuracy(run, extract, bank, queries);
    const state = await toHost(run.state());
    writeSafetensors(join(out, 'checkpoint.safetensors'), flatten(state), { recipe: JSON.stringify(recipe) });
    writeAtomic(join(out, 'loss.png'), [await lossCurve(log.all)]);
    const shown = take(test, 12);
    writeAtomic(join(out, 'patches.png'), [
      await patchPicture(shown, (await extract(run.state().teacher.backbone, shown)).patches, recipe),
    ]);
    if (before !== undefined && after !== undefined)
      console.log(`k-NN accuracy after training: ${after.toFixed(1)} % (before: ${before.toFixed(1)} %)`);
    console.log(`wrote metrics.jsonl, loss.png, patches.png and checkpoint.safetensors to ${out}`);
    console.log(`${log.all.length} steps, ${seconds((performance.now() - started) / 1e3)} in all`);
  } finally {
    process.off('SIGINT', interrupt);
    log.close();
  }
  if (stop.signal.aborted) process.exitCode = 130;
}
