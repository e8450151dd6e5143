/**
 * `fovea features`: class and patch features of the user's images, by a network with released or own weights, as safetensors or JSON, and
 * a picture of the patch features. Images are seen as the original evaluates them, unless another view is asked for. Whatever can
 * be wrong with the call is found before anything is compiled.
 *
 *   fovea features photos cat.jpg --model vits14 --weights dinov2_vits14.safetensors --out cats.json --pca cats.png
 */
import { realpathSync } from 'node:fs';
import { basename, dirname, extname, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import type { Backend } from '../index.ts';
import { centreCrop, type Fit, imagenet, ownPixels, type Placed, type View, wholePicture } from '../models/data/index.ts';
import { type FeatureSet, featureFormats, type NamedFeatures } from '../models/eval/feature-file.ts';
import type { PatchRows } from '../models/eval/patch-colours.ts';
import { patchPicture } from '../models/eval/patches.ts';
import { evaluationView } from '../models/recipes/evaluations.ts';
import { type Extract, featureExtractor } from '../models/train/features.ts';
import { writeAtomic } from '../models/weights/index.ts';
import { backendNames, backendOf } from './backends.ts';
import { type ImageFile, imageFiles, look } from './images.ts';
import { backboneWeights, type LoadedBackbone, modelNamed, modelNames, type NamedModel } from './model.ts';
import { path, whole } from './options.ts';
import { type OutputFolder, outputFolder } from './output.ts';
import { type ProgressLine, progressLine, seconds } from './progress.ts';

interface FeaturesOptions {
  readonly model: string;
  readonly registers?: number;
  readonly weights?: string;
  readonly prefix?: string;
  readonly backend: string;
  readonly out?: string;
  readonly pca?: string;
  readonly batch: number;
  readonly view: 'centre' | 'whole' | 'exact';
  readonly resize?: number;
  readonly crop?: number;
  readonly fit: Fit;
  readonly orient?: boolean;
  readonly clsOnly?: boolean;
}

/** Images of the picture; more would be too small to see. */
const shown = { most: 24, columns: 8, cell: 168 } as const;

export const featuresCommand = (): Command =>
  new Command('features')
    .description('class and patch features of images')
    .argument('<images...>', 'JPEG, PNG, WebP or GIF files, or folders of them')
    .requiredOption('--model <name>', `${modelNames.join(', ')}, or a JSON file of constructor arguments`)
    .option('--registers <n>', 'register tokens of vit_small, vit_base, vit_large or vit_giant2', whole('--registers', 0))
    .option('--weights <file>', 'the weights of the network', path('--weights'))
    .option('--prefix <name>', 'what their names in the file start with, for example teacher.backbone')
    .option('--backend <name>', `where to run: ${backendNames.join(' or ')}`, 'cpu')
    .option('--out <file>', 'a .safetensors or .json file (default: features.safetensors, or none with --pca)', path('--out'))
    .option('--pca <file>', `a PNG picture: images, and below the main components of their patches (at most ${shown.most})`, path('--pca'))
    .option('--batch <n>', 'images of one call of the network', whole('--batch', 1), 4)
    .addOption(
      new Option('--view <kind>', 'centre: resize, then the centre; whole: resize to multiples of the patch; exact: pixels as they are')
        .choices(['centre', 'whole', 'exact'])
        .default('centre'),
    )
    .option('--resize <n>', `shorter side in pixels for centre and whole (default: ${evaluationView.resize})`, whole('--resize', 1))
    .option('--crop <n>', `side in pixels of the centre (default: ${evaluationView.crop})`, whole('--crop', 1))
    .addOption(
      new Option('--fit <how>', 'exact: what becomes of sides that the patch does not divide')
        .choices(['refuse', 'crop', 'pad'])
        .default('refuse'),
    )
    .option('--orient', 'turn pictures as their EXIF orientation says; the original does not')
    .option('--cls-only', 'leave the patch features out of the file')
    .option('--debug', 'print the stack of an error')
    .action(runFeatures);

interface Preprocessing {
  readonly view: View;
  /** What a reader of the features must know of it. */
  readonly record: Readonly<Record<string, unknown>>;
  /** Height and width of every canvas, where they are all equal. */
  readonly size?: readonly [number, number];
}

/** FV0503: options that do not go together. FV0408: a centre that the patch does not divide. */
const preprocessing = (o: FeaturesOptions, patch: number): Preprocessing => {
  const unused = (name: string, given: boolean): void => {
    if (given) throw new FoveaError('FV0503', `${name} has no meaning with --view ${o.view}`, { hint: `Leave ${name} out.` });
  };
  unused('--crop', o.crop !== undefined && o.view !== 'centre');
  unused('--resize', o.resize !== undefined && o.view === 'exact');
  unused('--fit', o.fit !== 'refuse' && o.view !== 'exact');
  const { resize, crop } = { resize: o.resize ?? evaluationView.resize, crop: o.crop ?? evaluationView.crop };
  const common = { orient: o.orient ?? false, mean: imagenet.mean, std: imagenet.std } as const;
  if (o.view === 'exact') return { view: ownPixels(patch, o.fit), record: { view: o.view, fit: o.fit, ...common } };
  const bicubic = { ...common, interpolation: 'bicubic' } as const;
  if (o.view === 'whole') return { view: wholePicture(resize, patch), record: { view: o.view, resize, ...bicubic } };
  if (crop % patch !== 0) {
    const near = Math.max(patch, Math.floor(crop / patch) * patch);
    throw new FoveaError('FV0408', `an image of ${crop} x ${crop} pixels does not divide into patches of ${patch}`, {
      hint: `Give --crop ${near} or --crop ${near + patch}.`,
    });
  }
  return { view: centreCrop(resize, crop), size: [crop, crop], record: { view: o.view, resize, crop, ...bicubic } };
};

/** What a path leads to, so that one file under two names is seen to be one. */
const target = (p: string): string => {
  try {
    return realpathSync(p);
  } catch {
    return resolve(p);
  }
};

/** The files to write, in folders that can be written. FV0407, FV0501, FV0502, FV0503. */
const outputs = (
  o: FeaturesOptions,
  inputs: readonly string[],
  bytes: number,
): readonly { readonly file: string; readonly folder: OutputFolder<string> }[] => {
  const file = o.out ?? (o.pca === undefined ? 'features.safetensors' : undefined);
  if (file !== undefined && !Object.hasOwn(featureFormats, extname(file)))
    throw new FoveaError('FV0503', `--out ${file}: the name tells no format`, {
      hint: `Give a name that ends with ${Object.keys(featureFormats).join(' or ')}.`,
    });
  if (file !== undefined && o.pca !== undefined && resolve(file) === resolve(o.pca))
    throw new FoveaError('FV0503', `--out and --pca are one file: ${file}`, { hint: 'Give the picture a name of its own.' });
  if (o.pca !== undefined && extname(o.pca) !== '.png')
    throw new FoveaError('FV0503', `--pca ${o.pca}: the picture is a PNG`, { hint: 'Give a name that ends with .png.' });
  const taken = new Set(inputs.map(target));
  for (const [option, f] of [['--out', file] as const, ['--pca', o.pca] as const])
    if (f !== undefined && taken.has(target(f)))
      throw new FoveaError('FV0503', `${option} ${f}: this file is read, and would be overwritten`, { hint: 'Give another name.' });
  const places = [...(file === undefined ? [] : [[file, bytes] as const]), ...(o.pca === undefined ? [] : [[o.pca, 1 << 22] as const])];
  return places.map(([f, size]) => ({ file: f, folder: outputFolder(dirname(resolve(f)), [basename(f)], size) }));
};

/** Bytes of the values of `images` images, where they can be told before. */
const roomFor = ({ config: c }: NamedModel, { size }: Preprocessing, images: number, clsOnly: boolean): number => {
  const patches = size && !clsOnly ? (size[0] / c.patch) * (size[1] / c.patch) : 0;
  return 4 * images * (1 + c.registers + patches) * c.width;
};

async function runFeatures(args: readonly string[], o: FeaturesOptions): Promise<void> {
  const started = performance.now();
  const model = modelNamed(o.model, o.registers);
  if ((model.config.channels ?? 3) !== 3)
    throw new FoveaError('FV0408', `${model.label}: images of ${model.config.channels} channels; pictures have three`, {
      hint: 'Choose a network for pictures of red, green and blue.',
    });
  if (o.pca !== undefined && model.config.width < 3)
    throw new FoveaError('FV0408', `--pca: features of ${model.config.width} numbers have no three components`, {
      hint: 'Leave --pca out.',
    });
  const prepared = preprocessing(o, model.config.patch);
  const files = imageFiles(args);
  const backend = await backendOf(o.backend);
  const inputs = [...files.map((f) => f.file), o.model, ...(o.weights === undefined ? [] : [o.weights])];
  const places = outputs(o, inputs, roomFor(model, prepared, files.length, o.clsOnly ?? false));
  const line = progressLine();
  let close = (): void => {};
  try {
    const backbone = await backboneWeights(model, o.weights, o.prefix);
    close = backbone.close;
    const { images, pictures } = await extractAll(model, backbone.params, prepared, files, backend, o, line);
    const set: FeatureSet = { model: model.label, preprocessing: prepared.record, images };
    for (const { file } of places) {
      if (file !== o.pca) featureFormats[extname(file) as keyof typeof featureFormats](file, set);
      else writeAtomic(file, [await patchPicture(pictures, model.config.width, shown)]);
    }
    const [first] = images;
    const grids = new Set(images.map((i) => i.grid.join(' x ')));
    const grid = grids.size === 1 ? `${[...grids][0]} patches` : `${grids.size} grids of patches`;
    console.log(
      `${images.length} ${images.length === 1 ? 'image' : 'images'}, ${first?.cls.length} features of each class token, ${grid}; wrote ${places.map((p) => p.file).join(', ')} in ${seconds((performance.now() - started) / 1e3)}`,
    );
    if (o.pca !== undefined && images.length > shown.most) console.log(`${o.pca} shows the first ${shown.most} of them`);
  } catch (e) {
    line.clear();
    for (const { folder } of places) folder.abandon();
    throw e;
  } finally {
    close();
  }
}

/** Features of all images in their order, and the first pictures with their patches. FV0403: none could be read. FV0416. */
const extractAll = async (
  { config }: NamedModel,
  params: LoadedBackbone['params'],
  { view, size }: Preprocessing,
  files: readonly ImageFile[],
  backend: Backend,
  o: FeaturesOptions,
  line: ProgressLine,
): Promise<{ readonly images: readonly NamedFeatures[]; readonly pictures: readonly PatchRows[] }> => {
  // canvases of many sizes do not stack
  const batch = size ? Math.min(o.batch, files.length) : 1;
  const extractors = new Map<string, Promise<Extract>>();
  const extractorFor = ({ height, width }: Placed): Promise<Extract> => {
    const key = `${height} x ${width}`;
    const made =
      extractors.get(key) ??
      featureExtractor({
        model: config,
        size: [height, width],
        batch,
        backend,
        progress: (done, total) => line.show(`compiling for ${key} pixels: kernels ${done}/${total}`),
      });
    extractors.set(key, made);
    return made;
  };
  const images: NamedFeatures[] = [];
  const pictures: PatchRows[] = [];
  const begun = performance.now();
  for (let from = 0; from < files.length; from += batch) {
    const seen = await look(files.slice(from, from + batch), view, o.orient ?? false, line);
    if (seen[0] === undefined) continue;
    const { placed } = seen[0];
    const extract = await extractorFor(placed);
    const out = await extract(
      params,
      seen.map((s) => s.placed),
      imagenet,
    );
    const grid = [placed.height / config.patch, placed.width / config.patch] as const;
    seen.forEach(({ file, placed: { picture } }, i) => {
      const part = (x: Float32Array): Float32Array => x.slice((i * x.length) / seen.length, ((i + 1) * x.length) / seen.length);
      const [cls, registers, patches] = [part(out.cls), part(out.registers), part(out.patches)];
      if (![cls, registers, patches].every((x) => x.every(Number.isFinite)))
        throw new FoveaError('FV0416', `${file}: its features are not finite`, {
          hint: 'The weights hold values that are too large, or belong to another network.',
        });
      images.push({ name: file, grid, cls, registers, ...(o.clsOnly ? {} : { patches }) });
      if (o.pca !== undefined && pictures.length < shown.most) pictures.push({ picture, grid, patches });
    });
    const done = from + Math.min(batch, files.length - from);
    const left = ((performance.now() - begun) / 1e3 / done) * (files.length - done);
    line.show(`${done}/${files.length} images, ${seconds(left)} left`, done === files.length);
  }
  line.clear();
  if (images.length === 0)
    throw new FoveaError('FV0403', `none of the ${files.length} images could be used`, { hint: 'The warnings above say why.' });
  return { images, pictures };
};
