/**
 * What `fovea bench` was asked for, as cases. An option that the benchmark has no use for is refused: a figure for other sizes than
 * those that were meant is worse than none.
 *
 *   casesOf({ bench: 'gemm', model: 'vits14', batch: 8 })   ->  the products of ViT-S/14's layers on 8 images of 224 x 224
 */
import { FoveaError } from '../../compiler/error.ts';
import type { FloatType } from '../../compiler/graph/types.ts';
import { recipeAt } from '../../models/precision.ts';
import { demo, type Recipe } from '../../models/recipes.ts';
import { modelNamed } from '../model.ts';
import { type AttentionShape, attentionCase } from './cases/attention.ts';
import { type Layout, layouts, modelProducts, productOf } from './cases/gemm.ts';
import { forwardCase, type Size, type StepSizes, stepCase, stepRecipe, tokensOf } from './cases/models.ts';
import {
  entropyCases,
  geluCase,
  mapCases,
  normCases,
  type Rows,
  reduceCases,
  residualCase,
  softmaxCase,
  updateCase,
} from './cases/rows.ts';
import type { Bench, Case } from './types.ts';

export interface Asked {
  readonly bench: Bench;
  readonly dtype: FloatType;
  readonly model?: string;
  readonly batch?: number;
  readonly size?: string;
  readonly shape?: string;
  readonly layout?: string;
  readonly backward?: boolean;
}

const refused = (option: string, text: string, expected: string, example: string): FoveaError =>
  new FoveaError('FV0503', `${option} ${text || "''"}: expected ${expected}`, { hint: `For example: ${option} ${example}.` });

/** `8x6x257x64` -> [8, 6, 257, 64]. FV0503. */
const sizes = (option: string, text: string, names: string, example: string): readonly number[] => {
  const parts = text.split('x');
  const wanted = names.split('x').length;
  const numbers = parts.map((p) => (/^[1-9]\d{0,8}$/.test(p) ? Number(p) : Number.NaN));
  if (parts.length !== wanted || numbers.some(Number.isNaN)) throw refused(option, text, `${wanted} whole numbers ${names}`, example);
  return numbers;
};

/** `224` or `224x448`; the patch divides both sides. */
const imageSize = (text: string, patch: number): Size => {
  const [height, width] = text.includes('x') ? sizes('--size', text, 'HEIGHTxWIDTH', '224x448') : sizes('--size', text, 'SIDE', '224');
  const size: Size = [height as number, width ?? (height as number)];
  if (size.some((s) => s % patch !== 0)) throw refused('--size', text, `multiples of the patch of ${patch} pixels`, `${16 * patch}`);
  return size;
};

/** `224+98`: sides of global and local crops. */
const cropSizes = (text: string, patch: number): Pick<StepSizes, 'global' | 'local'> => {
  const [, global, local] = /^([1-9]\d{0,4})\+([1-9]\d{0,4})$/.exec(text)?.map(Number) ?? [];
  if (global === undefined || local === undefined || global % patch !== 0 || local % patch !== 0)
    throw refused('--size', text, `GLOBAL+LOCAL, multiples of the patch of ${patch} pixels`, `${16 * patch}+${7 * patch}`);
  return { global, local };
};

/** Options that each benchmark takes besides those that all of them take. */
const taken: { readonly [B in Bench]: readonly (keyof Asked)[] } = {
  forward: ['model', 'batch', 'size'],
  step: ['model', 'batch', 'size'],
  gemm: ['model', 'batch', 'size', 'shape', 'layout'],
  attention: ['shape', 'backward'],
  map: ['model', 'batch', 'size', 'shape'],
  reduce: ['model', 'batch', 'size', 'shape'],
};

/** Benchmarks whose contractions a precision changes; the others have none. */
const precise: readonly Bench[] = ['forward', 'step', 'gemm', 'attention'];

const checkTaken = (asked: Asked): void => {
  const known = taken[asked.bench];
  if (asked.dtype !== 'f32' && !precise.includes(asked.bench))
    throw new FoveaError('FV0503', `--dtype ${asked.dtype} has no meaning for bench ${asked.bench}, which computes in float32`, {
      hint: `It goes with ${precise.join(', ')}.`,
    });
  for (const key of ['model', 'batch', 'size', 'shape', 'layout', 'backward'] as const)
    if (asked[key] !== undefined && !known.includes(key))
      throw new FoveaError('FV0503', `--${key} has no meaning for bench ${asked.bench}`, {
        hint: `It takes ${known.map((k) => `--${k}`).join(', ')}.`,
      });
  const other = (['model', 'batch', 'size'] as const).find((k) => asked[k] !== undefined);
  if (asked.shape !== undefined && other)
    throw new FoveaError('FV0503', `--shape and --${other} exclude each other`, { hint: 'Sizes follow from a model or are given.' });
};

