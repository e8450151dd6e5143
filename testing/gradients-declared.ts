/**
 * Checks of what declares its own arguments: a `fn` or a module by its signature, any other function by a property `args`, a list
 * of specs. Nothing has to be given, because a signature says all that a function may assume: sizes are drawn from 2 to 5 and numbers at
 * random; parameters of a module are drawn around their initial values, which may be degenerate (a bias of zeros, a scale of 1e-5).
 *
 *   checkDeclared(koleoLoss, { seed: 1 })                                    fn(['B D'], ...)
 *   checkDeclared(attention(8, 2), { dims: { N: 3 } })                       module(..., ['B N D'], ...)
 *   checkDeclared(Object.assign(f, { args: [spec('B D')] }))
 */
import { FoveaError } from '../compiler/error.ts';
import { bindDim, type Dim, dimNames, parseDim } from '../compiler/graph/dim.ts';
import { tensor64 } from '../compiler/graph/interpret.ts';
import { type DType, isFloat } from '../compiler/graph/types.ts';
import { apply, type HostTensor, init, isModule, paramSpecs, signatureOf, type TensorSpec, trace, treeLeaves } from '../dsl/index.ts';
import { type CheckOptions, checkGraph, type Draw, drawn, type GradientReport, settings } from './gradients-check.ts';
import { drawIn, numbers } from './numbers.ts';

export interface DeclaredOptions extends CheckOptions {
  /** Sizes by name, `...0` and `...1` for the axes of `...`; the others are drawn. */
  readonly dims?: Readonly<Record<string, number>>;
}
export interface DeclaredReport extends GradientReport {
  /** As declared. */
  readonly signature: readonly string[];
  /** The sizes that were drawn or given. */
  readonly dims: Readonly<Record<string, number>>;
}

type Callable = (...xs: readonly unknown[]) => unknown;

/** Axes that `...` stands for: what users read and write, and the name of the size. */
const dots: Readonly<Record<string, string>> = { '...0': '_axis0', '...1': '_axis1' };
const spoken = (name: string): string => Object.keys(dots).find((d) => dots[d] === name) ?? name;
const none: ReadonlyMap<string, Dim> = new Map();

const specOf = (text: string, local: ReadonlyMap<string, Dim>): TensorSpec => {
  const [shape, dtype = 'f32'] = text.split(':') as [string, DType?];
  const words = shape.split(/\s+/).filter(Boolean);
  const dims = words.flatMap((w) => (w === '...' ? Object.values(dots) : [w])).map((w) => parseDim(w, local));
  return { kind: 'spec', shape: dims.map(String).join(' '), dtype, dims };
};

const declaredArgs = (f: unknown): readonly TensorSpec[] | undefined => {
  const args = (f as { readonly args?: unknown }).args;
  return typeof f === 'function' && Array.isArray(args) ? (args as readonly TensorSpec[]) : undefined;
};
/** Whether a value says enough about its arguments to be checked. */
export const isDeclared = (f: unknown): boolean =>
  f !== null && f !== undefined && (signatureOf(f) !== undefined || declaredArgs(f) !== undefined);

interface Declared {
  readonly specs: readonly TensorSpec[];
  /** Of a module: the tree of its parameters. */
  readonly params: unknown;
  /** All sizes of both. */
  readonly sizes: readonly Dim[];
  readonly signature: readonly string[];
}
/** FV0503 where f declares nothing. */
const declared = (f: unknown): Declared => {
  const module = isModule(f) ? f : undefined;
  const sig = signatureOf(f);
  const specs = sig?.map((s) => specOf(s, module?.dims ?? none)) ?? (isDeclared(f) ? declaredArgs(f) : undefined);
  if (!specs)
    throw new FoveaError('FV0503', 'the function does not say what its arguments are', {
      hint: "Make it a fn(['B D'], ...) or a module, or give it a property args: [spec('B D')].",
    });
  const params = module && paramSpecs(module);
  const leaves = [...(params === undefined ? [] : treeLeaves<TensorSpec>(params)), ...specs];
  const signature = sig ?? specs.map((s) => (isFloat(s.dtype) ? s.shape : `${s.shape}:${s.dtype}`));
  return { specs, params, sizes: leaves.flatMap((l) => l.dims), signature };
};
const namesOf = (sizes: readonly Dim[]): string[] => [...new Set(sizes.flatMap(dimNames))].map(spoken);
/** Sizes under the names of a graph. */
const bound = (sizes: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(sizes).map(([n, d]) => [dots[n] ?? n, d]));
/** Names of the sizes that `dims` may give. FV0503 where f declares no arguments. */
export const declaredSizes = (f: unknown): readonly string[] => namesOf(declared(f).sizes);

/** Numbers for the names of `wanted`, 2 to 5 where `given` has none, such that every size is a whole number from 0 on. FV0005 if there are none. */
const sizesFor = (wanted: readonly Dim[], given: Readonly<Record<string, number>>, next: () => number): Record<string, number> => {
  const names = namesOf(wanted);
  const extra = Object.keys(given).find((n) => !names.includes(n));
  if (extra !== undefined)
    throw new FoveaError('FV0005', `there is no size ${extra}`, {
      hint: names.length > 0 ? `The sizes that can be given are ${names.join(', ')}.` : 'All sizes are fixed.',
    });
  for (let attempt = 0; attempt < 1000; attempt++) {
    const sizes = Object.fromEntries(names.map((n) => [n, given[n] ?? 2 + Math.floor(4 * next())]));
    const env = new Map(Object.entries(bound(sizes)));
    if (wanted.every((d) => Number.isInteger(bindDim(d, env)) && (bindDim(d, env) as number) >= 0)) return sizes;
  }
  throw new FoveaError('FV0005', `no sizes from 2 to 5 fit ${wanted.map(String).join(', ')}`, { hint: 'Give the sizes.' });
};

/** Within a quarter of an initial value, so that zeros and tiny scales take part. */
const around =
  (t: HostTensor): Draw =>
  (type, next) => {
    const off = drawIn(type, -0.25, 0.25, next);
    return tensor64(
      type,
      Array.from(t.data, (x, i) => x + (off.data[i] as number)),
    );
  };

/**
 * Checks the derivatives of f with respect to all float arguments, and parameters if it is a module. The report is that of checkGradients.
 * Throws FV0503 where f declares no arguments and for options, FV0005 where sizes do not fit, FV0103 where there is nothing to
 * differentiate, and whatever tracing f throws.
 */
export const checkDeclared = (f: unknown, options: DeclaredOptions = {}): DeclaredReport => {
  const chosen = settings('checkDeclared', options);
  const { specs, params, sizes: wanted, signature } = declared(f);
  const sizes = sizesFor(wanted, options.dims ?? {}, numbers(chosen.seed));
  const module = isModule(f) ? f : undefined;
  const run: Callable = module ? (p, ...xs) => (apply(module, p as never) as unknown as Callable)(...xs) : (f as Callable);
  const all = params === undefined ? specs : [params, ...specs];
  const { graph } = trace(run as (...xs: unknown[]) => unknown, all as unknown[], { dims: bound(sizes) });
  const starts = module ? treeLeaves<HostTensor>(init(module, chosen.seed, bound(sizes))).map(around) : [];
  const draws = [...starts, ...specs.map(() => drawn(chosen.range))];
  return { ...checkGraph(graph, draws, chosen), signature, dims: sizes };
};
