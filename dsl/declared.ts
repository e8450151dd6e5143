/**
 * What an exported value says about its own arguments: a `fn` or a module by its signature, any other function by a property `args`, a
 * list of specs or trees of specs. That is enough to trace, compile or check it without a line of code around it.
 *
 *   fn(['B D'], ...)                    module(..., ['B N D'], ...)                its parameters are the first argument
 *   Object.assign(step, { args: [paramSpecs(model), spec('B 2')], dims: { B: 256 }, donate: [0] })
 *   ..., place: (path) => (path.startsWith('1') ? { split: 0 } : undefined)              on several ranks: argument 1 is a batch
 *
 * A function that returns such a value may say for which arguments it is looked at where nobody gives any:
 *
 *   export const trainStep = Object.assign((recipe: Recipe) => ..., { examples: [[demo]] })
 */
import { FoveaError } from '../compiler/error.ts';
import { bindDim, type Dim, dimNames } from '../compiler/graph/dim.ts';
import { bytesOf, type DType, isFloat, type Placement } from '../compiler/graph/types.ts';
import { dimOf, isTensor } from './context.ts';
import { isHostTensor, isLazyTensor } from './host.ts';
import { apply, isModule, type Module, signatureOf } from './module.ts';
import { isSpec, paramSpecs, type TensorSpec } from './params.ts';
import { flatten, foreignIn } from './tree.ts';

export type Callable = (...xs: readonly unknown[]) => unknown;

/** Axes that `...` stands for: what users read and write, and the name of the size. */
const dots: Readonly<Record<string, string>> = { '...0': '_axis0', '...1': '_axis1' };
const spoken = (name: string): string => Object.keys(dots).find((d) => dots[d] === name) ?? name;
const none: ReadonlyMap<string, Dim> = new Map();

const specOf = (text: string, local: ReadonlyMap<string, Dim>): TensorSpec => {
  const [shape, dtype = 'f32'] = text.split(':') as [string, DType?];
  const words = shape.split(/\s+/).filter(Boolean);
  const dims = words.flatMap((w) => (w === '...' ? Object.values(dots) : [w])).map((w) => dimOf(w, local));
  return { kind: 'spec', shape: dims.map(String).join(' '), dtype, dims };
};

interface Properties {
  readonly args?: unknown;
  readonly dims?: Readonly<Record<string, number>>;
  readonly donate?: readonly number[];
  readonly place?: (path: string) => Placement | undefined;
  readonly examples?: unknown;
}
const properties = (f: unknown): Properties => (typeof f === 'function' ? (f as Properties) : {});

/** Whether a value says enough about its arguments to be traced. */
export const isDeclared = (f: unknown): boolean =>
  f !== null && f !== undefined && (signatureOf(f) !== undefined || properties(f).args !== undefined);

/** What a function returns for each list of arguments among its `examples`, made when it is asked for. */
export const examplesOf = (f: unknown): readonly (() => unknown)[] => {
  const { examples } = properties(f);
  if (!Array.isArray(examples)) return [];
  return examples.map((args: unknown) => () => {
    if (Array.isArray(args)) return (f as Callable)(...args);
    throw new FoveaError('FV0503', 'examples: each is a list of arguments', { hint: 'Write examples: [[8, 2], [16, 4]].' });
  });
};

export interface Declared {
  /** Takes the arguments as declared; a module's parameters first. */
  readonly run: Callable;
  /** Trees of specs; a module's parameters first. */
  readonly args: readonly unknown[];
  readonly module: Module | undefined;
  /** Every size that occurs. */
  readonly sizes: readonly Dim[];
  /** One text an argument, without parameters of a module. */
  readonly signature: readonly string[];
  /** Sizes and donated arguments as the function itself gives them. */
  readonly dims: Readonly<Record<string, number>>;
  readonly donate: readonly number[];
  /** Where an input lies on several ranks, by its path, if the function says so. */
  readonly place: ((path: string) => Placement | undefined) | undefined;
}

const shown = (arg: unknown): string => {
  if (isSpec(arg)) return isFloat(arg.dtype) ? arg.shape : `${arg.shape}:${arg.dtype}`;
  const leaves = flatten(arg).length;
  return `tree of ${leaves} tensor${leaves === 1 ? '' : 's'}`;
};

