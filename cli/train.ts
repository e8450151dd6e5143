/**
 * `fovea train`: trains DINOv2 by a recipe, in one process or, under a launcher of MPI, on as many ranks as it starts:
 *
 *   npx fovea train --recipe demo --steps 800
 *   mpirun -n 2 npx fovea train --recipe demo --steps 800 --batch 16        the same images a step
 *   srun -n 16 npx fovea train --recipe vitl14 --data images --strategy FULL_SHARD
 *
 * Every rank has the recipe's batch, as in the original, or with --shards several of them: one process does what four ranks do with --shards 4. Checkpoints are written in parts, and a run goes on from the newest with --resume, or from that of a
 * step, on any number of ranks. Rank 0 prints; what is wrong is found before anything is compiled, on all ranks, and told once.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import type { FloatType } from '../compiler/graph/types.ts';
import { type Backend, flatten, type HostTensor, type Progress, type ShardPlan, type Tune } from '../index.ts';
import { type Checkpoint, completeSteps, openCheckpoint, stepName, writeCheckpoint } from '../models/checkpoint/index.ts';
import type { ImageSet } from '../models/data/picture.ts';
import { batchPlacement } from '../models/dinov2/ranks.ts';
import { initState, stateSpec } from '../models/dinov2/state.ts';
import { recipeAt } from '../models/precision.ts';
import { type Recipe, recipes } from '../models/recipes.ts';
import { lossCurve, metricsLog } from '../models/train/keep.ts';
import { checkpointBytes, type Run, spanning, startRun } from '../models/train/run.ts';
import { loadWeights, writeAtomic, writeSafetensors } from '../models/weights/index.ts';
import { backendNames, backendOf } from './backends.ts';
import { type Interrupt, interruptible } from './interrupt.ts';
import { path, tuneOption, whole } from './options.ts';
import { type OutputFolder, outputFolder } from './output.ts';
import { type ProgressLine, progressLine, seconds } from './progress.ts';
import { agree, type Job, jobOf, onJob, Shared } from './ranks.ts';
import { report } from './report.ts';
import { type ShardFlags, shardOptions, shardPlan, shardText } from './sharding.ts';
import { describe, load, stepLine } from './training.ts';

interface TrainOptions extends ShardFlags {
  readonly recipe: keyof typeof recipes;
  readonly steps: number;
  readonly batch?: number;
  readonly seed: number;
  readonly data?: string;
  readonly out?: string;
  readonly resume?: true | number;
  readonly every: number;
  readonly keep: number;
  readonly backend: string;
  readonly precision: FloatType;
  readonly tune: Tune;
  readonly ranks?: number;
  readonly shards?: number;
  readonly debug?: true;
}

const files = ['metrics.jsonl', 'loss.png', 'checkpoint.safetensors'] as const;
type Folder = OutputFolder<(typeof files)[number]>;

export const trainCommand = (): Command => {
  const command = new Command('train')
    .description('train DINOv2 by a recipe, on one process or on the ranks of mpirun and srun')
    .addOption(new Option('--recipe <name>', 'model, data settings and schedules').choices(Object.keys(recipes)).default('demo'))
    .option('--steps <n>', 'steps of the whole run, over which the schedules span', whole('--steps', 1), 800)
    .option('--batch <n>', "images of a step in each shard, of which a rank has one (default: the recipe's)", whole('--batch', 2))
    .option('--seed <n>', 'decides initial weights, order of images, crops and masks', whole('--seed', 0), 0)
    .option('--data <dir>', 'a folder of JPEG, PNG, WebP or GIF images (default: the bundled Fashion-MNIST images)', path('--data'))
    .option('--out <dir>', 'folder for metrics and checkpoints (default: runs/train-<recipe>-<seed>)', path('--out'))
    .option(
      '--resume [step]',
      'go on from the newest checkpoint in the folder, or from that of a step; later ones then go',
      whole('--resume', 1),
    )
    .option('--every <n>', 'steps between two checkpoints', whole('--every', 1), 100)
    .option('--keep <n>', 'checkpoints that stay', whole('--keep', 1), 2)
    .option('--backend <name>', `where to run: ${backendNames.join(' or ')}`, 'cpu')
    .addOption(
      new Option('--precision <type>', 'operands of contractions; all else is float32. f16 with a scale for the loss')
        .choices(['f32', 'bf16', 'f16'])
        .default('f32'),
    )
    .addOption(tuneOption())
    .option('--ranks <n>', 'ranks that there are to be; another number is refused', whole('--ranks', 1))
    .option(
      '--shards <n>',
      'shards of the batch (default: one a rank); what is done within a rank is done within a shard',
      whole('--shards', 1),
    );
  return shardOptions(command).option('--debug', 'print the stack of an error').action(runTrain);
};

const outOf = (o: TrainOptions): string => resolve(o.out ?? `runs/train-${o.recipe}-${o.seed}`);

/** The recipe of all ranks together. */
const recipeOf = (o: TrainOptions, size: number, earlier: Recipe | undefined): Recipe => {
  const base = recipeAt(recipes[o.recipe], o.precision);
  const shards = o.shards ?? (size === 1 ? (earlier?.shards ?? 1) : size);
  if (shards % size !== 0)
    throw new FoveaError('FV0803', `--shards ${shards} on ${size} ranks: each rank has as many shards as the others`, {
      hint: `Leave --shards out, or give a multiple of ${size}.`,
    });
  const all = { ...base, batch: (o.batch ?? base.batch) * shards };
  return spanning(shards > 1 ? { ...all, shards } : all, o.steps);
};

