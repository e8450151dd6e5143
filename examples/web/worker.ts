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
import { centreCrop, type Placed } from '../../models/data/view.ts';
import { knn } from '../../models/eval/knn.ts';
import { patchColours } from '../../models/eval/patch-colours.ts';
import { demo, type Recipe } from '../../models/recipes.ts';
import { type Extract as Extractor, featureExtractor } from '../../models/train/features.ts';
import { type Run, spanning, startRun } from '../../models/train/run.ts';
import { FoveaError, type WebGpuBackend, webgpu } from '../../web.ts';
import type { FromWorker, ToWorker } from './messages.ts';

/** Images that are shown, and pixels on a side of what a user brings. */
const sizes = { shown: 10, own: 112 } as const;
/** Seconds between two looks at the patches. */
const every = 2;

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
let backend: WebGpuBackend;
let sets: { readonly train: ImageSet; readonly test: ImageSet };
let session: Session | undefined;
let stopping: AbortController | undefined;

const featuresOf = ({ run, extract }: Session, images: readonly Placed[], set: ImageSet) =>
  extract(run.state().teacher.backbone, images, set.normalise);
const side = ({ recipe }: Session): number => recipe.crops.globalSize;
const crops = (s: Session, set: ImageSet): readonly Placed[] => set.pictures.map(centreCrop(side(s), side(s)));

/** Of `images` held-out images, each asked about among three times as many. */
const accuracy = async (s: Session, step: number, images: number): Promise<void> => {
  if (images === 0) return;
  const [bank, queries] = [take(sets.train, 3 * images), take(sets.test, images)];
  const [known, asked] = [await featuresOf(s, crops(s, bank), bank), await featuresOf(s, crops(s, queries), queries)];
  const result = knn({
    bank: known.cls,
    bankLabels: bank.labels as Int32Array,
    queries: asked.cls,
    queryLabels: queries.labels as Int32Array,
    dim: s.recipe.model.width,
    classes: bank.classes.length,
    k: [Math.min(20, bank.pictures.length)],
  });
  say({ kind: 'accuracy', step, percent: 100 * ([...result.accuracy.values()][0] as number) });
};

const patches = async (s: Session, step: number): Promise<void> => {
  const shown = take(sets.test, sizes.shown);
  const { patches } = await featuresOf(s, crops(s, shown), shown);
  const grid = [side(s) / s.recipe.model.patch, side(s) / s.recipe.model.patch] as const;
  const each = patches.length / shown.pictures.length;
  const rows = shown.pictures.map((_, i) => ({ grid, patches: patches.subarray(i * each, (i + 1) * each) }));
  say({ kind: 'patches', step, images: shown.pictures, colours: patchColours(rows, s.recipe.model.width) });
};

const train = async ({ steps, images, seed, asked }: Asked<'train'>): Promise<void> => {
  session = undefined;
  const recipe = spanning({ ...demo, batch: images }, steps);
  const progress = (done: number, total: number): void => say({ kind: 'working', text: `compiling kernels ${done}/${total}` });
  say({ kind: 'working', text: 'tracing, differentiating, fusing ...' });
  const run = await startRun({ recipe, images: sets.train, backend, seed, progress });
  const size = recipe.crops.globalSize;
  const extract = await featureExtractor({ model: recipe.model, size: [size, size], batch: 100, backend, progress });
  const s: Session = { run, recipe, extract };
  session = s;
  say({ kind: 'working', text: 'k-NN accuracy before training ...' });
  await accuracy(s, 0, asked);
  stopping = new AbortController();
  const started = performance.now();
  let [spent, done, looked] = [0, 0, Number.NEGATIVE_INFINITY];
  for await (const metrics of run.train(steps, stopping.signal)) {
    spent += metrics.seconds;
    done = metrics.step;
    say({ kind: 'step', metrics, rate: (images * done) / spent });
    if (performance.now() - looked > 1000 * every || done === steps) {
      await patches(s, done);
      looked = performance.now();
    }
  }
  say({ kind: 'working', text: 'k-NN accuracy after training ...' });
  await accuracy(s, done, asked);
  say({ kind: 'done', steps: done, seconds: (performance.now() - started) / 1000 });
};

/** A program for larger pictures, compiled when the first one comes. */
let wide: { readonly of: Session; readonly extract: Extractor } | undefined;
const look = async ({ picture }: Asked<'look'>): Promise<void> => {
  const s = session;
  if (!s) throw new FoveaError('FV0408', 'there is no model yet', { hint: 'Train first, if only for a few steps.' });
  const started = performance.now();
  const placed = centreCrop(sizes.own, sizes.own)(picture);
  if (wide?.of !== s)
    wide = { of: s, extract: await featureExtractor({ model: s.recipe.model, size: [sizes.own, sizes.own], batch: 1, backend }) };
  const { patches } = await wide.extract(s.run.state().teacher.backbone, [placed], sets.train.normalise);
  const grid = [sizes.own / s.recipe.model.patch, sizes.own / s.recipe.model.patch] as const;
  const [colours] = patchColours([{ grid, patches }], s.recipe.model.width);
  if (colours) say({ kind: 'looked', picture: placed.picture, colours, seconds: (performance.now() - started) / 1000 });
};

const failed = (e: unknown): void => {
  if (e instanceof FoveaError) say({ kind: 'failed', code: e.code, message: e.message, hint: e.hint ?? '' });
  else say({ kind: 'failed', code: '', message: e instanceof Error ? e.message : String(e), hint: '' });
};

/** One thing after another; `stop` alone is heard while something runs. */
let last: Promise<void> = (async () => {
  backend = await webgpu();
  sets = { train: await load(trainImages, trainLabels), test: await load(testImages, testLabels) };
  say({ kind: 'ready', adapter: backend.adapter, images: sets.train.pictures.length });
})().catch(failed);
addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'stop') stopping?.abort();
  else last = last.then(() => (data.kind === 'train' ? train(data) : look(data))).catch(failed);
});
