/**
 * Weights into a model. Whatever does not fit is an error that names it: the original loads without looking, and a checkpoint in
 * another layout then leaves random weights behind a message in the log. `strict: false` takes what fits and says what did not.
 *
 *   const file = await readWeights('dinov2_vits14_pretrain.pth', { as: 'f32' });
 *   const { params } = loadWeights(paramSpecs(vit), file.tensors, { source: 'dinov2_vits14_pretrain.pth' });
 *   await program(params, images);
 */
import { FoveaError } from '../../compiler/error.ts';
import { nonFinite } from '../../compiler/graph/floats.ts';
import type { HostTensor, LazyTensor, TensorSpec } from '../../dsl/index.ts';
import { type Differences, few, hasValues, match, refuse } from './tree.ts';

/** The tree P with tensors of a file, or values that were there before, at its leaves. */
export type Loaded<P> = P extends TensorSpec | HostTensor | LazyTensor
  ? LazyTensor | HostTensor
  : P extends object
    ? { readonly [K in keyof P]: Loaded<P[K]> }
    : P;

export interface LoadOptions {
  /** What messages call the weights, usually the file. */
  readonly source?: string;
  /** false: differences are returned, and leaves without a namesake that fits keep the values that `like` has there. */
  readonly strict?: boolean;
  /** false: infinities and NaN are returned by name, not refused. */
  readonly finite?: boolean;
  /** Names in the file start with it: 'backbone'. Names beside it are not looked at. */
  readonly prefix?: string;
}

export interface LoadReport<P> extends Differences {
  readonly params: Loaded<P>;
  /** Names of tensors that were loaded and hold an infinity or NaN. */
  readonly nonFinite: readonly string[];
}

const holdsNonFinite = (t: LazyTensor | HostTensor): boolean => {
  if (t.dtype !== 'f32' && t.dtype !== 'f16' && t.dtype !== 'bf16') return false;
  const data = 'load' in t ? t.load() : t.data;
  if (data instanceof Float32Array || data instanceof Uint16Array) return nonFinite(data, t.dtype) >= 0;
  return (data as Float64Array).some((x) => !Number.isFinite(x));
};

/**
 * `like` is the tree of a model's parameters: `paramSpecs(module)`, or with `strict: false` one with values, `init(module, seed)`.
 * Reads every number once, for infinities and NaN. FV0406: names, shapes or dtypes differ. FV0411: a tensor is not finite.
 */
export const loadWeights = <P>(
  like: P,
  tensors: ReadonlyMap<string, LazyTensor | HostTensor>,
  { source = 'the weights', strict = true, finite = true, prefix = '' }: LoadOptions = {},
): LoadReport<P> => {
  const { tree, ...differences } = match(like, tensors, prefix);
  if (strict) refuse(differences, source);
  const bad: string[] = [];
  const check = (node: unknown, path: string): void => {
    if (hasValues(node)) {
      if (tensors.get(path) === node && holdsNonFinite(node as HostTensor)) bad.push(path);
    } else if (typeof node === 'object' && node !== null && !('dims' in node))
      for (const [key, child] of Object.entries(node)) check(child, path === '' ? key : `${path}.${key}`);
    else
      throw new FoveaError('FV0406', `${source} has nothing that fits ${path}, and there is no initial value to keep`, {
        hint: 'Give init(module, seed) in place of paramSpecs(module).',
      });
  };
  check(tree, prefix);
  if (finite && bad.length > 0)
    throw new FoveaError('FV0411', `${source} holds infinities or NaN: ${few(bad)}`, {
      hint: 'The run that wrote it diverged, or the file is damaged; finite: false loads it all the same.',
    });
  return { params: tree as Loaded<P>, ...differences, nonFinite: bad };
};