/** A checkpoint is gone on from with the seed and the recipe that it was made with; how many shards share a step may change. FV0803. */
const sameRun = (seed: number, recipe: Recipe, before: Recipe, { seed: other }: Checkpoint['run']): void => {
  const text = (x: unknown): string => JSON.stringify(x) ?? 'nothing';
  if (other !== String(seed))
    throw new FoveaError('FV0803', `the checkpoint was made with seed ${other}, this run has ${seed}`, {
      hint: `Add --seed ${other}, or choose another folder.`,
    });
  const differ = (Object.keys(recipe) as (keyof Recipe)[]).filter((k) => k !== 'shards' && text(recipe[k]) !== text(before[k]));
  const [k] = differ;
  if (k !== undefined)
    throw new FoveaError('FV0803', `the checkpoint was made with another recipe: ${differ.map((x) => `${x} differs`).join(', ')}`, {
      hint:
        k === 'batch'
          ? `It had ${text(before.batch)} images a step, this run has ${recipe.batch}: change --batch, which counts those of one shard.`
          : 'Give the options of the run that made it (--recipe, --steps, --batch), or choose another folder.',
    });
};

const planOf = (o: TrainOptions, recipe: Recipe): ShardPlan => ({
  ...shardPlan(o),
  // argument 1 is the batch
  place: (at) => (at.startsWith('1.') ? batchPlacement(recipe, at.slice(2)) : undefined),
});

/** --ranks and --group against the ranks that there are. */
const checkMesh = (o: TrainOptions, job: Job): void => {
  const { ranks, group } = o;
  const started = job.world ? `${job.size} ranks were started` : 'this is one process, started without mpirun or srun';
  if (ranks !== undefined && ranks !== job.size)
    throw new FoveaError('FV0803', `--ranks ${ranks}, but ${started}`, { hint: `Start it as: mpirun -n ${ranks} npx fovea train ...` });
  if (group !== undefined && job.size % group !== 0)
    throw new FoveaError('FV0803', `--group ${group} does not divide the ${job.size} ranks`, { hint: 'Ranks form groups of equal size.' });
};

/** What the run before has left, if this one is to go on from it. */
const earlierOf = (o: TrainOptions, out: string, job: Job): Checkpoint | undefined => {
  const folder = join(out, 'checkpoints');
  const steps = completeSteps(folder);
  const newest = steps.at(-1);
  if (o.resume === undefined) {
    if (newest === undefined) return undefined;
    throw new FoveaError('FV0503', `${out} holds a checkpoint of step ${newest}`, {
      hint: 'Give --resume to go on from it, or another folder with --out.',
    });
  }
  if (newest === undefined) {
    throw new FoveaError('FV0804', `${folder}: there is no complete checkpoint to go on from`, {
      hint: 'Leave --resume out, or give the folder with --out.',
    });
  }
  if (o.resume !== true && !steps.includes(o.resume))
    throw new FoveaError('FV0804', `${folder}: there is no complete checkpoint of step ${o.resume}`, {
      hint: `There ${steps.length === 1 ? 'is that of step' : 'are those of steps'} ${steps.join(', ')}.`,
    });
  return openCheckpoint(join(folder, stepName(o.resume === true ? newest : o.resume)), job);
};

