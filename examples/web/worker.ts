/**
 * The part of the page that computes, in a worker, so that the page answers while kernels are compiled and batches are made: DINOv2's training
 * step on WebGPU, the bundled images, k-NN accuracy and patch features of the teacher.
 */

import testImages from '../../data/fashion-mnist/t10k-images-idx3-ubyte.gz';
import testLabels from '../../data/fashion-mnist/t10k-labels-idx1-ubyte.gz';
import trainImages from '../../data/fashion-mnist/train-images-idx3-ubyte.gz';
import trainLabels from '../../data/fashion-mnist/train-labels-idx1-ubyte.gz';
import { fashion, idxSet } from '../../models/data/idx.ts';
import { type ImageSet, take } from '../../models/data/picture.ts';
import { centreCrop } from '../../models/data/view.ts';
import { patchColours } from '../../models/eval/patch-colours.ts';
import { demo, type Recipe } from '../../models/recipes.ts';
import { type Extract as Extractor, featureExtractor } from '../../models/train/features.ts';
import { accuracy, type Look, patchRows } from '../../models/train/look.ts';
import { type Run, type RunOptions, spanning, startRun } from '../../models/train/run.ts';
import { FoveaError, plansInCache, toHost, versionOf, type WebGpuBackend, webgpu } from '../../web.ts';
import type { FromWorker, ToWorker } from './messages.ts';

/** Images that are looked at together, and shown, and pixels on a side of what a user brings. */
const sizes = { batch: 20, shown: 10, own: 112 } as const;
/** Seconds between two looks at the patches; and between two copies of the state, from which training goes on where a device is lost. */
const every = { look: 2, copy: 10 } as const;

