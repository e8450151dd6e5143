/**
 * Between trees of tensors and flat names: a leaf's name is its path, joined by dots, as checkpoints of DINOv2 name it. Loading
 * checks every name, shape and dtype and reports all differences at once.
 *
 *   flatten({ blocks: [{ norm1: { weight } }] })      // Map { 'blocks.0.norm1.weight' => weight }
 *   restore(params, tensors, 'model.safetensors')     // a tree like params, with the tensors' values
 */
import { FoveaError } from '../../compiler/error.ts';
import { isHostTensor, isLazyTensor } from '../../dsl/index.ts';
import { shown } from './shown.ts';
import type { TensorData } from './write.ts';

/** What is known of a leaf: its form. Host and lazy tensors have a shape of numbers; specs have `dims`, in which sizes may have names. */
interface Form {
  readonly shape: readonly number[] | string;
  readonly dims?: readonly unknown[];
  readonly dtype: string;
}

const isForm = (x: unknown): x is Form =>
  typeof x === 'object' && x !== null && 'shape' in x && 'dtype' in x && (Array.isArray(x.shape) || 'dims' in x);

const walk = (node: unknown, path: string, leaf: (l: Form, path: string) => unknown): unknown => {
  if (isForm(node)) return leaf(node, path);
  const below = (key: string): string => (path === '' ? key : `${path}.${key}`);
  if (Array.isArray(node)) return node.map((child, i) => walk(child, below(String(i)), leaf));
  if (typeof node === 'object' && node !== null)
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, walk(child, below(key), leaf)]));
  throw new FoveaError('FV0406', `${path || 'the tree'}: ${String(node)} is no tensor`);
};

/** The leaves of a tree of host tensors by name, in the tree's order. */
export const flatten = (tree: unknown, prefix = ''): Map<string, TensorData> => {
  const out = new Map<string, TensorData>();
  walk(tree, prefix, (leaf, path) => {
    if (!isHostTensor(leaf)) throw new FoveaError('FV0406', `${path}: a spec has no values to store`);
    out.set(path, leaf);
  });
  return out;
};

/** Names where a tree and a map of tensors differ. `wrong` are sentences: the name, what it has, what is expected. */
export interface Differences {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly wrong: readonly string[];
}

/** A tensor's form as text: f32 [384 384]. */
const formOf = (t: Form): string => `${t.dtype} [${(t.dims ?? (t.shape as readonly number[])).map(String).join(' ')}]`;

/**
 * A tree of the structure of `like` with the leaves taken from `tensors` wherever name, shape and dtype fit, and everything that does
 * not. Where nothing fits the leaf of `like` stays. With a prefix only names below it count.
 */
export const match = (like: unknown, tensors: ReadonlyMap<string, Form>, prefix = ''): Differences & { readonly tree: unknown } => {
  const [missing, wrong]: [string[], string[]] = [[], []];
  const used = new Set<string>();
  const tree = walk(like, prefix, (leaf, path) => {
    const t = tensors.get(path);
    used.add(path);
    if (!t) missing.push(path);
    else if (formOf(t) !== formOf(leaf)) wrong.push(`${path}: ${formOf(t)} where ${formOf(leaf)} is expected`);
    else return t;
    return leaf;
  });
  const mine = (name: string): boolean => prefix === '' || name === prefix || name.startsWith(`${prefix}.`);
  const unexpected = [...tensors.keys()].filter((name) => mine(name) && !used.has(name));
  return { tree, missing, unexpected, wrong };
};

/** The first few of many, and how many more there are. */
export const few = (all: readonly string[], most = 8): string =>
  all
    .slice(0, most)
    .map((x) => shown(x, 300))
    .join('; ') + (all.length > most ? `; and ${all.length - most} more` : '');

/** Throws FV0406 with all differences, if there are any. */
export const refuse = ({ missing, unexpected, wrong }: Differences, source: string): void => {
  const all = [...missing.map((n) => `${n}: missing`), ...wrong, ...unexpected.map((n) => `${n}: not part of the model`)];
  if (all.length === 0) return;
  throw new FoveaError('FV0406', `${source} does not fit: ${few(all)}`, { hint: 'The file belongs to another model or configuration.' });
};

/** A tree of the structure of `like` with the leaves taken from `tensors`. FV0406 lists what is missing, left over or of another shape. */
export const restore = <T>(like: T, tensors: ReadonlyMap<string, TensorData>, source: string, prefix = ''): T => {
  const { tree, ...differences } = match(like, tensors, prefix);
  refuse(differences, source);
  return tree as T; // same structure, and every leaf was checked against its namesake
};

/** true for leaves that have numbers, in memory or in a file. */
export const hasValues = (x: unknown): boolean => isHostTensor(x) || isLazyTensor(x);