/** The recipe that a checkpoint was made with. */
const recipeIn = ({ run, folder }: Checkpoint): Recipe => {
  try {
    return JSON.parse(run['recipe'] ?? '') as Recipe;
  } catch (cause) {
    throw new FoveaError('FV0804', `${folder}: it does not say with which recipe it was made`, {
      hint: 'Go on from another checkpoint with --resume STEP.',
      cause,
    });
  }
};

/** Text of everything that decides what weights a run starts from. */
const weightsText = (state: unknown, earlier: Checkpoint | undefined): string => {
  const hash = createHash('sha256');
  if (earlier) hash.update(JSON.stringify(earlier.parts));
  else for (const { leaf } of flatten(state)) hash.update((leaf as HostTensor).data as Uint8Array);
  return hash.digest('hex').slice(0, 16);
};

async function runTrain(options: TrainOptions): Promise<void> {
  const job = await jobOf();
  const interrupt = interruptible(() => {});
  try {
    await trainOn(options, job, interrupt);
    await job.world?.finish();
  } catch (e) {
    if (!job.world) throw e;
    if (e instanceof Shared) {
      if (job.rank === 0) console.error(`fovea: ${e.message}`);
      await job.world.finish();
      process.exitCode = 1;
      return;
    }
    // one rank tells what all have heard; what happened to this one alone it tells itself
    const heard = job.world.failure();
    job.world.communicator.abort(e instanceof Error ? e.message : String(e));
    if (heard === undefined || job.rank === (heard.startsWith('rank 0 ') ? 1 : 0)) {
      if (heard === undefined) console.error(`fovea: on rank ${job.rank}:`);
      report(e, options.debug ?? false);
    }
    await job.world.kill();
  } finally {
    interrupt.release();
  }
  process.exitCode = interrupt.status() ?? process.exitCode ?? 0;
}

/**
 * Where a device is lost, the run goes on from its newest checkpoint on another, as long as there is a newer one each time. Ranks end together instead:
 * whoever started them starts them again.
 */
const trainOn = async (options: TrainOptions, job: Job, interrupt: Interrupt): Promise<void> => {
  const newest = (): number => completeSteps(join(outOf(options), 'checkpoints')).at(-1) ?? 0;
  let from = 0;
  for (let o = options; ; o = { ...options, resume: true }) {
    try {
      return await train(o, job, interrupt);
    } catch (e) {
      const step = newest();
      if (!(e instanceof FoveaError && e.code === 'FV0308') || job.world || step <= from) throw e;
      from = step;
      console.error(`${e.message}; going on from step ${step} on another device`);
    }
  }
};

interface Beginning {
  readonly recipe: Recipe;
  readonly plan: ShardPlan;
  readonly plain: Backend;
  readonly images: ImageSet;
  readonly earlier: Checkpoint | undefined;
  readonly out: string;
  readonly say: (text: string) => void;
  readonly line: ProgressLine;
}

/** The run, and the steps that were done before. What it starts from, all of the state, goes with this call: a rank then holds its part. */
const begin = async (
  options: TrainOptions,
  job: Job,
  { recipe, plan, plain, images, earlier, out, say, line }: Beginning,
): Promise<{ readonly run: Run; readonly step: number }> => {
  // before weights are made, which takes a large model long
  await agree(job, {
    'the recipe': options.recipe,
    'the number of steps': String(options.steps),
    'the number of images a step': String(recipe.batch),
    'the seed': String(options.seed),
    'the precision': options.precision,
    'the backend': options.backend,
    'all of the recipe': createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 16),
    'the strategy': shardText(options, job.size),
    'the number of images': String(images.pictures.length),
    'the step': String(earlier?.step ?? 0),
    'the folder': out,
    'the number of steps between two checkpoints': String(options.every),
    'the number of checkpoints that stay': String(options.keep),
  });
  const from = await job.together(() =>
    earlier
      ? { state: loadWeights(stateSpec(recipe), earlier.tensors, { source: earlier.folder, finite: false }).params, step: earlier.step }
      : { state: initState(recipe, options.seed), step: 0 },
  );
  await agree(job, { 'the hash of the weights': weightsText(from.state, earlier) });
  if (job.world) {
    const { library, unwatched } = job.world;
    say(`${job.size} ranks over ${library}; ${shardText(options, job.size)}; ${recipe.batch} images a step`);
    if (unwatched.length > 0) say(`ranks ${unwatched.join(', ')} cannot be reached from rank 0: whether they die, only the launcher sees`);
  }
  say(`${images.name}: ${images.pictures.length} training images`);
  say(`compiling for ${plain.name} ...`);
  const progress: Progress = (done, total, stage) => {
    if (job.rank === 0) line.show(`${stage === 'measured' ? 'measuring schedules' : 'compiling kernels'} ${done}/${total}`);
  };
  const { backend, shards } = await job.together(() => onJob(job, plain, plan));
  const { seed, precision, tune } = options;
  const run = await startRun({
    recipe,
    images,
    backend,
    seed,
    precision,
    tune,
    progress,
    ...(shards ? { shards } : {}),
    from,
  });
  return { run, step: from.step };
};