const say = (m: FromWorker): void => postMessage(m);
const unpacked = async (url: string): Promise<Uint8Array> => {
  const answer = await fetch(url);
  if (!answer.ok || !answer.body) throw new FoveaError('FV0404', `${url}: ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await new Response(answer.body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer());
};
const load = async (images: string, labels: string): Promise<ImageSet> => idxSet(await unpacked(images), await unpacked(labels), fashion);

type Asked<K extends ToWorker['kind']> = Extract<ToWorker, { readonly kind: K }>;
interface Session {
  readonly run: Run;
  readonly recipe: Recipe;
  readonly extract: Extractor;
}
/** A state of the training on the host. */
type Copy = NonNullable<RunOptions['from']>;
let backend: WebGpuBackend | undefined;
/** A device that was lost is not used again. */
const device = async (): Promise<WebGpuBackend> => {
  // this script is the whole compiler: its hash is its version
  backend ??= await webgpu({ plans: await plansInCache(await versionOf(import.meta.url)) });
  return backend;
};
let sets: { readonly train: ImageSet; readonly test: ImageSet };
let session: Session | undefined;
/** A program for larger pictures, compiled when the first one comes. */
let wide: Extractor | undefined;
let stopping = new AbortController();

const side = ({ recipe }: Session): number => recipe.crops.globalSize;
/** Features of the teacher as it is now. */
const lookOf =
  (s: Session): Look =>
  (set) =>
    s.extract(s.run.state().teacher.backbone, set.pictures.map(centreCrop(side(s), side(s))), set.normalise);

/** Of `images` held-out images, each asked about among three times as many. */
const neighbours = async (s: Session, when: 'before' | 'after', images: number): Promise<void> => {
  const percent = images === 0 ? undefined : await accuracy(lookOf(s), take(sets.train, 3 * images), take(sets.test, images));
  if (percent !== undefined) say({ kind: 'accuracy', when, percent });
};

const patches = async (s: Session): Promise<void> => {
  const shown = take(sets.test, sizes.shown);
  const { patch, width } = s.recipe.model;
  const rows = patchRows(shown, await lookOf(s)(shown), side(s), patch);
  say({ kind: 'patches', images: shown.pictures, colours: patchColours(rows, width) });
};

/** What is compiled belongs to one session and goes with it. */
const leave = (): void => {
  wide?.dispose();
  session?.extract.dispose();
  session?.run.dispose();
  wide = undefined;
  session = undefined;
};

/** Trains to the end, from the beginning or from a copy; `keep` gets the copies. */
const train = async ({ steps, images, asked }: Asked<'train'>, from: Copy | undefined, keep: (copy: Copy) => void): Promise<void> => {
  leave();
  const { signal } = stopping;
  const [started, on] = [performance.now(), await device()];
  const recipe = spanning({ ...demo, batch: images }, steps);
  const progress = (done: number, total: number): void => say({ kind: 'working', text: `compiling kernels ${done}/${total}` });
  say({ kind: 'working', text: 'tracing, differentiating, fusing ...' });
  const run = await startRun({ recipe, images: sets.train, backend: on, seed: 0, progress, ...(from ? { from } : {}) });
  const { kept, seconds } = run.report;
  say({ kind: 'planned', kept, seconds: seconds.passes + seconds.plan, kernels: seconds.backend });
  const size = recipe.crops.globalSize;
  const extract = await featureExtractor({ model: recipe.model, size: [size, size], batch: sizes.batch, backend: on, progress });
  const s: Session = { run, recipe, extract };
  session = s;
  const first = from?.step ?? 0;
  let [spent, done, looked, last, copied] = [0, first, Number.NEGATIVE_INFINITY, first, Number.NEGATIVE_INFINITY];
  const show = async (): Promise<void> => {
    await patches(s);
    [looked, last] = [performance.now(), done];
  };
  if (!signal.aborted && !from) {
    say({ kind: 'working', text: 'k-NN accuracy before training ...' });
    await neighbours(s, 'before', asked);
  }
  for await (const metrics of run.train(steps - first, signal)) {
    spent += metrics.seconds;
    done = metrics.step;
    say({ kind: 'step', metrics, rate: (images * (done - first)) / spent });
    if (performance.now() - copied > 1000 * every.copy) {
      keep({ state: (await toHost(run.state())) as Copy['state'], step: done });
      copied = performance.now();
    }
    if (performance.now() - looked > 1000 * every.look) await show();
  }
  if (done > last) await show();
  if (done > 0) {
    say({ kind: 'working', text: 'k-NN accuracy after training ...' });
    await neighbours(s, 'after', asked);
  }
  say({ kind: 'done', steps: done, seconds: (performance.now() - started) / 1000 });
};

/** The device is gone, and with it all that lies on it. */
const isLost = (e: unknown): boolean => e instanceof FoveaError && e.code === 'FV0308';
const forget = (): void => {
  [backend, session, wide] = [undefined, undefined, undefined];
};

/** Where the device is lost, training goes on from the last copy on another one, as long as there is a newer copy each time. */
const trainOn = async (asked: Asked<'train'>): Promise<void> => {
  let copy: Copy | undefined;
  for (;;) {
    const from = copy;
    try {
      return await train(asked, from, (newer) => {
        copy = newer;
      });
    } catch (e) {
      if (!isLost(e) || copy === undefined || copy === from) throw e;
      forget();
      say({ kind: 'working', text: `the device was lost: going on from step ${copy.step} on another` });
    }
  }
};

const look = async ({ picture }: Asked<'look'>): Promise<void> => {
  const s = session;
  if (!s) throw new FoveaError('FV0408', 'there is no model yet', { hint: 'Train first, if only for a few steps.' });
  const started = performance.now();
  const placed = centreCrop(sizes.own, sizes.own)(picture);
  wide ??= await featureExtractor({ model: s.recipe.model, size: [sizes.own, sizes.own], batch: 1, backend: await device() });
  const features = await wide(s.run.state().teacher.backbone, [placed], sets.train.normalise);
  const { patch, width } = s.recipe.model;
  const [colours] = patchColours(patchRows({ ...sets.test, pictures: [placed.picture] }, features, sizes.own, patch), width);
  if (colours) say({ kind: 'looked', picture: placed.picture, colours, seconds: (performance.now() - started) / 1000 });
};

const failed =
  (what: 'start' | 'train' | 'look') =>
  (e: unknown): void => {
    const { code, hint } = e instanceof FoveaError ? e : { code: '', hint: '' };
    // nothing on that device can be used any more
    if (code === 'FV0308' || code === 'FV0309') forget();
    say({ kind: 'failed', what, code, message: e instanceof Error ? e.message : String(e), hint: hint ?? '' });
  };

/** One thing after another; `stop` alone is heard while something runs. */
let last: Promise<void> = (async () => {
  const { device: adapter } = await device();
  sets = { train: await load(trainImages, trainLabels), test: await load(testImages, testLabels) };
  say({ kind: 'ready', adapter, images: sets.train.pictures.length });
})().catch(failed('start'));
addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'stop') stopping.abort();
  else if (data.kind === 'train') {
    stopping = new AbortController();
    last = last.then(() => trainOn(data)).catch(failed('train'));
  } else last = last.then(() => look(data)).catch(failed('look'));
});
