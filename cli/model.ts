/**
 * The backbone that `--model` names: one of the four sizes (with `--registers`), one of the eight evaluation configurations, or a JSON
 * file of constructor arguments in the original's names, for networks of other widths. And the weights for it: there are no features
 * without weights, so their lack is an error that says where the released ones are.
 *
 *   modelNamed('vits14_reg4')   // { label: 'vits14_reg4', config: evaluations.vits14_reg4, released: 'https://...' }
 */
import { readFileSync } from 'node:fs';
import { FoveaError } from '../compiler/error.ts';
import { paramSpecs } from '../dsl/index.ts';
import type { Input } from '../index.ts';
import { vitConfigOf } from '../models/recipes/config.ts';
import { type EvaluationName, evaluationNames, evaluations, releasedWeights } from '../models/recipes/evaluations.ts';
import { architectures, published } from '../models/vit/presets.ts';
import { type VitConfig, type VitParams, vit } from '../models/vit.ts';
import {
  chunkedBlocks,
  fromHuggingFace,
  isHuggingFace,
  loadWeights,
  readWeights,
  unwrapped,
  type Weights,
  withoutHeads,
} from '../models/weights/index.ts';

export interface NamedModel {
  /** As given; of a file, its path. */
  readonly label: string;
  readonly config: VitConfig;
  /** Where the weights of the released model are, if it is one. */
  readonly released?: string;
}

const sizes = { vit_small: 'vits14', vit_base: 'vitb14', vit_large: 'vitl14', vit_giant2: 'vitg14' } as const;
export const modelNames: readonly string[] = [...Object.keys(architectures), ...evaluationNames];

const configFile = (file: string): VitConfig => {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (e) {
    throw new FoveaError('FV0402', `cannot read the model ${file}: ${e instanceof Error ? e.message : String(e)}`, {
      hint: `Give a JSON file that you may read, or one of ${modelNames.join(', ')}.`,
      cause: e,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (e) {
    throw new FoveaError('FV0415', `${file}: not JSON: ${e instanceof Error ? e.message : String(e)}`, {
      hint: 'The file holds constructor arguments, for example {"embed_dim": 48, "depth": 2, "num_heads": 4}.',
      cause: e,
    });
  }
  return vitConfigOf(json);
};

/** FV0503: no such model, or registers where the name decides. FV0402, FV0415: a file that cannot be read or is malformed. */
export const modelNamed = (name: string, registers?: number): NamedModel => {
  if (Object.hasOwn(sizes, name)) {
    const size = name as keyof typeof sizes;
    const like = registers === 4 ? (`${sizes[size]}_reg4` as const) : registers ? undefined : sizes[size];
    return {
      label: registers ? `${name} with ${registers} registers` : name,
      config: published(size, { registers: registers ?? 0 }),
      ...(like ? { released: releasedWeights(like) } : {}),
    };
  }
  if (registers !== undefined)
    throw new FoveaError('FV0503', `--registers ${registers}: the model ${name} has a number of its own`, {
      hint: `The option goes with ${Object.keys(sizes).join(', ')}.`,
    });
  if (Object.hasOwn(evaluations, name)) {
    const evaluation = name as EvaluationName;
    return { label: name, config: evaluations[evaluation], released: releasedWeights(evaluation) };
  }
  if (name.endsWith('.json')) return { label: name, config: configFile(name) };
  throw new FoveaError('FV0503', `unknown model '${name}'`, {
    hint: `Known models: ${modelNames.join(', ')}, or a JSON file of constructor arguments.`,
  });
};

export interface LoadedBackbone {
  /** Lazy: numbers are read when a program takes them. */
  readonly params: Input<VitParams>;
  /** Of no use before the last program has run. */
  readonly close: () => void;
}

/** Names as `vit(config)` has them, whoever wrote the file: DINOv2 flat or in groups, a training export, Hugging Face. */
const ownNames = (tensors: Weights, { chunks = 0 }: VitConfig): Weights =>
  chunkedBlocks(isHuggingFace(tensors) ? fromHuggingFace(tensors) : unwrapped(withoutHeads(tensors)), chunks);

/**
 * The parameters of a model from a file; `prefix` is what its names there start with ('teacher.backbone' in a run's checkpoint).
 * FV0503: no file is given. FV0402, FV0405, FV0410, FV0412: it cannot be read. FV0406: it does not fit. FV0411: it is not finite.
 */
export const backboneWeights = async (
  { label, config, released }: NamedModel,
  file: string | undefined,
  prefix = '',
): Promise<LoadedBackbone> => {
  if (file === undefined)
    throw new FoveaError('FV0503', '--weights is missing: features of random weights say nothing about an image', {
      hint: released ? `The released weights of ${label} are ${released}.` : 'Give the file of weights that this network was trained to.',
    });
  const { tensors, close } = await readWeights(file, { as: 'f32' });
  const start = prefix === '' ? '' : `${prefix}.`;
  const mine = [...tensors].filter(([name]) => name.startsWith(start)).map(([name, t]) => [name.slice(start.length), t] as const);
  try {
    if (mine.length === 0 && prefix !== '')
      throw new FoveaError('FV0406', `${file}: no name starts with ${start}`, {
        hint: `Its names are like ${[...tensors.keys()].slice(0, 2).join(' and ')}.`,
      });
    const { params } = loadWeights(paramSpecs(vit(config)), ownNames(new Map(mine), config), { source: file });
    return { params: params as Input<VitParams>, close };
  } catch (e) {
    close();
    throw e;
  }
};