/** The step of a model: the demo's recipe by its name, DINOv2's default configuration with the backbone of any other. */
const recipeNamed = (name: string, batch: number | undefined, size: string | undefined): Recipe => {
  if (name === 'demo') {
    if (size !== undefined)
      throw new FoveaError('FV0503', '--size: the demo has crops of 28 and 16 pixels', { hint: 'Leave the option out.' });
    return { ...demo, batch: batch ?? demo.batch };
  }
  const { label, config } = modelNamed(name);
  const sides = size === undefined ? { global: 16 * config.patch, local: 7 * config.patch } : cropSizes(size, config.patch);
  return stepRecipe(label, config, { batch: batch ?? 4, ...sides });
};

/** Tokens of images as the kernels of a forward pass see them, and the recipe whose head and rates go with them. */
const modelSizes = ({ model = 'vits14', batch = 8, size }: Asked) => {
  const { label, config } = modelNamed(model);
  const image = imageSize(size ?? String(16 * config.patch), config.patch);
  const recipe = stepRecipe(label, config, { batch, global: 16 * config.patch, local: 7 * config.patch });
  return { label, config, batch, image, recipe, tokens: tokensOf(config, image) };
};

/** Images, heads, tokens and width of a head: ViT-S's on 224 x 224 and 518 x 518, and a long sequence. */
const attentionShapes: readonly AttentionShape[] = [
  [8, 6, 257, 64],
  [1, 6, 1370, 64],
  [1, 2, 5000, 64],
];

const layoutOf = (text: string | undefined): Layout | undefined => {
  const found = layouts.find((l) => l === text);
  if (text !== undefined && found === undefined) throw refused('--layout', text, `one of ${layouts.join(', ')}`, 'TN');
  return found;
};

const rowsOf = (text: string): Rows => sizes('--shape', text, 'ROWSxWIDTH', '2056x384') as unknown as Rows;

const shaped = (asked: Asked, shape: string): readonly Case[] => {
  switch (asked.bench) {
    case 'gemm': {
      const [m, n, k] = sizes('--shape', shape, 'MxNxK', '2056x1152x384') as readonly [number, number, number];
      return [productOf([m, n, k], layoutOf(asked.layout))];
    }
    case 'map': {
      const rows = rowsOf(shape);
      return [geluCase(rows), residualCase(rows), updateCase(demo, { 'backbone.weight': rows })];
    }
    default: {
      const rows = rowsOf(shape);
      return [...normCases(rows), softmaxCase(rows), ...entropyCases(rows)];
    }
  }
};

/** FV0503: an option that cannot be meant, an unknown model. FV0402, FV0415: a model's file. */
export const casesOf = (asked: Asked): readonly Case[] => {
  checkTaken(asked);
  const { bench, shape } = asked;
  switch (bench) {
    case 'forward': {
      const { label, config, batch, image } = modelSizes(asked);
      return [forwardCase(label, config, batch, image)];
    }
    case 'step':
      return [stepCase(recipeAt(recipeNamed(asked.model ?? 'vits14', asked.batch, asked.size), asked.dtype))];
    case 'attention': {
      const given =
        shape === undefined ? undefined : (sizes('--shape', shape, 'IMAGESxHEADSxTOKENSxWIDTH', '8x6x257x64') as unknown as AttentionShape);
      const all = given ? [given] : attentionShapes;
      const directions = asked.backward ? (['backward'] as const) : given ? (['forward'] as const) : (['forward', 'backward'] as const);
      return all.flatMap((s) => directions.map((d) => attentionCase(s, d)));
    }
    case 'gemm':
    case 'map':
    case 'reduce': {
      if (shape !== undefined) return shaped(asked, shape);
      const { recipe, batch, tokens } = modelSizes(asked);
      if (bench === 'gemm') return modelProducts(recipe, batch * tokens, layoutOf(asked.layout));
      return (bench === 'map' ? mapCases : reduceCases)(recipe, batch, tokens);
    }
  }
};
