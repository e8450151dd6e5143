/**
 * What the runners of all groups share: inputs and parameters of a case as host tensors, and programs on the chosen backend, compiled
 * by the same `compile` that users call.
 *
 *   const { value } = await context.run((x: F32<'B D'>) => ({ value: koleoLoss(x) }), [filled(c, 'x0')]);
 *   value.data[0]
 */
import { FoveaError } from '../../compiler/error.ts';
import {
  type Backend,
  compile,
  flatten,
  type HostOf,
  type HostTensor,
  host,
  type Input,
  isHostTensor,
  isLazyTensor,
  type LazyTensor,
  leaves,
  type Module,
  type Params,
  type Program,
  pathTree,
  rebuild,
  spec,
  toHost,
  treeMapWithPath,
} from '../../index.ts';
import { type Case, type Filled, malformed } from './catalogue.ts';
import type { Numbers } from './compare.ts';
import { fill } from './formula.ts';

/** The arguments of f as host tensors, lazy tensors or numbers (for scalars). */
type Inputs<A extends readonly unknown[]> = { readonly [K in keyof A]: Input<A[K]> };

export interface Context {
  readonly backend: Backend;
  /** Compiles f for arguments of the shapes of `examples`; only their shapes and dtypes are read. `dims`: sizes that f names. */
  readonly program: <A extends readonly unknown[], R>(
    f: (...args: A) => R,
    examples: Inputs<A>,
    dims?: Readonly<Record<string, number>>,
  ) => Promise<Program<A, R>>;
  /** Compiles f, runs it once, reads its results and disposes of it. */
  readonly run: <A extends readonly unknown[], R>(
    f: (...args: A) => R,
    args: Inputs<A>,
    dims?: Readonly<Record<string, number>>,
  ) => Promise<HostOf<R>>;
}

/** Everything a case recorded, by output name; outputs that the index does not list are ignored. */
export type Produced = ReadonlyMap<string, Numbers>;
/** Computes the outputs of a case of one group, on the backend of the context where it is tensors that are computed. */
export type Runner = (c: Case, context: Context) => Promise<Produced> | Produced;

const specsOf = (examples: readonly unknown[]): readonly unknown[] =>
  rebuild(
    examples,
    flatten(examples).map(({ leaf }) =>
      isHostTensor(leaf) || isLazyTensor(leaf) ? spec(leaf.shape.join(' '), leaf.dtype) : typeof leaf === 'number' ? spec('') : leaf,
    ),
  ) as readonly unknown[];

export const contextOf = (backend: Backend): Context => {
  const program = async <A extends readonly unknown[], R>(
    f: (...args: A) => R,
    examples: Inputs<A>,
    dims: Readonly<Record<string, number>> = {},
  ): Promise<Program<A, R>> => {
    // specs of the examples' own sizes; compile finds where f does not accept them
    const compiled = await compile(f as unknown as (...args: unknown[]) => R, specsOf(examples), { backend, dims });
    return compiled as unknown as Program<A, R>;
  };
  const run = async <A extends readonly unknown[], R>(
    f: (...args: A) => R,
    args: Inputs<A>,
    dims?: Readonly<Record<string, number>>,
  ): Promise<HostOf<R>> => {
    const p = await program(f, args, dims);
    try {
      const results = await (p as unknown as (...xs: Inputs<A>) => Promise<unknown>)(...args);
      return (await toHost(results)) as HostOf<R>;
    } finally {
      p.dispose();
    }
  };
  return { backend, program, run };
};

// ---- inputs and parameters ------------------------------------------------------------------------

/** The dtype of a language tensor that holds what a rule makes. Bytes have none: FV0413. */
const dtypeOf = (c: Case, f: Filled): HostTensor['dtype'] => {
  switch (f.rule.kind) {
    case 'float':
      return 'f32';
    case 'int':
      return 'i32';
    case 'below':
    case 'smallest':
      return 'bool';
    case 'u8':
      throw malformed(`case ${c.id}`, `${f.name} holds bytes where a tensor of the language is expected`);
  }
};

export const tensorOf = (c: Case, f: Filled): HostTensor => host(fill(f), f.shape, dtypeOf(c, f));

/** Whether a case has an input of that name. */
export const has = (c: Case, name: string): boolean => c.inputs.some((i) => i.name === name);

/** FV0413: the case has no input of that name. */
export const inputOf = (c: Case, name: string): Filled => {
  const found = c.inputs.find((i) => i.name === name);
  if (!found) throw malformed(`case ${c.id}`, `it has no input ${name}`);
  return found;
};

/** An input as a host tensor. */
export const filled = (c: Case, name: string): HostTensor => tensorOf(c, inputOf(c, name));

/** Inputs `prefix`0, `prefix`1, ... as far as they go, at least one. */
export const numbered = (c: Case, prefix: string): readonly HostTensor[] => {
  const list: HostTensor[] = [filled(c, `${prefix}0`)];
  while (has(c, `${prefix}${list.length}`)) list.push(filled(c, `${prefix}${list.length}`));
  return list;
};

/**
 * The parameters (lazy) of a module from those of a case whose names start with `prefix`, as the tree that programs take. FV0406: the case has
 * other names or shapes than the module.
 */
export const parameters = <M extends Module>(c: Case, module: M, prefix = ''): Input<Params<M>> => {
  const mine = new Map(c.params.filter((p) => p.name.startsWith(prefix)).map((p) => [p.name.slice(prefix.length), p]));
  const wrong: string[] = [];
  for (const { path, shape } of leaves(module)) {
    const have = mine.get(path);
    if (!have) wrong.push(`${path}: missing`);
    else if (have.shape.join(' ') !== shape.join(' '))
      wrong.push(`${path}: [${have.shape.join(' ')}] where [${shape.join(' ')}] is expected`);
  }
  const known = new Set(leaves(module).map((l) => l.path));
  for (const name of mine.keys()) if (!known.has(name)) wrong.push(`${name}: not part of the model`);
  if (wrong.length > 0)
    throw new FoveaError('FV0406', `case ${c.id}: its parameters do not fit: ${wrong.slice(0, 8).join('; ')}`, {
      hint: 'The configuration of the case gives another model.',
    });
  // made when they are asked for: the largest model has 4.5 GB of them
  const lazy = (f: Filled): LazyTensor => ({ shape: f.shape, dtype: dtypeOf(c, f), load: () => fill(f) });
  return treeMapWithPath((path) => lazy(mine.get(path) as Filled), pathTree(module)) as unknown as Input<Params<M>>;
};

// ---- outputs --------------------------------------------------------------------------------------

/** Numbers under a shape that has as many. */
export const numbers = (data: ArrayLike<number>, shape: readonly number[]): Numbers => ({ shape, data });

/** The same numbers under another shape: what the original keeps with axes of length 1. */
export const reshaped = ({ data }: Numbers, shape: readonly number[]): Numbers => ({ shape, data });
