/**
 * Between trees of tensors and flat names: a leaf's name is its path, joined by dots, as checkpoints of DINOv2 name it. Loading
 * checks every name, shape and dtype and reports all differences at once.
 *
 *   flatten({ blocks: [{ norm1: { weight } }] })      // Map { 'blocks.0.norm1.weight' => weight }
 *   restore(params, tensors, 'model.safetensors')     // a tree like params, with the tensors' values
 */
import { FoveaError } from '../../compiler/error.ts';
import type { TensorData } from './safetensors.ts';

/** What restore needs to know of a leaf: a host tensor has it, and so has a spec. */
interface LeafShape {
  readonly shape: readonly unknown[];
  readonly dtype: string;
}

const isLeaf = (x: unknown): x is LeafShape =>
  typeof x === 'object' && x !== null && 'shape' in x && 'dtype' in x && Array.isArray(x.shape);

const walk = (node: unknown, path: string, leaf: (l: LeafShape, path: string) => unknown): unknown => {
  if (isLeaf(node)) return leaf(node, path);
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
    if (!('data' in leaf)) throw new FoveaError('FV0406', `${path}: a spec has no values to store`);
    out.set(path, leaf as unknown as TensorData);
  });
  return out;
};

/** A tree of the structure of `like` with the leaves taken from `tensors`. FV0406 lists what is missing, left over or of another shape. */
export const restore = <T>(like: T, tensors: ReadonlyMap<string, TensorData>, source: string, prefix = ''): T => {
  const wrong: string[] = [];
  const used = new Set<string>();
  const tree = walk(like, prefix, (leaf, path) => {
    const t = tensors.get(path);
    used.add(path);
    const want = `${leaf.dtype} [${leaf.shape.join(' ')}]`;
    if (!t) wrong.push(`${path}: missing`);
    else if (`${t.dtype} [${t.shape.join(' ')}]` !== want)
      wrong.push(`${path}: ${t.dtype} [${t.shape.join(' ')}] where ${want} is expected`);
    return t;
  });
  const mine = (name: string): boolean => prefix === '' || name === prefix || name.startsWith(`${prefix}.`);
  for (const name of tensors.keys()) if (mine(name) && !used.has(name)) wrong.push(`${name}: not part of the model`);
  if (wrong.length > 0) {
    const shown = wrong.slice(0, 8).join('; ') + (wrong.length > 8 ? `; and ${wrong.length - 8} more` : '');
    throw new FoveaError('FV0406', `${source} does not fit: ${shown}`, { hint: 'The file belongs to another model or configuration.' });
  }
  return tree as T; // same structure, and every leaf was checked against its namesake
};