const train = async (options: TrainOptions, job: Job, interrupt: Interrupt): Promise<void> => {
  const first = job.rank === 0;
  const say = (text: string): void => {
    if (first) console.log(text);
  };
  const started = performance.now();
  const out = outOf(options);
  const earlier = await job.together(() => {
    checkMesh(options, job);
    return earlierOf(options, out, job);
  });
  const {
    recipe,
    plan,
    plain,
    train: images,
    folder,
  } = await job.together(async () => {
    const before = earlier && recipeIn(earlier);
    const r = recipeOf(options, job.size, before);
    if (earlier && before) sameRun(options.seed, r, before, earlier.run);
    return {
      recipe: r,
      plan: planOf(options, r),
      plain: await backendOf(options.backend, {
        ...(job.threads === undefined ? {} : { threads: job.threads }),
        ...(job.world ? { device: job.world.local } : {}),
      }),
      train: (await load(options, r)).train,
      folder: first ? outputFolder(out, files, 2 * checkpointBytes(r)) : undefined,
    };
  });
  const line = progressLine();
  const { run, step } = await begin(options, job, { recipe, plan, plain, images, earlier, out, say, line });
  line.clear();
  say(`training step: ${describe(run.report)}`);
  const stop = interrupt.allow(() => {
    line.clear();
    say('stopping: this step is finished and a checkpoint is written (again to leave at once) ...');
  });
  if (earlier) say(`going on from step ${earlier.step}`);
  await steps(run, recipe, options, job, { out, folder, from: step, stop });
  earlier?.close();
  say(`${seconds((performance.now() - started) / 1e3)} in all`);
};

interface Place {
  readonly out: string;
  /** On rank 0. */
  readonly folder: Folder | undefined;
  readonly from: number;
  readonly stop: AbortSignal;
}

/** Trains, with a line of metrics a step and checkpoints; all ranks stop at one step when one of them is asked to. */
const steps = async (run: Run, recipe: Recipe, options: TrainOptions, job: Job, { out, folder, from, stop }: Place): Promise<void> => {
  const { steps: all, every, keep } = options;
  const checkpoints = join(out, 'checkpoints');
  const line = progressLine();
  const first = job.rank === 0;
  if (from === 0) folder?.begin();
  const log = folder && metricsLog(folder.file('metrics.jsonl'), from);
  const enough = new AbortController();
  let [spent, last, kept] = [0, from, from];
  const keepNow = async (): Promise<void> => {
    const text = { recipe: JSON.stringify(recipe), seed: String(options.seed) };
    await writeCheckpoint(checkpoints, last, { peers: job, pieces: await run.pieces(), run: text, keep });
    kept = last;
  };
  try {
    for await (const m of run.train(all - from, enough.signal)) {
      spent += m.seconds;
      last = m.step;
      log?.add(m);
      const done = m.step - from;
      const pace = { steps: all, rate: (recipe.batch * done) / spent, left: ((all - m.step) * spent) / done };
      if (first) line.show(stepLine(m, pace), done === 1 || m.step === all || m.step % Math.ceil(all / 10) === 0);
      if ((await job.exchange(stop.aborted ? 'stop' : '')).includes('stop')) enough.abort();
      else if (m.step % every === 0 && m.step < all) await keepNow();
    }
  } finally {
    log?.close();
  }
  if (last > kept) await keepNow();
  if (!folder || !log || !first) return;
  line.clear();
  if (log.all.length > 0) writeAtomic(folder.file('loss.png'), [await lossCurve(log.all)]);
  const { tensors, close } = openCheckpoint(join(checkpoints, stepName(last)));
  writeSafetensors(folder.file('checkpoint.safetensors'), tensors, { recipe: JSON.stringify(recipe) });
  close();
  const where = existsSync(checkpoints) ? `checkpoints/${stepName(last)}` : '';
  console.log(`${last} steps; wrote ${files.join(', ')} and ${where} to ${out}`);
};
