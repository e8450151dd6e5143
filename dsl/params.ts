/**
 * Everything that is computed from a module's spec without running it: the leaves with their checkpoint names, initial values, specs for
 * tracing, masks by path.
 *
 *   leaves(vit).map(l => l.path)         // 'cls_token', 'blocks.0.norm1.weight', 'blocks.0.attn.qkv.weight', ...
 *   mask(vit, path => !path.endsWith('.bias'))
 */
import { bindDim, type Dim } from '../compiler/graph/dim.ts';
import type { DType } from '../compiler/graph/types.ts';
import { dimOf, fail, words } from './context.ts';
import type { HostOf, HostTensor } from './host.ts';
import { type Init, initialize } from './init.ts';
import { isModule, isParam, type Module, type Params, type SpecTree } from './module.ts';
import type { Tensor } from './tensor.ts';
import { join, type Leafwise, type Paths, walk } from './tree.ts';

export interface Leaf {
  /** Checkpoint name: the keys from the root, joined by dots. */
  readonly path: string;
  readonly shape: readonly Dim[];
  readonly init: Init;
}

/** f at every parameter, as a tree of the same form. Shapes are in the sizes of the outermost module. */
const build = (spec: SpecTree, path: string, dims: ReadonlyMap<string, Dim>, f: (l: Leaf) => unknown): unknown => {
  if (isParam(spec)) return f({ path, shape: words(spec.shape).map((w) => dimOf(w, dims)), init: spec.init });
  if (isModule(spec)) return build((spec as Module).spec as SpecTree, path, (spec as Module).dims, f);
  if (Array.isArray(spec)) return (spec as readonly SpecTree[]).map((s, i) => build(s, join(path, String(i)), dims, f));
  return Object.fromEntries(
    Object.entries(spec as { readonly [k: string]: SpecTree }).map(([k, s]) => [k, build(s, join(path, k), dims, f)]),
  );
};
const each = <M extends Module, X>(m: M, f: (l: Leaf) => X): Leafwise<Params<M>, X> => build(m, '', new Map(), f) as Leafwise<Params<M>, X>;

/** The parameters of a module in the order of its spec. */
export const leaves = (m: Module): Leaf[] => {
  const out: Leaf[] = [];
  each(m, (l) => out.push(l));
  return out;
};

export interface TensorSpec<out S extends string = string, out T extends DType = DType> {
  readonly kind: 'spec';
  readonly shape: S;
  readonly dtype: T;
  /** Sizes; names in them are bound when the program is traced or compiled. */
  readonly dims: readonly Dim[];
}
/** A tree of tensors, as the tree of their specs; and back. */
export type SpecOf<P> =
  P extends Tensor<infer S, infer T> ? TensorSpec<S, T> : P extends object ? { readonly [K in keyof P]: SpecOf<P[K]> } : P;
export type TensorOf<P> = P extends TensorSpec<infer S, infer T> ? Tensor<S, T> : P extends object ? { [K in keyof P]: TensorOf<P[K]> } : P;

const none: ReadonlyMap<string, Dim> = new Map();
/** An argument of a program: spec('2*B N 384'), spec('B', 'i32'). FV0003: a word that is no size. */
export const spec = <const S extends string, const T extends DType = 'f32'>(shape: S, dtype?: T): TensorSpec<S, T> => {
  const dims = words(shape).map((w) => dimOf(w, none));
  const below = dims.find((d) => typeof d === 'number' && d < 0);
  if (below !== undefined) fail('FV0003', `'${below}' is not a size`, 'A size is 0 or more.');
  return { kind: 'spec', shape, dtype: dtype ?? ('f32' as T), dims };
};
export const isSpec = (x: unknown): x is TensorSpec => typeof x === 'object' && x !== null && (x as { kind?: unknown }).kind === 'spec';

/** The specs of a module's parameters: what a program that takes them is traced with. */
export const paramSpecs = <M extends Module>(m: M): SpecOf<Params<M>> =>
  each(m, (l) => ({ kind: 'spec', shape: l.shape.map(String).join(' '), dtype: 'f32', dims: l.shape })) as SpecOf<Params<M>>;

/** Initial values on the host; `dims` gives the sizes that the module leaves open. */
export const init = <M extends Module>(m: M, seed: number, dims: Readonly<Record<string, number>> = {}): HostOf<Params<M>> => {
  const sizes = new Map(Object.entries(dims));
  return each(m, (l): HostTensor => {
    const shape = l.shape.map((d) => {
      const n = bindDim(d, sizes);
      return typeof n === 'number'
        ? n
        : fail('FV0005', `init: the size ${n} of ${l.path} is not known`, `Pass it: init(module, seed, { ${n}: ... }).`);
    });
    return { shape, dtype: 'f32', data: initialize(l.init, seed, l.path, shape) };
  }) as HostOf<Params<M>>;
};

/** The path at every leaf of a module or a tree. */
export const pathTree = <P>(m: P): P extends Module ? Leafwise<Params<P>, string> : Leafwise<P, string> =>
  (isModule(m) ? each(m, (l) => l.path) : walk((path) => path, '', m)) as P extends Module
    ? Leafwise<Params<P>, string>
    : Leafwise<P, string>;

/** true at the parameters whose path the predicate accepts: weight decay, freezing. */
export const mask = <M extends Module>(m: M, accept: (path: Paths<Params<M>>) => boolean): Leafwise<Params<M>, boolean> =>
  each(m, (l) => accept(l.path as Paths<Params<M>>));