/** What a program is made with besides tensors. */
const constants: ReadonlySet<string> = new Set(['number', 'string', 'boolean']);
const kindOf = (x: unknown): string => {
  if (x === null || x === undefined) return `${x}`;
  if (typeof x !== 'object') return `a ${typeof x}`;
  if (isTensor(x)) return 'a tensor of a trace';
  if (isHostTensor(x) || isLazyTensor(x)) return 'a tensor with numbers';
  return `of type ${(x.constructor as { readonly name?: string } | undefined)?.name ?? 'object'}`;
};
/** FV0503: an argument that is no tree of specs, or none that is a tensor. FV0003: a size below 0. */
const checkArgs = (args: readonly unknown[], module: boolean): void => {
  const wrong = (i: number, path: string, what: string, hint: string): never => {
    throw new FoveaError('FV0503', `args: argument ${i + 1}${path ? `, ${path}` : ''} is ${what}, and no spec`, { hint });
  };
  args.forEach((arg, i) => {
    if (isModule(arg)) wrong(i, '', 'a module', 'paramSpecs(module) are the specs of its parameters.');
    const foreign = foreignIn(arg);
    const leaves = foreign ? [{ path: foreign.path, leaf: foreign.value }] : flatten(arg);
    for (const { path, leaf } of leaves) {
      if (!isSpec(leaf) && !constants.has(typeof leaf))
        wrong(
          i,
          path,
          kindOf(leaf),
          "An argument is a spec('B D'), or records and lists of specs; numbers and texts become part of the program.",
        );
      if (isSpec(leaf) && !Object.hasOwn(bytesOf, leaf.dtype))
        throw new FoveaError('FV0002', `argument ${i + 1}${path ? `, ${path}` : ''}: '${leaf.dtype}' is not a dtype`, {
          hint: `Dtypes are ${Object.keys(bytesOf).join(', ')}.`,
        });
      const below = isSpec(leaf) ? leaf.dims.find((d) => typeof d === 'number' && d < 0) : undefined;
      if (below !== undefined)
        throw new FoveaError('FV0003', `argument ${i + 1}${path ? `, ${path}` : ''}: '${below}' is not a size`, {
          hint: 'A size is 0 or more.',
        });
    }
  });
  const all = args.flatMap((a) => flatten(a));
  if (!module && all.length > 0 && !all.some(({ leaf }) => isSpec(leaf)))
    wrong(0, all[0]?.path ?? '', kindOf(all[0]?.leaf), "None of the arguments is a tensor: give spec('B D') for each that is.");
};
/** FV0005, FV0305: sizes that are none, positions without an argument. */
const checkChoices = (dims: unknown, donate: unknown, count: number): void => {
  if (typeof dims !== 'object' || dims === null || Array.isArray(dims))
    throw new FoveaError('FV0005', `dims is ${kindOf(dims)}, and no record of sizes`, { hint: 'Write dims: { B: 8 }.' });
  for (const [name, n] of Object.entries(dims))
    if (!(Number.isInteger(n) && n >= 0))
      throw new FoveaError(
        'FV0005',
        `dims: ${name} is ${typeof n === 'string' ? JSON.stringify(n) : String(n)}, not a whole number, 0 or more`,
      );
  const position = (d: unknown): boolean => Number.isInteger(d) && (d as number) >= 0 && (d as number) < count;
  const bad = Array.isArray(donate) ? donate.findIndex((d) => !position(d)) : 0;
  if (!Array.isArray(donate) || bad >= 0)
    throw new FoveaError('FV0305', `donate: there is no argument at position ${Array.isArray(donate) ? donate[bad] : String(donate)}`, {
      hint: `It lists positions of the ${count} arguments, which count from 0.`,
    });
};

/** FV0503 where f declares nothing or no specs, FV0003 where a shape holds what is no size, FV0005 and FV0305 for its dims and donate. */
export const declared = (f: unknown): Declared => {
  const module = isModule(f) ? f : undefined;
  const sig = signatureOf(f);
  const { args, dims = {}, donate = [], place } = properties(f);
  const own: unknown = sig?.map((s) => specOf(s, module?.dims ?? none)) ?? args;
  if (own !== undefined && !Array.isArray(own))
    throw new FoveaError('FV0503', `args is ${kindOf(own)}, and no list of specs`, { hint: "Write args: [spec('B D')]." });
  if (!Array.isArray(own))
    throw new FoveaError('FV0503', 'the function does not say what its arguments are', {
      hint: "Make it a fn(['B D'], ...) or a module, or give it a property args: [spec('B D')].",
    });
  const all: readonly unknown[] = module ? [paramSpecs(module), ...own] : own;
  checkArgs(all, module !== undefined);
  checkChoices(dims, donate, all.length);
  const leaves = flatten(all).flatMap(({ leaf }) => (isSpec(leaf) ? [leaf] : []));
  return {
    run: module ? (p, ...xs) => (apply(module, p as never) as unknown as Callable)(...xs) : (f as Callable),
    args: all,
    module,
    sizes: leaves.flatMap((l) => l.dims),
    signature: sig ?? own.map(shown),
    dims,
    donate,
    place,
  };
};

/** Names of the sizes, as a user writes them. */
export const sizeNames = (sizes: readonly Dim[]): string[] => [...new Set(sizes.flatMap(dimNames))].map(spoken);
/** Sizes under the names of a graph. */
export const graphSizes = (sizes: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(sizes).map(([n, d]) => [dots[n] ?? n, d]));

/** FV0005: there is no size of that name. */
export const knownSizes = (wanted: readonly Dim[], given: Readonly<Record<string, number>>): void => {
  const names = sizeNames(wanted);
  const extra = Object.keys(given).find((n) => !names.includes(n));
  if (extra !== undefined)
    throw new FoveaError('FV0005', `there is no size ${extra}`, {
      hint: names.length > 0 ? `The sizes that can be given are ${names.join(', ')}.` : 'All sizes are fixed.',
    });
};

/** Whether every size is a whole number from 0 on under these numbers. */
export const sizesFit = (wanted: readonly Dim[], sizes: Readonly<Record<string, number>>): boolean => {
  const env = new Map(Object.entries(graphSizes(sizes)));
  return wanted.every((d) => Number.isInteger(bindDim(d, env)) && (bindDim(d, env) as number) >= 0);
};
