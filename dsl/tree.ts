/**
 * Trees: parameters, states, batches and results are records and lists whose leaves are tensors (traced, host, or specs) or plain
 * values. Paths come from the keys and are checkpoint names: `blocks.0.attn.qkv.weight`.
 *
 *   treeMap((t, s) => t.mul(0.99).add(s.mul(0.01)), teacher, student)
 */
import type { DType } from '../compiler/graph/types.ts';
import { fail, isTensor } from './context.ts';
import { isHostTensor, isLazyTensor } from './host.ts';
import type { AnyTensor, Tensor } from './tensor.ts';

export type Tree = AnyTensor | { readonly [k: string]: Tree } | readonly Tree[];

/** 'cls_token' | `blocks.${number}.attn.qkv.weight` | ... */
export type Paths<P, Pre extends string = ''> =
  P extends Tensor<string, DType>
    ? Pre
    : P extends readonly (infer X)[]
      ? Paths<X, `${Pre}${Pre extends '' ? '' : '.'}${number}`>
      : P extends object
        ? { [K in keyof P & string]: Paths<P[K], `${Pre}${Pre extends '' ? '' : '.'}${K}`> }[keyof P & string]
        : never;
/** The tree P with X at every leaf. */
export type Leafwise<P, X> = P extends Tensor<string, DType> ? X : P extends object ? { readonly [K in keyof P]: Leafwise<P[K], X> } : P;

const isSpec = (x: object): boolean =>
  'kind' in x && ((x as { kind: unknown }).kind === 'spec' || (x as { kind: unknown }).kind === 'param');
/** Marks an object of another room (a tensor on a device) as a leaf. */
export const leafMark: unique symbol = Symbol('leaf');

/** Records and lists are inner nodes; everything else is a leaf. */
export const isLeaf = (x: unknown): boolean =>
  typeof x !== 'object' ||
  x === null ||
  isTensor(x) ||
  isHostTensor(x) ||
  isLazyTensor(x) ||
  ArrayBuffer.isView(x) ||
  leafMark in x ||
  isSpec(x);

/** A list, a record, or a whole module: what `walk` goes into as it is meant. By the end of the chain, so that another realm's are plain too. */
const isPlain = (x: object): boolean => {
  if (Array.isArray(x)) return true;
  const above = Object.getPrototypeOf(x) as unknown;
  return above === null || Object.getPrototypeOf(above) === null;
};
/** The first object of a tree that is no list and no record, a Promise or a Map: its keys say nothing of what it holds. */
export const foreignIn = (t: unknown, path = ''): { readonly path: string; readonly value: object } | undefined => {
  if (isLeaf(t)) return undefined;
  const inner = t as Readonly<Record<string, unknown>>;
  if (!isPlain(inner)) return { path, value: inner };
  for (const key of Object.keys(inner)) {
    const found = foreignIn(inner[key], join(path, key));
    if (found) return found;
  }
  return undefined;
};

/** The path of a key under the path of its tree. */
export const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

/** f at every leaf; further trees are walked along by key. */
export const walk = (
  f: (path: string, leaf: unknown, ...rest: readonly unknown[]) => unknown,
  path: string,
  t: unknown,
  ...rest: readonly unknown[]
): unknown => {
  if (isLeaf(t)) return f(path, t, ...rest);
  const inner = t as Readonly<Record<string, unknown>>;
  const others = rest.map((r) => {
    const other = (isLeaf(r) ? {} : r) as Readonly<Record<string, unknown>>;
    const key = Object.keys(inner).find((k) => !(k in other)) ?? Object.keys(other).find((k) => !(k in inner));
    return key === undefined ? other : fail('FV0006', `the trees differ: ${join(path, key)} is missing in one of them`);
  });
  const child = (key: string): unknown => walk(f, join(path, key), inner[key], ...others.map((r) => r[key]));
  if (Array.isArray(t)) return t.map((_, i) => child(String(i)));
  return Object.fromEntries(Object.keys(inner).map((k) => [k, child(k)]));
};

/** Applies f to the leaves of one tree, or to the corresponding leaves of several. Keeps the type of the first tree. */
export const treeMap = <P>(f: (...leaves: Tensor<string>[]) => Tensor<string>, tree: P, ...rest: P[]): P =>
  walk((_, leaf, ...more) => f(...([leaf, ...more] as Tensor<string>[])), '', tree, ...rest) as P;

/** As treeMap, with the path first; leaves may be anything, and so may results. */
export const treeMapWithPath = <P, X, L = Tensor<string>>(
  f: (path: string, leaf: L, ...rest: L[]) => X,
  tree: P,
  ...rest: P[]
): Leafwise<P, X> => walk((path, leaf, ...more) => f(path, leaf as L, ...(more as L[])), '', tree, ...rest) as Leafwise<P, X>;

/** Leaves in order, with their paths. */
export const flatten = (tree: unknown): readonly { readonly path: string; readonly leaf: unknown }[] => {
  const out: { path: string; leaf: unknown }[] = [];
  walk((path, leaf) => out.push({ path, leaf }), '', tree);
  return out;
};
export const treeLeaves = <X = AnyTensor>(tree: unknown): X[] => flatten(tree).map((l) => l.leaf as X);
/** The same tree with its leaves replaced, in order. */
export const rebuild = (tree: unknown, leaves: readonly unknown[]): unknown => {
  let i = 0;
  return walk(() => leaves[i++], '', tree);
};
